"""A question to the decoder, and its answer as the user sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from livesam.engine.values.prompt import Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.look import Look
from livesam.engine.view.view import Logits, Mask, View


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What the decoder is asked.

    Attributes:
        view: what it looks at.
        prompt: clicks and box in pixels of the whole image; the fed-back mask is the view's.
    """

    view: View
    prompt: Prompt

    @property
    def seen(self) -> Prompt:
        """The prompt as the decoder gets it, in pixels of the view."""
        return self.view.inside(self.prompt)

    @property
    def redrawn(self) -> Question:
        """Asked for the decoder's own mask, even where the newest click only moves the border of the last one."""
        return replace(self, prompt=self.prompt.with_mask(None))


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An answer as the user sees it.

    Attributes:
        mask: bool ``(H, W)`` of the whole image.
        low_res_logits: float32 ``(4h, 4w)`` of the window.
        iou: the decoder's own estimate.
        window: the part of the image that the decoder looked at.
        stages: milliseconds of each stage of drawing.
    """

    mask: Mask
    low_res_logits: Logits
    iou: float
    window: Window
    stages: Mapping[str, float] = field(default_factory=dict)


def show(view: View, prompt: Prompt, output: DecoderOutput, index: int, token: int, look: Look) -> Shown:
    """One of the decoder's masks as the user sees it.

    Args:
        prompt: its clicks in pixels of the whole image; its mask is the view's, None to show the decoder's answer
            whatever was shown before.
        index: which of the prompts of the output.
        token: which of its four masks.
    """
    logits, mask, stages = view.shown(output.low_res_logits[index, token], prompt, look)
    return Shown(mask, logits, float(output.ious[index, token]), view.window, stages)


def moved(question: Question, last: Step, look: Look) -> Shown | None:
    """What is shown for a click that only moves the last mask's border, bit for bit as ``show`` has it.

    Returns:
        None where the decoder has to be asked.
    """
    view, logits = question.view, question.prompt.mask_logits
    if logits is None or not look.obey or not view.keeps_last(question.prompt):
        return None
    logits, mask, stages = view.shown(logits, question.prompt, look)
    return Shown(mask, logits, last.iou, view.window, stages)
