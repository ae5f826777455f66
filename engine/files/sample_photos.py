"""Photos that scikit-image ships in its wheel, for whoever needs a few real ones: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import LivesamError

# By their function in ``skimage.data``. Every file is inside the wheel; other functions of that module download.
SAMPLE_PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "stereo_motorcycle", "coins")


def sample_photo(function: str) -> npt.NDArray[np.uint8]:
    """One of ``SAMPLE_PHOTOS``, RGB, uint8 ``(H, W, 3)``.

    Raises:
        LivesamError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError:
        raise LivesamError(
            "the sample photos come with scikit-image, which is not installed: pip install 'livesam[app]'"
        ) from None
    found: Any = getattr(data, function)()
    pixels = np.asarray(found[0] if function == "stereo_motorcycle" else found)  # left, right, disparity
    return np.ascontiguousarray(np.stack([pixels] * 3, -1) if pixels.ndim == 2 else pixels[..., :3])
