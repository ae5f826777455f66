"""All slots of an engine go over to another runtime together, and those that come later begin there."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from livesam.engine.serving.slots import Slots
from livesam.engine.values.errors import SwapError

BASE = {"iou_token.weight": np.zeros((1, 256), np.float32)}


def compiler(name: str):
    def compile(weights):
        made = SimpleNamespace(runtime=name, painter=None, concurrent=True, aside=False)
        made.load_weights = lambda weights: None
        made.close = lambda: None
        return made

    return compile


@pytest.fixture(autouse=True)
def _any_weights_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from livesam.engine.serving import slot

    copies = SimpleNamespace(base=BASE, take=lambda weights: weights)
    monkeypatch.setattr(slot, "WeightCopies", lambda base: copies)


def made(slots: Slots):
    return slots.make(BASE, 1, lambda version, weights: None)


def test_all_move_with_their_versions() -> None:
    slots = Slots(compiler("torch"), None, lambda: None)
    one, other, closed = made(slots), made(slots), made(slots)
    version = other.publish(BASE)
    closed.close()
    slots.move(compiler("openvino"), None)
    late = made(slots)
    assert [slot.runtime for slot in (one, other, late)] == ["openvino"] * 3
    assert (one.current, other.current) == (0, version)
    assert closed.runtime == "torch"


def test_one_that_is_made_meanwhile_moves_too() -> None:
    slots = Slots(lambda weights: (slots.move(compiler("openvino"), None), compiler("torch")(weights))[1], None, print)
    assert made(slots).runtime == "openvino"


def test_a_runtime_that_makes_no_decoder_changes_nothing() -> None:
    def broken(weights):
        raise RuntimeError("out of memory")

    slots = Slots(compiler("torch"), None, lambda: None)
    one = made(slots)
    with pytest.raises(SwapError, match="out of memory"):
        slots.move(broken, None)
    assert (one.runtime, made(slots).runtime) == ("torch", "torch")
