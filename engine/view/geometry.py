"""Between the pixels of the original image and the square frame that the encoder sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from PIL import Image

LARGE_PX = 6_000_000  # below that OpenCV's two steps are as fast
SMALL_SHARE = 1 / 8  # of the image, and beyond that, too
BLOCK = 64  # rows at a time, which stay in the processor's caches


@dataclass(frozen=True, slots=True)
class ResizeGeometry:
    """How an image was scaled so that its long side fits the model's input; the rest of the square is padding.

    The numbers are those of ``segment_anything.utils.transforms.ResizeLongestSide``.

    Attributes:
        original_hw: height and width of the image.
        image_size: side of the model's square input.
        resized_hw: height and width after scaling.
    """

    original_hw: tuple[int, int]
    image_size: int
    resized_hw: tuple[int, int]

    @classmethod
    def of(cls, original_hw: tuple[int, int], image_size: int) -> ResizeGeometry:
        """The geometry of an image of ``original_hw`` for a model of ``image_size``.

        Raises:
            ValueError: the image is empty, or so thin that its short side vanishes.
        """
        height, width = int(original_hw[0]), int(original_hw[1])
        if height < 1 or width < 1:
            raise ValueError(f"an image needs at least one pixel, got {height} x {width} (height x width)")
        scale = image_size * 1.0 / max(height, width)
        resized_hw = (int(height * scale + 0.5), int(width * scale + 0.5))
        if min(resized_hw) < 1:
            raise ValueError(
                f"an image of {height} x {width} is too thin: scaled to {image_size} pixels on its long side nothing "
                f"is left of the short one; crop it to less than {2 * image_size} : 1"
            )
        return cls((height, width), image_size, resized_hw)

    @property
    def scale(self) -> float:
        """Input pixels for each original pixel, before the size was rounded to whole pixels."""
        return self.image_size / max(self.original_hw)

    @property
    def factors_xy(self) -> tuple[float, float]:
        """What coordinates are multiplied with; because of the rounding not quite the same along x and y."""
        (old_h, old_w), (new_h, new_w) = self.original_hw, self.resized_hw
        return new_w / old_w, new_h / old_h

    def to_input_frame(self, xy: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Original pixel coordinates ``(..., 2)`` as ``(x, y)`` in the model's input frame, float32.

        Scaled in double precision and not rounded, as ``ResizeLongestSide.apply_coords`` does; the half pixel to the
        pixel's middle is added inside the decoder.
        """
        return np.asarray(np.asarray(xy, dtype=np.float64) * np.array(self.factors_xy), dtype=np.float32)


def resize(image: npt.NDArray[np.uint8], image_size: int) -> npt.NDArray[np.uint8]:
    """The image with its long side scaled to ``image_size``, RGB uint8 ``(h, w, 3)``; PIL's bilinear, as SAM's.

    Raises:
        ValueError: the image is not uint8 ``(H, W, 3)``, or empty.
    """
    require_rgb(image)
    height, width = ResizeGeometry.of((image.shape[0], image.shape[1]), image_size).resized_hw
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    picture = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.uint8)


def prepare(image: npt.NDArray[np.uint8], image_size: int) -> npt.NDArray[np.float32]:
    """The encoder's input for an RGB image uint8 ``(H, W, 3)``: float32 ``(1, 3, S, S)``.

    Scaled, normalised, and only then padded with zeros at the right and the bottom, exactly as ``SamPredictor``.

    Raises:
        ValueError: the image is not uint8 ``(H, W, 3)``, or empty.
    """
    resized = resize(image, image_size)
    height, width = resized.shape[:2]
    out = np.zeros((1, 3, image_size, image_size), np.float32)
    for channel in range(3):
        # 256 possible values a channel: a table is 4 times as fast as the arithmetic and gives the same bits.
        values = cv2.LUT(np.ascontiguousarray(resized[..., channel]), _table(channel))
        out[0, channel, :height, :width] = values
    return out


