"""Whether all numbers of an array are finite, quickly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def all_finite(array: npt.NDArray[np.floating[Any]]) -> bool:
    """Whether no value is NaN or infinite.

    A sum shows both without an array of booleans in between; only where it is not finite itself, which large values
    can do too, every value is looked at.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(array.sum()) or bool(np.isfinite(array).all())
