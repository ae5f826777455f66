"""An answer to a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """What a decoder says about P prompts on one image: token 0 is the single mask, tokens 1 to 3 the multi-mask ones.

    Attributes:
        low_res_logits: float32 ``(P, 4, 4h, 4w)``; above 0 is object.
        ious: float32 ``(P, 4)``, the decoder's own estimate of each mask's IoU.
    """

    low_res_logits: npt.NDArray[np.float32]
    ious: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class MaskResult:
    """One mask at the original size, with the decoder that gave it and where its time went.

    Attributes:
        mask: bool ``(H, W)`` of the original image.
        low_res_logits: float32 ``(4h, 4w)``, to feed back as the next prompt's ``mask_logits``, where the window is the
            whole image; a session that zooms carries them over by itself.
        iou: the decoder's own estimate of this mask's IoU.
        decoder_version: the decoder slot's version that answered.
        window: the part of the image that the decoder looked at, and that ``low_res_logits`` are of.
        timings_ms: milliseconds by stage: ``wait``, ``decode``, ``postprocess``, ``total``; ``zoom``, ``obey`` and
            ``edges`` where asked for.
        prompt: what it answers.
        image: the RGB image, read-only, where the session has kept it: with ``zoom``.
    """

    mask: npt.NDArray[np.bool_]
    low_res_logits: npt.NDArray[np.float32]
    iou: float
    decoder_version: int
    window: Window
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    prompt: Prompt | None = None
    image: npt.NDArray[np.uint8] | None = None

    def save(self, path: Path | str) -> None:
        """Write the mask as an 8-bit grey PNG of the image's size, 255 where it is set; whole or not at all.

        Raises:
            ValueError: the suffix is not ``.png``.
            OSError: the file cannot be written.
        """
        from livesam.engine.files.image import write_mask
        from livesam.engine.files.places import as_path

        path = as_path(path, "a mask's file")
        if path.suffix.lower() != ".png":
            raise ValueError(f"a mask is written as .png, which loses nothing; got {str(path)!r}")
        write_mask(path, self.mask)

    def overlay(
        self, path: Path | str | None = None, image: npt.NDArray[Any] | Path | str | None = None
    ) -> npt.NDArray[np.uint8]:
        """The mask and the clicks drawn on the image: RGB, uint8, enlarged to 900 px where it is smaller.

        Args:
            path: also write it there, as PNG or JPEG.
            image: the image that the mask is of, a path or an array; None for the one that the session has kept.

        Raises:
            ValueError: no image is at hand, it is of another size, ``path`` is no path or has another suffix.
            ImageError: the image cannot be read.
            OSError: the file cannot be written.
        """
        from livesam.engine.files.image import as_image
        from livesam.engine.files.picture import write_picture
        from livesam.engine.view.overlay import Layer, draw

        if isinstance(path, np.ndarray):
            raise ValueError("overlay's first argument is the file to write: give the image as overlay(image=...)")
        pixels = self.image if image is None else as_image(image)
        if pixels is None:
            raise ValueError("the session kept no image to draw on (its look does not zoom): give overlay(image=...)")
        if pixels.shape[:2] != self.mask.shape:
            raise ValueError(f"the mask is of an image of {self.mask.shape}, got one of {pixels.shape[:2]}")
        clicks, box = (self.prompt.clicks, self.prompt.box) if self.prompt is not None else ((), None)
        picture = draw(pixels, [Layer(self.mask, clicks, box)])
        if path is not None:
            write_picture(path, picture)
        return picture

    def show(self) -> None:
        """Show the overlay, or the mask where no image is at hand: in the notebook's cell, else in a window."""
        from io import BytesIO

        from PIL import Image

        try:
            from IPython.display import display
        except ImportError:
            Image.open(BytesIO(self._repr_png_())).show()
        else:
            display(self)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        from livesam.engine.files.picture import picture_bytes

        if self.image is None:
            return picture_bytes(np.where(self.mask, np.uint8(255), np.uint8(0)))
        return picture_bytes(self.overlay())
