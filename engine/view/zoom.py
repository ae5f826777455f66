"""Looking closer: which part of an image the decoder sees, and when that moves.

An encoder scales the whole image to its input, so a small object gets few of the decoder's cells: of nano's 128 x 128
one of a tenth of the image's side gets 13 x 13. From the second click on, zoom cuts a window out around what was shown
and encodes that for itself; the idea is f-BRS's and RITM's "zoom-in" (Sofiiuk et al., arXiv 2001.10331).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.view import Mask, View

# Chosen on validation sets: a smaller window leaves no room for what a mask has missed, a larger one shows less detail.
ROOM = 1.6  # side of a new window, in long sides of what has to be in it
MARGIN = 0.1  # of the same, that must be left around it, or the window moves
SHRINK = 0.6  # a new window is taken where it is smaller than the old one by this factor
LARGE = 0.75  # a window of this share of the image's long side gains too little: the whole image is used
MIN_SIDE = 96  # px; smaller ones show pixels and no object


class Zoom:
    """Moves the view to where the object is, and encodes what is seen there."""

    def __init__(self, make: Callable[[View, Window], View]) -> None:
        """``make`` gives the view of a window of a whole image: encodes it, or has it already."""
        self.make = make
        self._last: tuple[View, View] | None = None  # a view of a window, and the whole image's that it is part of

    def forget(self) -> None:
        """Free what is kept of the last image."""
        self._last = None

    def look(self, whole: View, last: Step, shown: Mask, prompt: Prompt) -> View:
        """The view for the next answer on an object; the image is encoded anew where the window has moved.

        Args:
            whole: the image; without pixels it is all that there is to look at.
            last: the object's last step.
            shown: its mask, bool ``(H, W)``.
            prompt: of the next answer, in pixels of the whole image.
        """
        if whole.pixels is None:
            return whole
        return self.at(whole, next_window(shown, prompt, last.window))

    def at(self, whole: View, window: Window) -> View:
        """The view of a window of the image, encoded unless it was the last one.

        Raises:
            ValueError: the image's pixels are not at hand.
        """
        if window == whole.window:
            return whole
        if self._last is None or self._last[0].window != window or self._last[1] is not whole:
            self._last = (self.make(whole, window), whole)
        return self._last[0]


def expected_window(shown: Mask, prompt: Prompt, current: Window) -> Window:
    """Where the next answer will be looked for, if the next click is on what is shown or between what was clicked.

    Arguments as for ``next_window``; ``prompt`` is the last one.
    """
    return _window(shown, list(_told(prompt, newest=False)), current)


def next_window(shown: Mask, prompt: Prompt, current: Window) -> Window:
    """Where to look for the next answer.

    In the window must be: the mask that is shown, all positive clicks, the newest click, and the box.

    Args:
        shown: the object's last mask, bool ``(H, W)`` of the whole image.
        prompt: what the next answer is for, in pixels of the whole image.
        current: where the last answer came from.
    """
    return _window(shown, list(_told(prompt, newest=True)), current)


def _window(shown: Mask, told: list[tuple[float, float, float, float]], current: Window) -> Window:
    height, width = shown.shape
    whole = Window.whole((height, width))
    x, y, across, down = cv2.boundingRect(shown.view(np.uint8))
    if across == 0:
        return whole
    x0, y0, x1, y1 = _span([(x, y, x + across, y + down), *told])
    long_side = max(x1 - x0, y1 - y0)
    side = max(ROOM * long_side, MIN_SIDE)
    if current != whole:
        margin = MARGIN * long_side
        kept = (
            (current.x0 <= x0 - margin or current.x0 == 0)
            and (current.y0 <= y0 - margin or current.y0 == 0)
            and (x1 + margin <= current.x1 or current.x1 == width)
            and (y1 + margin <= current.y1 or current.y1 == height)
        )
        if kept and side >= SHRINK * max(current.hw):
            return current
    if side >= LARGE * max(height, width):
        return whole
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    return Window(
        max(0, int(left)), max(0, int(top)), min(width, int(left + side) + 1), min(height, int(top + side) + 1)
    )


def _told(prompt: Prompt, *, newest: bool) -> Iterable[tuple[float, float, float, float]]:
    for click in prompt.clicks:
        if click.positive or (newest and click is prompt.clicks[-1]):
            yield (click.x, click.y, click.x + 1, click.y + 1)
    if prompt.box is not None:
        yield prompt.box.as_tuple()


def _span(areas: list[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    """The smallest rectangle around all."""
    x0, y0, x1, y1 = zip(*areas, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))
