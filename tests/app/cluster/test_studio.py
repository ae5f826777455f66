"""What the sessions of one replica share: decoders make room in Serve's order, and none while somebody uses it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fsspec")
pytest.importorskip("fastapi")
from livesam.app.cluster.learners import Learners
from livesam.app.cluster.studio import ClusterStudio
from livesam.app.server.gallery import Gallery
from livesam.app.server.settings import Settings
from livesam.export.opening import Opening

SIDE = 512


class Elsewhere:
    """Encoders and learners, which answer at once."""

    def __init__(self):
        self.told = {}

    def __getattr__(self, name):
        if name == "about":
            return SimpleNamespace(remote=lambda: answer((SIDE, "weights", "torch:cpu:fp32")))
        if name == "encode":
            return SimpleNamespace(remote=lambda image: answer(np.zeros((1, 256, SIDE // 16, SIDE // 16), np.float32)))
        return SimpleNamespace(remote=lambda *said: self.told.update({name: said}) or SimpleNamespace(future=done))


def done():
    future = Future()
    future.set_result(None)
    return future


def answer(value):
    return SimpleNamespace(result=lambda timeout_s: value)


@pytest.fixture
def studio(tmp_path):
    kept = {}

    def multiplexed(domain):
        """As Serve's cache of one model."""
        if domain not in kept:
            for name in list(kept):
                kept[name].retired = True
                made.tidy(kept.pop(name))
            kept[domain] = made.make(domain)
        return kept[domain]

    settings = Settings(tmp_path, tmp_path, Opening("nano", runtime="torch"))
    learners = Elsewhere()
    args = (Elsewhere(), [learners], str(tmp_path / "registry"), 1, multiplexed)
    made = ClusterStudio(settings, Gallery(tmp_path, tmp_path), *args)
    made.open()
    made.learners = learners
    assert made.why_not() is None
    yield made
    made.close()


def test_a_decoder_that_is_used_makes_room_when_it_is_left(studio):
    cells = studio.decoder("cells", sits_down=True)
    with studio.using("roads") as roads:
        assert [one.domain for one in studio.decoders()] == ["cells", "roads"]
        session = cells.session()
        session.set_image(np.zeros((64, 64, 3), np.uint8))
        assert session.click(32, 32).decoder_version == 0  # out of the cache, and answering
        assert studio.decoder("cells") is not cells  # a new session gets a new one
        assert studio.learning("cells")["domain"] == "cells"
    studio.leave(cells)
    deadline = time.monotonic() + 30
    while not (cells.slot.closed and roads.slot.closed) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cells.slot.closed
    assert roads.slot.closed
    assert [one.domain for one in studio.decoders()] == ["cells"]


def test_a_decoder_that_has_made_room_is_handed_to_nobody(studio):
    """Between its cache and the session that asked: it is still open, and about to be closed."""
    with studio.using("cells") as old:
        old.retired = True
        given, multiplexed = [old], studio._multiplexed
        studio._multiplexed = lambda domain: given.pop() if given else studio.make(domain)
        new = studio.decoder("cells", sits_down=True)
    assert new is not old
    assert (given, new.retired, new.slot.closed) == ([], False, False)
    studio.leave(new)
    studio._multiplexed = multiplexed


def test_what_is_accepted_goes_to_a_learner_as_bytes(studio):
    """Arrays would lie in Ray's store until they are learned, and fill it: then every image goes by the disk."""
    with studio.using("cells") as decoder:
        session = decoder.session()
        session.set_image(np.zeros((64, 64, 3), np.uint8))
        session.click(32, 32)
        session.accept()
        deadline = time.monotonic() + 30
        while "submit" not in studio.learners.told and time.monotonic() < deadline:
            time.sleep(0.01)
    domain, packed, enabled = studio.learners.told["submit"]
    assert (domain, type(packed), enabled) == ("cells", bytes, True)
    learner = object.__new__(Learners)
    learner._pupil = lambda domain: SimpleNamespace(submit=lambda interaction, enabled: interaction)
    got = learner.submit(domain, packed, enabled)
    assert got.domain == "cells"
    assert len(packed) * 0.9 < got.nbytes < len(packed) * 2  # with what its edge filter has yet to compute


def test_versions_are_followed(studio):
    with studio.using("cells") as decoder:
        base = studio.engine.base
        late = "iou_prediction_head.layers.2.bias"
        learned = {**base, late: base[late] * np.float32(1.001)}
        decoder._registry.publish("cells", decoder._files.pack(learned), ("stable",))
        deadline = time.monotonic() + 60
        while decoder.slot.current == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert decoder.slot.current == 1
