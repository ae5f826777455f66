"""What a domain's finished objects say about the next one: how large it will be, so where to look at its first click.

A first click says where an object is and not how large. The whole image shows a small object in few cells; who has
seen its like before looks closer at once. It takes one more encode, and no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.window import Window

LEAST = 3  # finished objects, before they say anything about the next
KEPT = 16
CORRECTED = 3  # clicks
QUANTILE = 0.9
ROOM = 2.0  # side of the window, in long sides of the objects
MIN_SIDE = 96  # px
LARGE = 0.75  # of the image's long side: a larger window gains too little


@dataclass(frozen=True, slots=True)
class SizePrior:
    """The sizes of a domain's last objects.

    Attributes:
        sizes: the objects' long sides, relative to the image's, oldest first.
    """

    sizes: tuple[float, ...] = ()

    def observe(self, mask: npt.NDArray[np.bool_], accepted: bool, clicks: int) -> SizePrior:
        """With one more finished object.

        A mask that was given up after some corrections is still about as large as its object; an empty one, or one that
        was left at once, says nothing.

        Args:
            mask: bool ``(H, W)``, the last one.
            clicks: how many the user had given.
        """
        _, _, across, down = cv2.boundingRect(mask.view(np.uint8))
        if across == 0 or not (accepted or clicks >= CORRECTED):
            return self
        return SizePrior((*self.sizes, max(across, down) / max(mask.shape))[-KEPT:])

    def window(self, prompt: Prompt, hw: tuple[int, int]) -> Window:
        """Where to look for an object's first answer in an image of this height and width.

        The whole image, unless the prompt is one positive click and objects were seen that are small enough.
        """
        height, width = hw
        whole = Window.whole(hw)
        if (
            len(self.sizes) < LEAST
            or prompt.box is not None
            or len(prompt.clicks) != 1
            or not prompt.clicks[0].positive
        ):
            return whole
        long_side = max(hw)
        side = max(ROOM * float(np.quantile(self.sizes, QUANTILE)) * long_side, MIN_SIDE)
        if side >= LARGE * long_side:
            return whole
        click = prompt.clicks[0]
        left = min(max(click.x - side / 2, 0), max(width - side, 0))
        top = min(max(click.y - side / 2, 0), max(height - side, 0))
        return Window(int(left), int(top), min(width, int(left + side) + 1), min(height, int(top + side) + 1))
