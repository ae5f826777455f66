"""A question to the decoder, and its answer as the user sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from livesam.engine.values.prompt import Click, Prompt
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
        corrects: the newest click only moves the fed-back mask's border, so the decoder need not be asked.
    """

    view: View
    prompt: Prompt
    corrects: bool = False

    @property
    def seen(self) -> Prompt:
        """The prompt as the decoder gets it, in pixels of the view."""
        return self.view.inside(self.prompt)

    @property
    def redrawn(self) -> Question:
        """Asked for the decoder's own mask, whatever the newest click is about."""
        return replace(self, corrects=False)


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


def show(view: View, clicks: Sequence[Click], output: DecoderOutput, index: int, token: int, look: Look) -> Shown:
    """One of the decoder's masks as the user sees it.

    Args:
        clicks: in pixels of the whole image.
        index: which of the prompts of the output.
        token: which of its four masks.
    """
    logits, mask, stages = view.shown(output.low_res_logits[index, token], clicks, look)
    return Shown(mask, logits, float(output.ious[index, token]), view.window, stages)


def corrects(view: View, prompt: Prompt, last: Step, look: Look) -> bool:
    """Whether the next answer is the last one with its border moved (``engine/view/border.py``).

    So it is for a new click where the last answer was the decoder's, or made of one in this way. A mask that the user
    painted is left to the decoder: what was clicked before may contradict it.

    Args:
        prompt: what the next answer is for, in pixels of the whole image; its mask is the view's.
    """
    new_click = len(prompt.clicks) > len(last.prompt.clicks) and prompt.box == last.prompt.box
    return look.obey and new_click and last.painted is None and view.keeps_last(prompt)


def moved(question: Question, last: Step, look: Look) -> Shown:
    """What is shown for a question that ``corrects`` the last step: its mask with the border moved."""
    view, logits = question.view, question.prompt.mask_logits
    if logits is None:
        raise ValueError("there is no mask to correct: ask the decoder")
    logits, mask, stages = view.shown_moved(logits, question.prompt.clicks, look)
    return Shown(mask, logits, last.iou, view.window, stages)
