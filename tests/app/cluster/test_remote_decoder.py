"""A decoder of a replica: it serves what the registry calls stable, under the registry's number."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("fsspec")
from livesam.app.cluster.learners import NoEncoder
from livesam.app.cluster.remote_decoder import RemoteDecoder
from livesam.app.registry.registry import Registry
from livesam.app.server.kept_decoder import KeptDecoder, last_readable
from livesam.app.server.problems import NotFound
from livesam.app.server.settings import Settings
from livesam.app.server.store import Store
from livesam.app.server.weights import WeightFiles
from livesam.app.storage import Target
from livesam.engine.files.hashing import weights_hash
from livesam.engine.serving.slots import Slots
from livesam.export.opening import Opening, open_engine


@pytest.fixture(scope="module")
def engine():
    made = open_engine(Opening("nano", runtime="torch"), encoder=NoEncoder())
    # Without the probe, which compares each version with PyTorch: what it does is tested where it is.
    yield replace(made, slots=Slots(made.slots.decoder, None, made.right_of_way.give_way))
    made.close()


class Plain(KeptDecoder):
    """The decoder of the server without Ray, as far as versions go: the last one serves."""

    def __init__(self, place):
        kept, lost = last_readable("cells", place.store, place.files)
        super().__init__("cells", place.engine, place.store, place.files, Settings(None, place.folder))
        assert lost is None
        if kept is not None:
            self.slot.publish(kept, "stable")


class Place:
    """An output folder with its registry, and decoders of it."""

    def __init__(self, engine, folder):
        self.engine, self.folder = engine, folder
        self.store, self.files = Store(folder), WeightFiles(folder / "decoders", engine.base)
        self.registry, self.asked = Registry(str(folder / "registry")), []

    def send(self, what, *value):
        self.asked.append((what, *value))
        return Future()  # a learner that never answers

    def decoder(self):
        settings = Settings(None, self.folder)
        return RemoteDecoder("cells", self.engine, self.store, self.files, settings, self.registry, self.send)

    def learned(self, factor):
        late = "iou_prediction_head.layers.2.bias"
        return {**self.engine.base, late: self.engine.base[late] * np.float32(factor)}

    def publish(self, factor, labels=("candidate", "stable")):
        return self.registry.publish("cells", self.files.pack(self.learned(factor)), labels)


@pytest.fixture
def place(engine, tmp_path):
    found = Place(engine, tmp_path)
    yield found
    found.store.close()


def test_versions_serve_under_the_registrys_numbers_and_are_kept_for_a_replay(place):
    decoder = place.decoder()
    assert decoder.slot.current == 0
    for factor in (1.0001, 1.0002):
        number = place.publish(factor).version
        decoder.follow()
        assert decoder.slot.current == number
        assert decoder.slot.digest(number) == weights_hash(place.learned(factor))
    place.publish(1.0003, ("candidate",))  # not stable: it serves nobody
    decoder.follow()
    assert (decoder.slot.current, decoder.state()["version"]) == (2, 2)
    assert {number: place.files.read(digest).keys() for number, digest, _ in place.store.versions("cells")}.keys() == {
        1,
        2,
    }
    decoder.close()
    again = place.decoder()  # another replica, or after a restart
    assert again.slot.current == 2
    again.rollback(1)
    assert (again.slot.current, place.registry.labels("cells")["stable"]) == (1, 1)
    assert again.slot.digest(1) == weights_hash(place.learned(1.0001))
    again.rollback(0)
    assert again.slot.current == 0
    with pytest.raises(NotFound, match="there is no version 9"):
        again.rollback(9)
    deadline = time.monotonic() + 20
    while ("rollback", "cells", 1) not in place.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ("rollback", "cells", 1) in place.asked
    again.close()


def test_a_damaged_version_is_named_and_the_one_before_serves(place):
    place.publish(1.0001)
    entry = place.publish(1.0002)
    blob = place.folder / "registry" / "blobs" / entry.digest[:2] / entry.digest
    blob.write_bytes(blob.read_bytes()[:-1])
    decoder = place.decoder()
    assert decoder.slot.current == 1
    assert str(blob) in decoder.state()["last_error"]
    place.publish(1.0003)
    decoder.follow()
    assert (decoder.slot.current, decoder.state()["last_error"]) == (3, None)
    decoder.close()


def test_one_folder_is_served_without_ray_and_with_it_in_turns(place):
    """Whoever serves goes on from the last version, and a number is one decoder's for good."""
    plain = Plain(place)
    for factor in (1.0001, 1.0002):
        plain.slot.publish(place.learned(factor), "stable")
    plain.close()
    ray = place.decoder()
    assert (ray.slot.current, ray.slot.digest(2)) == (2, weights_hash(place.learned(1.0002)))
    assert place.publish(1.0003).version == 3  # what the learner does
    ray.follow()
    assert ray.slot.current == 3
    ray.close()
    late = place.publish(1.0004)  # at the stop: no replica has seen it
    assert late.version == 4
    plain = Plain(place)
    assert (plain.slot.current, plain.slot.digest(3)) == (3, weights_hash(place.learned(1.0003)))
    assert plain.slot.publish(place.learned(1.0005), "stable") == 4
    plain.close()
    for _ in range(2):  # the second time there is nothing to bring
        ray = place.decoder()
        assert (ray.slot.current, ray.slot.digest(5)) == (5, weights_hash(place.learned(1.0005)))
        assert ray.state()["last_error"] is None
        ray.close()
    assert place.publish(1.0006).version == 6
    factors = (1.0001, 1.0002, 1.0003, 1.0005, 1.0005)
    kept = {number: digest for number, digest, _ in place.store.versions("cells")}
    assert kept == {number: weights_hash(place.learned(factor)) for number, factor in enumerate(factors, 1)}


