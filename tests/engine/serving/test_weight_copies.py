from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from livesam.engine.runtimes.base import WeightBuffers
from livesam.engine.serving.weight_copies import WeightCopies
from livesam.engine.values.errors import SwapError

BASE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.float32), "c": np.float32([7])}


def test_what_is_the_base_s_is_shared_and_the_rest_is_copied() -> None:
    copies = WeightCopies(BASE)
    assert copies.base["a"] is not BASE["a"]
    mine = {"a": BASE["a"].copy(), "b": np.float32([0, 0, 1]), "c": BASE["c"].copy()}
    taken = copies.take(mine)
    assert list(taken) == list(BASE)
    assert taken["a"] is copies.base["a"]
    assert taken["c"] is copies.base["c"]
    mine["a"][:], mine["b"][:] = 9, 9
    np.testing.assert_array_equal(taken["a"], BASE["a"])
    np.testing.assert_array_equal(taken["b"], [0, 0, 1])
    assert not any(value.flags.writeable for value in taken.values())
    everything = copies.take(BASE)
    assert all(everything[name] is copies.base[name] for name in BASE)


def test_equal_is_of_bits() -> None:
    copies = WeightCopies(BASE)
    taken = copies.take({**BASE, "b": np.float32([0, 0, -0.0])})
    assert taken["b"] is not copies.base["b"]
    assert np.signbit(taken["b"][2])
    transposed = copies.take({**BASE, "a": np.asfortranarray(BASE["a"])})
    assert transposed["a"] is copies.base["a"]
    doubles = copies.take({name: value.astype(np.float64) for name, value in BASE.items()})
    assert doubles["a"].dtype == np.float32
    np.testing.assert_array_equal(doubles["a"], BASE["a"])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"a": BASE["a"], "b": BASE["b"]}, "missing"),
        ({**BASE, "d": BASE["c"]}, "unknown"),
        ({**BASE, "b": np.zeros(4, np.float32)}, "b has the shape"),
        ({**BASE, "b": np.float32([0, np.nan, 0])}, "b holds values that are not finite"),
        ({**BASE, "c": np.float32([np.inf])}, "c holds values that are not finite"),
    ],
)
def test_refuses(wrong: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(SwapError, match=reason):
        WeightCopies(BASE).take(wrong)


def test_memory_is_used_again_once_nobody_has_a_tensor_in_it() -> None:
    copies = WeightCopies(BASE)
    other = {name: value + 1 for name, value in BASE.items()}
    first = copies.take(other)
    place, part = first["a"].ctypes.data, first["b"]
    del first
    second = copies.take(other)
    assert second["a"].ctypes.data != place  # ``part`` is still in it
    np.testing.assert_array_equal(part, other["b"])
    del part
    third = copies.take({**BASE, "b": other["b"]})  # less of it will do
    assert third["b"].ctypes.data == place
    np.testing.assert_array_equal(second["a"], other["a"])


def test_buffers_are_filled_only_with_what_is_not_in_them() -> None:
    buffers = WeightBuffers({"x": ("a", True, (3, 2)), "y": ("b", False, (3,)), "z": ("c", False, (1,))})
    copies = WeightCopies(BASE)
    assert sorted(buffers.fill(copies.base)) == ["x", "y", "z"]
    assert buffers.fill(copies.take({**BASE, "b": np.float32([4, 5, 6])})) == ["y"]
    np.testing.assert_array_equal(buffers.arrays["x"], BASE["a"].T)
    np.testing.assert_array_equal(buffers.arrays["y"], [4, 5, 6])
    assert buffers.fill(copies.base) == ["y"]
    np.testing.assert_array_equal(buffers.arrays["y"], BASE["b"])

    mine = {name: value.copy() for name, value in BASE.items()}
    buffers.fill(mine)
    mine["c"][0] = 8  # who can still write to an array may have done so
    assert sorted(buffers.fill(mine)) == ["x", "y", "z"]
    assert buffers.arrays["z"][0] == 8


def test_copies_that_nobody_uses_any_more_free_their_memory() -> None:
    copies = WeightCopies(BASE)
    base = weakref.ref(copies.base["a"].base)
    del copies
    gc.collect()
    assert base() is None


def test_a_fill_that_failed_is_not_taken_for_done() -> None:
    copies = WeightCopies(BASE)
    buffers = WeightBuffers({name: (name, False, value.shape) for name, value in BASE.items()})
    taken = copies.take({name: value + 1 for name, value in BASE.items()})
    buffers.fill(copies.base)
    buffers.arrays["c"].flags.writeable = False  # the last one cannot be written
    with pytest.raises(ValueError, match="read-only"):
        buffers.fill(taken)
    buffers.arrays["c"].flags.writeable = True
    buffers.fill(copies.base)
    for name, value in BASE.items():
        np.testing.assert_array_equal(buffers.arrays[name], value)
    buffers.forget()
    assert sorted(buffers.fill(copies.base)) == sorted(BASE)
