"""A decoder of a replica: it serves what the registry calls stable, under the registry's number."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("fsspec")
from livesam.app.cluster.learners import NoEncoder
from livesam.app.cluster.remote_decoder import RemoteDecoder
from livesam.app.registry.registry import Registry
from livesam.app.server.problems import NotFound
from livesam.app.server.settings import Settings
from livesam.app.server.store import Store
from livesam.app.server.weights import WeightFiles
from livesam.engine.files.hashing import weights_hash
from livesam.export.opening import Opening, open_engine


@pytest.fixture(scope="module")
def engine():
    made = replace(open_engine(Opening("nano", runtime="torch"), encoder=NoEncoder()), probe=None)
    yield made
    made.close()


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
    assert ("state", "cells") in place.asked
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