def test_a_number_that_another_decoder_has_here_serves_nobody(place):
    place.store.note_version("cells", 1, place.files.write(place.learned(1.5)))
    place.registry = Registry(str(place.folder / "shared"))  # others' versions are in it
    place.publish(1.0001)
    decoder = place.decoder()
    assert decoder.slot.current == 0
    assert "version 1 of domain 'cells' is another decoder in the output folder" in decoder.state()["last_error"]
    place.publish(1.0002)
    decoder.follow()
    assert (decoder.slot.current, decoder.state()["last_error"]) == (2, None)
    decoder.close()


def test_what_cannot_be_read_now_is_read_later(place, monkeypatch):
    """Unlike damage, an error of the place passes; meanwhile the version before serves."""
    place.publish(1.0001)
    entry = place.publish(1.0002)
    read, down = Target.read, [entry.digest]

    def broken(self, name):
        if any(one in name for one in down):
            raise OSError(5, "the network is away")
        return read(self, name)

    monkeypatch.setattr(Target, "read", broken)
    decoder = place.decoder()
    assert decoder.slot.current == 1
    assert "cannot be read now: [Errno 5] the network is away" in decoder.state()["last_error"]
    down.clear()
    decoder.follow()
    assert (decoder.slot.current, decoder.state()["last_error"]) == (2, None)
    decoder.close()
    down.append("domains")  # nothing of the registry can be read
    decoder = place.decoder()
    assert decoder.slot.current == 0
    assert "the registry" in decoder.state()["last_error"]
    down.clear()
    decoder.follow()
    assert (decoder.slot.current, decoder.state()["last_error"]) == (2, None)
    decoder.close()


def test_learning_that_was_switched_off_stays_off(place):
    """In a decoder made anew, in another replica's, and where a learner that was started anew says that it learns."""
    first, beside = place.decoder(), place.decoder()
    first.enable(False)
    beside.look()
    assert [one.state()["enabled"] for one in (first, beside)] == [False, False]
    first._courier._told["enabled"] = True
    assert first.state()["enabled"] is False
    first.close()
    again = place.decoder()
    assert (again.learning, again.submit(None)) == (False, False)
    again.enable(True)
    beside.look()
    assert (again.learning, beside.learning) == (True, True)
    for one in (again, beside):
        one.close()
    assert place.store.learning("cells", usual=False) is False  # as usual again: --no-learn holds the next time
