"""The quick check for finite values says what the slow one says."""

import numpy as np
import pytest
from livesam.engine.files.finite import all_finite

LARGE = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("values", "finite"),
    [
        ((0.0, -1.0, 3.5), True),
        ((), True),
        ((1.0, np.nan), False),
        ((np.inf, 1.0), False),
        ((np.inf, -np.inf), False),
        ((LARGE, LARGE), True),  # finite values with a sum that is not
        ((LARGE, LARGE, np.nan), False),
    ],
)
def test_nan_and_infinity_are_found_and_large_values_are_not_mistaken_for_them(
    values: tuple[float, ...], finite: bool
) -> None:
    assert all_finite(np.array(values, np.float32)) is finite
