"""Samples of any number format as the 8-bit RGB that encoders take: one rule, for files and for arrays.

* Unsigned integers of up to 8 bits are brightness already: 8 bits stay as they are, bit for bit; 1 bit, and booleans,
  become 0 and 255.
* Everything else (signed, more than 8 bits, floating point) has no white of its own: of 16 bits a camera may use 12,
  and a height map is in metres. It is scaled linearly, all bands of an image alike: the lowest value becomes 0, the
  highest 255; an image of one value becomes 128.
* A few values far away from all others must not turn the rest black: dead pixels, a fill value such as -9999. The range
  reaches beyond the middle 99.8 % of the samples, the lowest and the highest value not counted among them, by no more
  than half the width of that middle; what lies farther out is clipped. Images of less than 1000 samples are too small
  for that.
* Samples that are NaN, infinite or declared to be no data take no part in this and become black (0).
* Where a file says that 0 is white, the result is inverted, but for no data. Transparent pixels lie over white.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

BULK = (0.001, 0.999)  # quantiles
FEW = 1000  # samples that say nothing of what is usual
REACH = 0.5  # with outliers on one side 170 of 256 levels are left for all others
SAMPLE = 1_000_000  # values that the quantiles are taken from
LARGEST = 1e38  # beyond it lie fill values, e.g. GDAL's -3.4e38
ROWS = 256  # converted at once, in double precision

Samples = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]


def as_rgb(array: Samples) -> Rgb:
    """An image in memory as RGB uint8 ``(H, W, 3)``, by the rule of this module.

    Args:
        array: booleans, integers or floating point numbers: ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 3)`` RGB, or
            uint8 ``(H, W, 4)`` RGBA. RGB uint8 is returned as it is, not copied.

    Raises:
        ValueError: another type, number format or shape, or an image without any finite value.
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(f"an image is a NumPy array, got {type(array).__name__}: give numpy.asarray(image)")
    if array.size == 0:
        raise ValueError(f"an image needs at least one pixel, got shape {array.shape}")
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return array
    if array.dtype.kind not in "buif":
        raise ValueError(f"an image has booleans, integers or floating point numbers, got {array.dtype}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"an image is (H, W) or (H, W, bands) with 1 or 3 bands, got shape {array.shape}: choose bands, e.g. "
            "image[..., [2, 1, 0]], or move them to the end with numpy.moveaxis(image, 0, -1)"
        )
    if array.shape[2] == 4 and array.dtype != np.uint8:
        raise ValueError(
            f"an image of 4 bands is RGBA and uint8, got {array.dtype}: choose its colours, e.g. image[..., :3]"
        )
    opacity = np.divide(array[..., 3], 255, dtype=np.float32) if array.shape[2] == 4 else None
    return to_rgb(array[..., :3], opacity=opacity)


def to_rgb(
    samples: Samples,
    *,
    bits: int | None = None,
    opacity: npt.NDArray[np.float32] | None = None,
    no_data: float | None = None,
    white_is_zero: bool = False,
) -> Rgb:
    """Samples ``(H, W, 1)`` or ``(H, W, 3)`` as RGB uint8 ``(H, W, 3)``, by the rule of this module.

    Args:
        bits: how many of uint8 samples' bits are in use, where that is fewer than 8.
        opacity: ``(H, W)``, 0 is transparent and 1 opaque.
        no_data: the value of samples that hold none.
        white_is_zero: as TIFF's photometric tag says it.

    Raises:
        ValueError: there is no sample with a value.
    """
    if samples.dtype == np.bool_:
        samples, bits = samples.view(np.uint8), 1
    if samples.dtype == np.uint8:
        grey = samples if bits in (None, 8) else _levels(bits)[samples]
        grey = 255 - grey if white_is_zero else grey
    else:
        grey = _scaled(samples, opacity, no_data, white_is_zero)
    if opacity is not None:
        share = np.clip(opacity, 0, 1)[..., None]
        grey = np.rint(grey * share + 255 * (1 - share)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))


def check_bands(bands: Sequence[int]) -> tuple[int, ...]:
    """The numbers of one band (grey) or three (red, green, blue), counted from 1.

    Raises:
        ValueError: there are other than one or three, or one is not a positive integer.
    """
    numbers = tuple(bands) if isinstance(bands, Iterable) else ()
    if len(numbers) not in (1, 3) or not all(isinstance(band, int | np.integer) and band >= 1 for band in numbers):
        raise ValueError(f"bands are one or three numbers from 1 on, e.g. (3, 2, 1) or (1,), got {bands!r}")
    return tuple(int(band) for band in numbers)


def choose_bands(samples: Samples, bands: Sequence[int]) -> Samples:
    """These bands of samples ``(H, W, C)``, in this order.

    Raises:
        ValueError: there is no such band.
    """
    if max(bands) > samples.shape[2]:
        raise ValueError(f"there is no band {max(bands)}: the image has {samples.shape[2]}")
    return samples[..., [band - 1 for band in bands]]


def _levels(bits: int | None) -> Rgb:
    top = 2 ** (bits or 8) - 1
    levels: Rgb = np.rint(np.minimum(np.arange(256), top) * (255 / top)).astype(np.uint8)
    return levels


def _scaled(
    samples: Samples, opacity: npt.NDArray[np.float32] | None, no_data: float | None, white_is_zero: bool
) -> Rgb:
    known = _known(samples, no_data)
    seen = known if opacity is None else known & (opacity > 0)[..., None]
    low, high = _range(samples, seen if seen.any() else known)
    grey = np.empty(samples.shape, np.uint8)
    for start in range(0, len(samples), ROWS):
        part = slice(start, start + ROWS)
        values = np.where(known[part], samples[part], low).astype(np.float64)
        values = np.full_like(values, 128) if high == low else np.clip((values - low) * (255 / (high - low)), 0, 255)
        values = 255 - values if white_is_zero else values
        grey[part] = np.where(known[part], np.rint(values), 0)
    return grey


def _known(samples: Samples, no_data: float | None) -> npt.NDArray[np.bool_]:
    """Which samples have a value."""
    known = np.ones(samples.shape, bool)
    if samples.dtype.kind == "f":
        known = np.isfinite(samples)
        if samples.dtype.itemsize > 2:
            known &= np.abs(samples) <= LARGEST
    if no_data is not None and np.isfinite(no_data):
        with np.errstate(over="ignore"):
            # Files hold the value as text: -3.4028235e+38 is meant for a float32, not a float64 nearby.
            same = np.float64(np.float64(no_data).astype(samples.dtype)) if samples.dtype.kind == "f" else no_data
        known &= samples != same
    return known


def _range(samples: Samples, known: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """What becomes 0 and what becomes 255."""
    if not known.any():
        raise ValueError("no pixel of the image has a value: all are NaN, infinite or declared as no data")
    kind = samples.dtype
    ends = (np.iinfo(kind).max, np.iinfo(kind).min) if kind.kind != "f" else (np.inf, -np.inf)
    lowest = float(samples.min(where=known, initial=ends[0]))
    highest = float(samples.max(where=known, initial=ends[1]))
    bands = samples.shape[2]
    every = max(1, samples.size // SAMPLE)  # pixels, so that each band has its share
    some = samples.reshape(-1, bands)[::every][known.reshape(-1, bands)[::every]].astype(np.float64)
    middle = some[(some > lowest) & (some < highest)]
    if middle.size < FEW or middle.min() == middle.max():
        return lowest, highest
    low, high = (float(value) for value in np.quantile(middle, BULK))
    reach = REACH * (high - low)
    return max(lowest, low - reach), min(highest, high + reach)
