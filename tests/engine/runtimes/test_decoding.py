"""Every combination of prompts, on every CPU runtime, against ``segment_anything.SamPredictor``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livesam.engine.runtimes.onnxruntime import OrtDecoder
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.serving.probe import Probe
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import CheckpointError, SessionError, SwapError
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.geometry import postprocess
from livesam.engine.view.points import geometry_of
from livesam.engine.view.selection import select_token
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

RUNTIMES = ("torch", "onnxruntime", "openvino")
HW = (90, 121)
CLICKS = ((), (Click(60.5, 31.25),), (Click(60.5, 31.25), Click(3, 80, False), Click(110, 4)))
BOXES = (None, Box(10, 12, 99.5, 70))
MASK = np.random.default_rng(5).standard_normal((32, 32)).astype(np.float32) * 6
PROMPTS = [
    Prompt(clicks, box, mask)
    for clicks in CLICKS
    for box in BOXES
    for mask in (None, MASK)
    if clicks or box is not None or mask is not None
]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*HW, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor(tiny_sam: Sam, photo: np.ndarray) -> SamPredictor:
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(photo)
    return predictor


@pytest.fixture(scope="module")
def embedding(tiny_sam: Sam, photo: np.ndarray) -> ImageEmbedding:
    return TorchEncoder(tiny_sam).encode(photo)


def ask(predictor: SamPredictor, prompt: Prompt, multimask: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return predictor.predict(
        point_coords=np.array([(c.x, c.y) for c in prompt.clicks]) if prompt.clicks else None,
        point_labels=np.array([int(c.positive) for c in prompt.clicks]) if prompt.clicks else None,
        box=None if prompt.box is None else np.array(prompt.box.as_tuple()),
        mask_input=None if prompt.mask_logits is None else prompt.mask_logits[None],
        multimask_output=multimask,
        return_logits=True,
    )


def close(got: np.ndarray, expected: np.ndarray, share: float = 1e-4) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=share * float(np.abs(expected).max()))


def test_the_embedding_is_the_reference_one(predictor: SamPredictor, embedding: ImageEmbedding) -> None:
    close(embedding.numpy(), predictor.get_image_embedding().numpy(), 1e-5)
    assert embedding.original_hw == HW
    assert embedding.resized_hw == predictor.input_size


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_prompt_gives_what_sam_predictor_gives(
    runtime: str,
    compilers: dict[str, Any],
    weights_of: Callable[[int], dict[str, np.ndarray]],
    predictor: SamPredictor,
    embedding: ImageEmbedding,
) -> None:
    decoder = compilers[runtime](weights_of(0))
    geometry = geometry_of(embedding)
    together = decoder.decode(embedding, PROMPTS)
    for i, prompt in enumerate(PROMPTS):
        alone = decoder.decode(embedding, [prompt])
        close(together.low_res_logits[i], alone.low_res_logits[0])
        for multimask, tokens in ((False, slice(0, 1)), (True, slice(1, 4))):
            masks, ious, low_res = ask(predictor, prompt, multimask)
            close(alone.low_res_logits[0, tokens], low_res)
            close(alone.ious[0, tokens], ious)
            for ours, theirs in zip(alone.low_res_logits[0, tokens], masks, strict=True):
                close(postprocess(ours, geometry), theirs, 2e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_new_weights_change_the_answer_to_what_they_give_from_the_start(
    runtime: str,
    compilers: dict[str, Any],
    weights_of: Callable[[int], dict[str, np.ndarray]],
    embedding: ImageEmbedding,
) -> None:
    decoder, fresh = compilers[runtime](weights_of(0)), compilers[runtime](weights_of(7))
    before = decoder.decode(embedding, PROMPTS[:2])
    decoder.load_weights(weights_of(7))
    after = decoder.decode(embedding, PROMPTS[:2])
    np.testing.assert_array_equal(after.low_res_logits, fresh.decode(embedding, PROMPTS[:2]).low_res_logits)
    reference = compilers["torch"](weights_of(7)).decode(embedding, PROMPTS[:2])  # all 120 tensors differ from seed 0
    close(after.low_res_logits, reference.low_res_logits)
    close(after.ious, reference.ious)
    assert np.abs(after.low_res_logits - before.low_res_logits).max() > 1e-2 * np.abs(before.low_res_logits).max()
    decoder.load_weights(weights_of(0))
    np.testing.assert_array_equal(decoder.decode(embedding, PROMPTS[:2]).low_res_logits, before.low_res_logits)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_wrong_weights_are_refused_and_the_old_ones_stay(
    runtime: str,
    compilers: dict[str, Any],
    weights_of: Callable[[int], dict[str, np.ndarray]],
    embedding: ImageEmbedding,
) -> None:
    decoder, weights = compilers[runtime](weights_of(0)), weights_of(2)
    before = decoder.decode(embedding, PROMPTS[:1])
    name = "iou_prediction_head.layers.0.weight"
    wrong = [
        ({k: v for k, v in weights.items() if k != name}, "missing"),
        ({**weights, "extra": weights[name]}, "unknown"),
        ({**weights, name: weights[name][:-1]}, "shape"),
    ]
    for broken, reason in wrong:
        with pytest.raises(SwapError, match=reason):
            decoder.load_weights(broken)
    np.testing.assert_array_equal(decoder.decode(embedding, PROMPTS[:1]).low_res_logits, before.low_res_logits)
    decoder.close()
    with pytest.raises(SessionError, match="closed"):
        decoder.decode(embedding, PROMPTS[:1])


def test_a_graph_without_weights_as_inputs_says_so(
    tiny_graph: Path, tmp_path: Path, weights_of: Callable[[int], dict[str, np.ndarray]], embedding: ImageEmbedding
) -> None:
    import json

    manifest = json.loads(Path(f"{tiny_graph}.json").read_text())
    (tmp_path / "d.onnx").write_bytes(tiny_graph.read_bytes())
    (tmp_path / "d.onnx.json").write_text(json.dumps({**manifest, "weights_as_inputs": False}))
    decoder = OrtDecoder(tmp_path / "d.onnx")
    assert decoder.decode(embedding, PROMPTS[:1]).ious.shape == (1, 4)
    with pytest.raises(SwapError, match="weights_as_inputs"):
        decoder.load_weights(weights_of(0))


def test_a_file_that_is_no_graph_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="export it again"):
        OrtDecoder(tmp_path / "none.onnx")


def test_the_rule_of_the_official_single_mask_decoder() -> None:
    ious = np.array([0.9, 0.1, 0.7, 0.3], np.float32)
    click, box = Click(1, 1), Box(1, 1, 5, 5)
    table = [
        (Prompt((click,)), 2),
        (Prompt(box=box), 2),
        (Prompt((click,), mask_logits=MASK), 2),
        (Prompt((click, click)), 0),
        (Prompt((click,), box), 0),
    ]
    for prompt, token in table:
        assert select_token(ious, prompt) == token
        assert select_token(ious, prompt, "single") == 0
        assert select_token(ious, prompt, "multi") == 2
    with pytest.raises(ValueError, match="unknown rule"):
        select_token(ious, table[0][0], "best")  # type: ignore[arg-type]


def test_clicking_on_cpu_runtimes_imports_no_torch(tiny_graph: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
import livesam.engine.session.session
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.runtimes.selection import select
from livesam.engine.runtimes.onnxruntime import OrtDecoder
from livesam.engine.runtimes.openvino import OvDecoder
assert select("decoder").name != "torch"
embedding = ImageEmbedding(np.zeros((1, 256, 8, 8), np.float32), (90, 121), (95, 128), "k")
for kind in (OrtDecoder, OvDecoder):
    kind(Path(sys.argv[1])).decode(embedding, [Prompt((Click(3, 3),))])
loaded = {"torch", "segment_anything", "onnx", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code, str(tiny_graph)], check=True, timeout=120)


def test_onnxruntime_answers_aside_on_the_callers_thread_alone(
    compilers: dict[str, Any], weights_of: Callable[[int], dict[str, np.ndarray]]
) -> None:
    """So that a check by a niced thread does not borrow threads that are not; it is still the same decoder."""
    decoder = compilers["onnxruntime"](weights_of(0))
    probe = Probe.standard((8, 8))
    for seed in (0, 1):
        decoder.load_weights(weights_of(seed))
        quiet, usual = (one.decode(probe.embedding, probe.prompts) for one in (decoder.aside, decoder))
        np.testing.assert_allclose(quiet.low_res_logits, usual.low_res_logits, atol=1e-4)
        np.testing.assert_allclose(quiet.ious, usual.ious, atol=1e-5)
    assert decoder.aside._session.get_session_options().intra_op_num_threads == 1
    decoder.close()
    with pytest.raises(SessionError, match="closed"):
        _ = decoder.aside
