"""An image or a window of it, as the encoder made it ready for clicks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.border import moves_border, near_changes
from livesam.engine.view.bumps import Colours
from livesam.engine.view.edges import EdgeFilter
from livesam.engine.view.geometry import ResizeGeometry, drawn, postprocess
from livesam.engine.view.look import Look
from livesam.engine.view.obey import low_res_colours, obey
from livesam.engine.view.points import check_prompt, geometry_of

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

OUTSIDE = -8.0  # logit of what no decoder looked at


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What the decoder looks at.

    Prompts and masks are in pixels of the whole image everywhere but in here; low-res logits belong to a window.

    Attributes:
        embedding: of the window's pixels.
        pixels: the whole image's, uint8 RGB; None where they are not looked at again.
        window: where it lies.
        hw: height and width of the whole image.
        colours: the window's, float32 ``(rows, columns, 3)`` on the grid of the low-res logits; None where nobody had
            the pixels.
        edges: draws low-res logits of the window to its edges; None like ``colours``.
    """

    embedding: ImageEmbedding
    pixels: Pixels | None
    window: Window
    hw: tuple[int, int]
    colours: Colours | None = None
    edges: EdgeFilter | None = None

    @classmethod
    def whole(cls, embedding: ImageEmbedding, pixels: Pixels | None, *, keep: bool = True) -> View:
        """The view of a whole image; ``keep`` the pixels for looking closer."""
        hw = embedding.original_hw
        return cls._of(embedding, pixels if keep else None, Window.whole(hw), hw, pixels)

    def part(self, window: Window, encode: Callable[[Pixels], ImageEmbedding]) -> View:
        """The view of a window of this image.

        Raises:
            ValueError: the image's pixels are not at hand.
        """
        if self.pixels is None:
            raise ValueError("the image's pixels are not at hand: make the view of the whole image with them")
        pixels = np.ascontiguousarray(self.pixels[window.part])
        return View._of(encode(pixels), self.pixels, window, self.hw, pixels)

    def ready(self) -> View:
        """This view, with what its first answer would have to wait for."""
        if self.edges is not None:
            self.edges.prepare()
        return self

    @classmethod
    def _of(
        cls, embedding: ImageEmbedding, pixels: Pixels | None, window: Window, hw: tuple[int, int], seen: Pixels | None
    ) -> View:
        """A view of which ``seen`` are the window's own pixels."""
        if seen is None:
            return cls(embedding, pixels, window, hw)
        geometry = geometry_of(embedding)
        colours = low_res_colours(seen, geometry)
        return cls(embedding, pixels, window, hw, colours, EdgeFilter(colours, geometry.image_size // 4))

    @property
    def is_whole(self) -> bool:
        return self.window.hw == self.hw

    @property
    def image_size(self) -> int:
        """Side of the model's input."""
        return geometry_of(self.embedding).image_size

    @property
    def low_res_hw(self) -> tuple[int, int]:
        """Height and width of low-res logits."""
        return (4 * int(self.embedding.features.shape[2]), 4 * int(self.embedding.features.shape[3]))

    def obeyed(self, low_res: Logits, clicks: Sequence[Click]) -> Logits:
        """Low-res logits of the window, corrected where they contradict clicks (``engine/view/obey.py``).

        As they are where nobody had the pixels.

        Args:
            clicks: in pixels of the whole image.
        """
        if self.colours is None:
            return low_res
        return obey(low_res, self.colours, self.window.clicks(clicks), geometry_of(self.embedding))

    def keeps_last(self, prompt: Prompt) -> bool:
        """Whether the newest click moves the border of the fed-back mask, which is then shown instead of a new one.

        Args:
            prompt: its clicks in pixels of the whole image; its mask is the window's.
        """
        last, clicks = prompt.mask_logits, prompt.clicks
        if last is None or self.colours is None or not self.window.clicks(clicks[-1:]):
            return False
        return moves_border(last, self.window.clicks(clicks), geometry_of(self.embedding))

    def inside(self, prompt: Prompt) -> Prompt:
        """A prompt in the window's pixels, without the clicks beyond it; ``mask_logits`` are the window's already.

        Raises:
            ValueError: nothing of it is in the window.
        """
        if self.is_whole:
            return prompt
        box, x0, y0 = prompt.box, self.window.x0, self.window.y0
        if box is not None:  # windows hold all of it
            box = Box(box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0)
        return Prompt(self.window.clicks(prompt.clicks), box, prompt.mask_logits)

    def fed_back(self, last: Step) -> Logits:
        """The low-res logits of the object's last answer as this view's; a painted mask's are made for it."""
        if last.painted is not None:
            return logits_of(last.painted.mask()[self.window.part], self.image_size, self.low_res_hw)
        return carried(last.low_res_logits, last.window, self.window, self.image_size)

    def draws_to_edges(self, look: Look) -> bool:
        """Whether every answer's logits change before they are drawn."""
        return look.edges and self.edges is not None

    def corrected(self, low_res: Logits, clicks: Sequence[Click], look: Look) -> tuple[Logits, dict[str, float]]:
        """An answer's low-res logits as they are shown, and the milliseconds of each stage; the same where unchanged.

        Args:
            low_res: float32 ``(4h, 4w)``, the decoder's.
            clicks: in pixels of the whole image.
            look: whether to obey clicks, and to draw to edges where the image's colours are at hand.
        """
        logits, stages, begun = low_res, {}, time.perf_counter()
        if look.edges and self.edges is not None:
            logits = self.edges.drawn(low_res)
            stages["edges"] = (time.perf_counter() - begun) * 1e3
        if look.obey:
            begun = time.perf_counter()
            logits = self.obeyed(logits, clicks)
            stages["obey"] = (time.perf_counter() - begun) * 1e3
        return logits, stages

    def shown(self, low_res: Logits, clicks: Sequence[Click], look: Look) -> tuple[Logits, Mask, dict[str, float]]:
        """An answer as it is shown: its low-res logits, its mask, and the milliseconds of each stage.

        Arguments as for ``corrected``; ``low_res`` is not kept.
        """
        logits, stages = self.corrected(low_res, clicks, look)
        if logits is low_res:
            logits = low_res.copy()  # a view would keep all masks of all prompts alive
        mask, drawing = self.mask(logits)
        return logits, mask, {**stages, **drawing}

    def shown_moved(self, last: Logits, clicks: Sequence[Click], look: Look) -> tuple[Logits, Mask, dict[str, float]]:
        """The last answer with its border moved, as ``shown`` has an answer; edges are drawn where it was moved."""
        begun = time.perf_counter()
        logits = self.obeyed(last, clicks)
        if look.edges and self.edges is not None:
            share = near_changes(last, logits)
            logits = self.obeyed(logits + share * (self.edges.drawn(logits) - logits), clicks)
        stages = {"obey": (time.perf_counter() - begun) * 1e3}
        logits = logits.copy() if logits is last else logits
        mask, drawing = self.mask(logits)
        return logits, mask, {**stages, **drawing}

    def mask(self, low_res: Logits) -> tuple[Mask, dict[str, float]]:
        """The mask of an answer at the whole image's size, and how long that took in milliseconds.

        Args:
            low_res: float32 ``(4h, 4w)``.
        """
        begun = time.perf_counter()
        shown = drawn(low_res, ResizeGeometry.of(self.window.hw, self.image_size))
        return self.placed(shown), {"postprocess": (time.perf_counter() - begun) * 1e3}

    def placed(self, shown: Mask) -> Mask:
        """The window's mask in the whole image."""
        if self.is_whole:
            return shown
        mask = np.zeros(self.hw, np.bool_)
        mask[self.window.part] = shown
        return mask

    def check(self, step: Step) -> None:
        """Refuse a step that this image and model cannot have had.

        Raises:
            ValueError: its prompt does not belong to the image, its logits have another shape, or its window is not in
                the image, too thin, or without the box or the newest click.
        """
        window, prompt = step.window, step.prompt
        check_prompt(prompt, self.hw, self.low_res_hw)
        if step.low_res_logits.shape != self.low_res_hw:
            raise ValueError(f"its logits have the shape {step.low_res_logits.shape}")
        if not window.within(self.hw):
            raise ValueError(f"its {window} is not in the image")
        ResizeGeometry.of(window.hw, self.image_size)
        box = prompt.box is None or (
            window.x0 <= prompt.box.x0
            and window.y0 <= prompt.box.y0
            and prompt.box.x1 <= window.x1
            and prompt.box.y1 <= window.y1
        )
        if not box or (prompt.clicks and not window.clicks(prompt.clicks[-1:])):
            raise ValueError(f"its {window} does not hold what was clicked")

    def prompts(self, steps: Sequence[Step]) -> tuple[Prompt, ...]:
        """An object's prompts in the window's pixels, oldest first; those of which nothing is in it are left out.

        A mask that was fed back in another window is not part of them.
        """
        found = []
        for step in steps:
            with suppress(ValueError):
                prompt = step.prompt if step.window == self.window else replace(step.prompt, mask_logits=None)
                found.append(self.inside(prompt))
        return tuple(found)


def seen_in(whole: View, views: Mapping[Window, View], steps: Sequence[Step]) -> tuple[View, ...]:
    """The views that answered an object's steps, in their order after the whole image's; all without pixels."""
    windows = dict.fromkeys(step.window for step in steps if step.window != whole.window)
    return (replace(whole, pixels=None), *(views[window] for window in windows if window in views))


def logits_of(mask: Mask, image_size: int, low_res_hw: tuple[int, int]) -> Logits:
    """Low-res logits that stand for a mask of the whole image: 8 inside, -8 outside, between them at its border."""
    height, width = (-(-side // 4) for side in ResizeGeometry.of((mask.shape[0], mask.shape[1]), image_size).resized_hw)
    result = np.full(low_res_hw, OUTSIDE, np.float32)
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    result[:height, :width] = OUTSIDE * (1 - 2 * share)
    return result


def carried(low_res: Logits, old: Window, new: Window, image_size: int) -> Logits:
    """Low-res logits of one window as those of another; what the old one did not see is background.

    Args:
        low_res: float32 ``(4h, 4w)``, an answer in ``old``.
        image_size: side of the model's input, 16 times the embedding's.

    Returns:
        float32 ``(4h, 4w)``, to feed back in ``new``.
    """
    if old == new:
        return low_res
    seen = postprocess(low_res, ResizeGeometry.of(old.hw, image_size))
    logits = np.full(new.hw, OUTSIDE, np.float32)
    x0, y0, x1, y1 = max(old.x0, new.x0), max(old.y0, new.y0), min(old.x1, new.x1), min(old.y1, new.y1)
    if x0 < x1 and y0 < y1:
        logits[y0 - new.y0 : y1 - new.y0, x0 - new.x0 : x1 - new.x0] = seen[
            y0 - old.y0 : y1 - old.y0, x0 - old.x0 : x1 - old.x0
        ]
    height, width = (-(-side // 4) for side in ResizeGeometry.of(new.hw, image_size).resized_hw)
    result = np.full(low_res.shape, OUTSIDE, np.float32)
    result[:height, :width] = cv2.resize(logits, (width, height), interpolation=cv2.INTER_AREA)
    return result
