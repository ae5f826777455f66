"""From a finished object to lessons: the user's own prompts, and clicks that are made up on the mask.

Lessons are given where clicks happen: on the whole image and in the windows that zoom chose, after one click and after
several, with the mask fed back and corrected as a session does it. An accepted mask counts fully. One that the user
gave up, or took as rough, is known where the decoder was sure of it and where the user clicked, and counts less.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.labels import MaskLabel, banded_label, cells, click_labels
from livesam.adapter.method import StepReport
from livesam.adapter.methods.replay import Example, Label, Lesson
from livesam.adapter.simulated_clicks import simulate_click
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.models.mask_decoder import Trunk
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.points import geometry_of, point_count
from livesam.engine.view.selection import select_token
from livesam.engine.view.view import View

Mask = npt.NDArray[np.bool_]

OWN = 6  # of the user's prompts in a view, beside the first: of twenty most teach the same
MOST_VIEWS = 3  # the whole image, and the windows of the last answers
KNOWN = 0.25  # a cell with less weight is nothing that a simulated user would correct
PREPARED = StepReport("lesson", 0.0, False)


class LessonConfig(Protocol):
    """The numbers of ``LiveConfig`` that lessons use."""

    @property
    def obey(self) -> bool: ...
    @property
    def sequences(self) -> int: ...
    @property
    def rounds(self) -> int: ...
    @property
    def zoomed(self) -> bool: ...
    @property
    def kept(self) -> int: ...
    @property
    def given_up(self) -> float: ...
    @property
    def border(self) -> float: ...


class Lessons:
    """Makes lessons with the decoder that serves.

    Args:
        decoder: answers the simulated clicks; its early layers are the base's.
    """

    def __init__(self, decoding: Decoding, decoder: FlatDecoder, config: LessonConfig) -> None:
        self._decoding, self._decoder, self._config = decoding, decoder, config

    def prepare(
        self, interaction: Interaction, rng: np.random.Generator
    ) -> Generator[StepReport, None, Example | None]:
        """Lessons on an object that is over, in micro-steps of one prompt each.

        Returns:
            None where nothing can be learned: the mask is empty, full, or too thin.
        """
        views, steps = _looked_at(interaction)
        mask, sure = _believed(interaction, views, steps)
        trust = 1.0 if sure is None else self._config.given_up
        labels = [self._label(mask, sure, view, steps[-1].prompt.clicks) for view in views]
        if labels[0] is None or trust == 0:
            return None
        first: list[Lesson] = []
        later: list[Lesson] = []
        for view, label in zip(views, labels, strict=True):
            if label is None or not (self._config.zoomed or view.is_whole):
                continue
            own = [step.prompt for step in steps if step.window == view.window]
            for index in sorted({0, *rng.permutation(len(own))[:OWN].tolist()}) if own else ():
                lesson = self._lesson(view, view.inside(own[index]), label, trust)[0]
                (first if lesson.first else later).append(lesson)
                yield PREPARED
            for _ in range(self._sequences(view, len(views))):
                for lesson in self._simulated(view, label, trust, rng):
                    (first if lesson.first else later).append(lesson)
                    yield PREPARED
        if not (first or later):
            return None
        kept = rng.permutation(len(later))[: self._config.kept]  # in any order: some are dropped from the end later on
        return Example(tuple(first[i] for i in rng.permutation(len(first))), tuple(later[i] for i in kept))

    def _sequences(self, view: View, views: int) -> int:
        count = self._config.sequences
        return count if view.is_whole else max(1, count // (views - 1))

    def _simulated(self, view: View, label: Label, trust: float, rng: np.random.Generator) -> Iterator[Lesson]:
        """A sequence of clicks on one view, as a session would answer them."""
        target, known = label.target.cpu().numpy() > 0.5, label.weight.cpu().numpy() >= KNOWN
        shown = np.zeros_like(target)
        logits: npt.NDArray[np.float32] | None = None
        clicks: tuple[Click, ...] = ()
        for _ in range(self._config.rounds):
            click = _click(rng, target, shown, view)
            if click is None:
                return
            clicks = (*clicks, click)
            prompt = Prompt(clicks, mask_logits=logits)
            lesson, reached = self._lesson(view, prompt, label, trust)
            yield lesson
            logits = self._answer(view, prompt, reached)
            shown = np.where(known, logits > 0, target)

    @torch.no_grad()
    def _answer(self, view: View, prompt: Prompt, reached: Trunk) -> npt.NDArray[np.float32]:
        """The low-res logits that would be shown."""
        height, width = view.embedding.features.shape[2:]
        masks, ious = self._decoding.finish(self._decoder, reached, (int(height), int(width)))
        logits = masks[0, select_token(ious[0].cpu().numpy(), prompt)].cpu().numpy()
        if not self._config.obey:
            return np.array(logits)
        window = view.window
        placed = tuple(Click(click.x + window.x0, click.y + window.y0, click.positive) for click in prompt.clicks)
        last = prompt.mask_logits
        if last is not None and view.keeps_last(Prompt(placed, mask_logits=last)):
            logits = last
        return np.array(view.obeyed(logits, placed))

    def _lesson(self, view: View, prompt: Prompt, label: Label, trust: float) -> tuple[Lesson, Trunk]:
        """A lesson on a prompt in the view's pixels, and what the early layers made of that."""
        reached = self._decoding.two_way(self._decoder, view.embedding, prompt)
        places = click_labels(prompt.clicks, geometry_of(view.embedding))
        device = self._decoding.device
        lesson = Lesson(
            reached.queries[0].half(),
            reached.image[0].half(),
            label,
            torch.from_numpy(places.xy).to(device),
            torch.from_numpy(places.target).to(device),
            point_count(prompt) <= 2,
            trust,
        )
        return lesson, reached

    def _label(
        self, mask: Mask, sure: npt.NDArray[np.float32] | None, view: View, clicks: Sequence[Click]
    ) -> Label | None:
        """The part of the mask that the view shows; None where that is empty or full."""
        geometry, part = geometry_of(view.embedding), view.window.part
        label = banded_label(np.ascontiguousarray(mask[part]), geometry, self._config.border)
        if label is None:
            return None
        if sure is not None:
            label = MaskLabel(label.target, label.weight * cells(np.ascontiguousarray(sure[part]), geometry))
            _pin(label, view.window.clicks(clicks), geometry)
        device = self._decoding.device
        return Label(torch.from_numpy(label.target).to(device), torch.from_numpy(label.weight).to(device))


