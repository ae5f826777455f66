"""Packed masks come back the same however many there are."""

from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.values import packed_masks
from livesam.engine.values.packed_masks import unpack_each


@pytest.mark.parametrize("many", [1, 10**9])
def test_each_is_the_mask_that_was_packed(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_masks, "MANY", many)
    masks = np.random.default_rng(0).random((9, 30, 41)) > 0.5
    found = unpack_each([np.packbits(mask, axis=-1) for mask in masks], (30, 41))
    assert len(found) == 9
    for got, want in zip(found, masks, strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == np.bool_
