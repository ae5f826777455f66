"""A painted mask is kept bit for bit, in the bits of its box."""

from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.values.painted import Painted


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (3, 2, 20, 9), (0, 0, 37, 23), (36, 22, 37, 23), (5, 5, 5, 5)])
def test_it_comes_back_as_it_was(box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    mask = np.zeros((23, 37), bool)
    mask[y0:y1, x0:x1] = np.random.default_rng(1).random((y1 - y0, x1 - x0)) > 0.4
    mask[y0 : y0 + (y1 > y0), x0:x1] = True
    kept = Painted.of(mask)
    assert np.array_equal(kept.mask(), mask)
    assert kept.bits.nbytes <= (y1 - y0) * (1 + (x1 - x0) // 8)