def _looked_at(interaction: Interaction) -> tuple[tuple[View, ...], tuple[Step, ...]]:
    """Where and how an object was answered; of one that tells only prompts, on the whole image."""
    if interaction.views and interaction.steps:
        views = interaction.views
        return (views[0], *views[1:][1 - MOST_VIEWS :]), interaction.steps
    view = View.whole(interaction.embedding, None)
    return (view,), tuple(Step(prompt, interaction.answer, 0.0, 0, view.window) for prompt in interaction.prompts)


def _believed(
    interaction: Interaction, views: Sequence[View], steps: Sequence[Step]
) -> tuple[Mask, npt.NDArray[np.float32] | None]:
    """The object's mask, and how sure each pixel is in 0..1; None where the user has vouched for all of it."""
    if interaction.accepted_mask is not None and not interaction.rough:
        return interaction.accepted_mask, None
    last, whole = steps[-1], views[0]
    logits = postprocess(last.low_res_logits, ResizeGeometry.of(last.window.hw, whole.image_size))
    sure = np.ones(whole.hw, np.float32)
    sure[last.window.part] = np.abs(np.tanh(logits / 2))  # |2 sigmoid - 1|
    if interaction.accepted_mask is not None:
        return interaction.accepted_mask, sure
    mask = np.zeros(whole.hw, np.bool_)
    mask[last.window.part] = logits > 0
    return mask, sure


def _pin(label: MaskLabel, clicks: Sequence[Click], geometry: ResizeGeometry) -> None:
    """Where the user clicked is certain: in place."""
    side = label.target.shape[0]
    places = click_labels(clicks, geometry)
    for (x, y), positive in zip(places.xy, places.target, strict=True):
        row, column = (min(int((place + 1) / 2 * side), side - 1) for place in (y, x))
        label.target[row, column], label.weight[row, column] = positive, 1.0


def _click(rng: np.random.Generator, target: Mask, shown: Mask, view: View) -> Click | None:
    """The next simulated click, in the view's pixels; None where the object is too thin to be clicked on."""
    geometry = geometry_of(view.embedding)
    height, width = (-(-side // 4) for side in geometry.resized_hw)
    x, y, kind = simulate_click(rng, target, shown, (height, width))
    if kind < 0:
        return None
    across, down = geometry.factors_xy
    rows, columns = view.window.hw
    return Click(float(min(int(x * 4 / across), columns - 1)), float(min(int(y * 4 / down), rows - 1)), kind == 1)
