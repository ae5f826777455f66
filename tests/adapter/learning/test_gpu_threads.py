"""On a GPU one thread encodes, one publishes and one learns, all recording graphs: answers are the CPU's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch
from livesam.adapter.learning.learner import learn
from livesam.adapter.learning.loop_state import LoopConfig
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.models.origin import LoadedModel
from livesam.engine.models.spec import spec
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.runtimes.torch_graph import TorchGraph
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from segment_anything.modeling import Sam

Image = npt.NDArray[np.uint8]
Weights = dict[str, npt.NDArray[np.float32]]
CLICKS = ((220.0, 120.0), (60.0, 400.0), (300.0, 300.0))
COUNTS = (1, 2, 3, 4, 5, 1, 2)  # of images at once: more than graphs are kept, so some are recorded twice
PUBLISHED = 6


def opened(sam: Sam, device: str) -> Session:
    slot = DecoderSlot(TorchGraph(sam, device), decoder_weights(sam))
    return Session(TorchEncoder(sam, device), slot, origin=LoadedModel(spec("nano"), sam))


def logits(session: Session) -> npt.NDArray[np.float32]:
    found = []
    for x, y in CLICKS:
        session.reset()
        found.append(session.click(x, y).low_res_logits)
    return np.stack(found)


def encoded(sam: Sam, device: str, photo: Image) -> list[npt.NDArray[np.float32]]:
    encoder = TorchEncoder(sam, device)
    shifted = [np.ascontiguousarray(np.roll(photo, 40 * i, 1)) for i in range(max(COUNTS))]
    found = [[one.numpy() for one in encoder.encode_batch(shifted[:count])] for count in COUNTS]
    encoder.close()
    return [one for batch in found for one in batch]


def published(sam: Sam, device: str, photo: Image) -> list[npt.NDArray[np.float32]]:
    session, rng, found = opened(sam, device), np.random.default_rng(0), []
    session.set_image(photo)
    base = decoder_weights(sam)
    for _ in range(PUBLISHED):
        factors = {name: 1 + 0.02 * rng.standard_normal(value.shape) for name, value in base.items()}
        session.slot.publish({name: (value * factors[name]).astype(np.float32) for name, value in base.items()})
        found.append(logits(session))
    session.close()
    return found


def learned(sam: Sam, device: str, photo: Image) -> tuple[Weights, npt.NDArray[np.float32]]:
    session = opened(sam, device)
    session.set_image(photo)
    with learn(session, device=device, config=LoopConfig(nice=0, quiet_s=0, idle_after_s=0.05)) as learner:
        for x, y in CLICKS:
            session.click(x, y)
            session.click(500.0, 20.0, positive=False)
            session.accept()
            assert learner.wait(60)
        weights = session.slot.weights(session.slot.current)
    session.slot.publish(weights)  # what serves after learning is the session's affair
    found = logits(session)
    session.close()
    return weights, found


def assert_close(got: npt.NDArray[np.float32], want: npt.NDArray[np.float32]) -> None:
    assert np.isfinite(got).all()
    assert np.abs(got - want).max() / np.ptp(want) < 2e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_three_threads_on_a_gpu_answer_as_the_cpu_does(photo: Image) -> None:
    sams = [load("nano") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        encoding = pool.submit(encoded, sams[0], "cuda", photo)
        publishing = pool.submit(published, sams[1], "cuda", photo)
        weights, answers = pool.submit(learned, sams[2], "cuda", photo).result(300)
        embeddings, versions = encoding.result(300), publishing.result(300)
    for got, want in zip(embeddings, encoded(sams[0], "cpu", photo), strict=True):
        assert_close(got, want)
    for got, want in zip(versions, published(sams[1], "cpu", photo), strict=True):
        assert_close(got, want)
    base = decoder_weights(sams[2])
    assert any(not np.array_equal(weights[name], base[name]) for name in base)
    session = opened(sams[2], "cpu")
    session.set_image(photo)
    session.slot.publish(weights)
    assert_close(answers, logits(session))