def postprocess(low_res: npt.NDArray[np.float32], geometry: ResizeGeometry) -> npt.NDArray[np.float32]:
    """Low-res logits ``(4h, 4w)`` of one mask as logits at the original size ``(H, W)``, float32.

    The two bilinear steps of ``Sam.postprocess_masks``: up to the square input, padding off, to the original size.
    Equal to it within 1e-4 of the largest logit (torch takes source positions in single precision, OpenCV in double).

    Raises:
        ValueError: ``low_res`` is not a 2-D array.
    """
    if low_res.ndim != 2:
        raise ValueError(f"low-res logits of one mask have two axes, got shape {low_res.shape}")
    size, (resized_h, resized_w), (height, width) = geometry.image_size, geometry.resized_hw, geometry.original_hw
    source = np.ascontiguousarray(low_res, dtype=np.float32)
    square = cv2.resize(source, (size, size), interpolation=cv2.INTER_LINEAR)[:resized_h, :resized_w]
    if (resized_h, resized_w) == (height, width):
        return np.ascontiguousarray(square)
    return cast("npt.NDArray[np.float32]", cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR))


def drawn(low_res: npt.NDArray[np.float32], geometry: ResizeGeometry) -> npt.NDArray[np.bool_]:
    """Where ``postprocess`` is above 0, bool ``(H, W)``; of a small object on a large image only its part is scaled up.

    On 12 Mpx 4 ms instead of 63 (two cores with AVX2, an object on a fortieth of the photo): no float of every pixel is
    written to memory. A logit of less than a millionth of the largest one may get the other sign.

    Raises:
        ValueError: as ``postprocess``.
    """
    height, width = geometry.original_hw
    if height * width < LARGE_PX:
        return np.asarray(postprocess(low_res, geometry) > 0)
    square = postprocess(low_res, ResizeGeometry.of(geometry.resized_hw, geometry.image_size))
    mask = np.zeros((height, width), np.bool_)
    x, y, across, down = cv2.boundingRect((square > 0).view(np.uint8))
    if across == 0:
        return mask
    if across * down > SMALL_SHARE * square.size:
        return np.asarray(postprocess(low_res, geometry) > 0)
    columns, left, to_right = _between(width, square.shape[1], x, x + across)
    rows, above, to_below = _between(height, square.shape[0], y, y + down)
    seen = square[above[0] : above[-1] + 2]
    last = square.shape[1] - 1
    wide = seen[:, left] * (1 - to_right) + seen[:, np.minimum(left + 1, last)] * to_right
    above, below = above - above[0], np.minimum(above + 1 - above[0], len(wide) - 1)
    for at in range(0, len(above), BLOCK):
        part = slice(at, at + BLOCK)
        share = to_below[part, None]
        mask[rows.start + at : rows.start + at + len(share), columns] = (
            wide[above[part]] * (1 - share) + wide[below[part]] * share > 0
        )
    return mask


def _between(
    count: int, source: int, first: int, last: int
) -> tuple[slice, npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Which of ``count`` places of a scaled-up axis lie beside ``first`` to ``last`` of its source.

    Returns:
        the places; of each the source's place before it, and how far it is on the way to the next.
    """
    at = (np.arange(count) + 0.5) * (source / count) - 0.5
    low = np.clip(np.floor(at).astype(np.intp), 0, source - 1)
    share = np.clip(at - low, 0, 1).astype(np.float32)
    share[low == source - 1] = 0
    places = slice(int(np.searchsorted(low, first - 1)), int(np.searchsorted(low, last)))
    return places, low[places], share[places]


def require_rgb(image: npt.NDArray[np.uint8]) -> None:
    """Refuse what is not an RGB image.

    Raises:
        ValueError: the image is not uint8 ``(H, W, 3)``, or empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"an image must be an RGB array, uint8 (height, width, 3), got {got}")
    if image.size == 0:
        raise ValueError(f"an image needs at least one pixel, got shape {image.shape}")


def _table(channel: int) -> npt.NDArray[np.float32]:
    values = np.arange(256, dtype=np.float32)
    return (values - np.float32(PIXEL_MEAN[channel])) / np.float32(PIXEL_STD[channel])
