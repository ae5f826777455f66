"""One run of the serving decoder, timed, and what is shown of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from livesam.engine.session.question import Shown, moved, show
from livesam.engine.values.packed_masks import unpack_each
from livesam.engine.values.result import MaskResult
from livesam.engine.view.points import check_prompt, geometry_of
from livesam.engine.view.selection import select_token

if TYPE_CHECKING:
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.question import Question
    from livesam.engine.values.packed_masks import PackedMasks
    from livesam.engine.values.prompt import Click, Prompt
    from livesam.engine.values.protocols import Painter
    from livesam.engine.values.result import DecoderOutput
    from livesam.engine.values.step import Step
    from livesam.engine.view.look import Look
    from livesam.engine.view.selection import Rule
    from livesam.engine.view.view import Pixels, View


NOT_ASKED: Mapping[str, float] = {"wait": 0.0, "decode": 0.0}  # stages of an answer that needed no decoder


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Which version of the decoder answered, and how many milliseconds that waited and took."""

    version: int
    stages: Mapping[str, float]
    image: Pixels | None  # of the view

    def result(self, shown: Shown, prompt: Prompt, started: float, before: Mapping[str, float] = {}) -> MaskResult:
        """One of its masks as an answer to a prompt; ``started`` is when the user asked, by ``time.perf_counter``."""
        timings = {**before, **self.stages, **shown.stages, "total": (time.perf_counter() - started) * 1e3}
        return MaskResult(
            shown.mask, shown.low_res_logits, shown.iou, self.version, shown.window, timings, prompt, self.image
        )


def decode(slot: DecoderSlot, view: View, prompts: Sequence[Prompt]) -> tuple[DecoderOutput, Decoded]:
    """All four masks for prompts in the view's pixels, all with one version of the decoder.

    Raises:
        SessionError: the slot is closed.
        ValueError: there is no prompt, or one does not belong to this view.
    """
    _check(view, prompts)
    asked = time.perf_counter()
    with slot.lease() as lease:
        leased = time.perf_counter()
        output, version = lease.decoder.decode(view.embedding, prompts), lease.version
    return output, _decoded(view, version, asked, leased)


def next_step(
    slot: DecoderSlot, question: Question, steps: Sequence[Step], look: Look, rule: Rule
) -> tuple[Shown, Decoded]:
    """What is shown for a question about an object that had these steps; asks the decoder only where it has to.

    Errors as ``decode``.
    """
    if question.corrects:
        last = steps[-1]
        return moved(question, last, look), Decoded(last.decoder_version, NOT_ASKED, question.view.pixels)
    (shown,), decoded = answer(slot, question.view, [(question.prompt, question.seen)], look, rule)
    return shown, decoded


def answer(
    slot: DecoderSlot, view: View, asked_for: Sequence[tuple[Prompt, Prompt]], look: Look, rule: Rule = "official"
) -> tuple[list[Shown], Decoded]:
    """The mask that is shown for each prompt, all with one version of the decoder. Errors as ``decode``.

    Drawn on the decoder's device where that can, and on the host else.

    Args:
        asked_for: each prompt in pixels of the whole image, and as the decoder gets it.
    """
    seen = [prompt for _, prompt in asked_for]
    clicks = [prompt.clicks for prompt, _ in asked_for]
    _check(view, seen)
    asked = time.perf_counter()
    with slot.lease() as lease:
        leased, version, painter = time.perf_counter(), lease.version, lease.decoder.painter
        if painter is not None:
            drawn = not view.draws_to_edges(look)
            masks = painter.decode_masks(view.embedding, seen, rule, draw=drawn)
            decoded = _decoded(view, version, asked, leased)
            return _painted(painter, view, masks, clicks, look), decoded
        output = lease.decoder.decode(view.embedding, seen)
    decoded = _decoded(view, version, asked, leased)
    tokens = [select_token(output.ious[i], prompt, rule) for i, prompt in enumerate(seen)]
    return [show(view, clicks[i], output, i, token, look) for i, token in enumerate(tokens)], decoded


def _painted(
    painter: Painter, view: View, masks: PackedMasks, clicks: Sequence[Sequence[Click]], look: Look
) -> list[Shown]:
    """Answers that the decoder's device draws; once more, for two small copies, where their logits were corrected."""
    decoded = [np.array(logits) for logits in masks.low_res_logits]  # a view would keep those of all prompts alive
    corrected = [view.corrected(logits, clicks[i], look) for i, logits in enumerate(decoded)]
    begun = time.perf_counter()
    packed = dict(enumerate(masks.packed))
    changed = [i for i, (logits, _) in enumerate(corrected) if logits is not decoded[i] or packed[i].size == 0]
    if changed:
        drawn = painter.draw(np.stack([corrected[i][0] for i in changed]), geometry_of(view.embedding))
        packed |= dict(zip(changed, drawn, strict=True))
    unpacked = unpack_each([packed[i] for i in range(len(corrected))], view.window.hw)
    found = [view.placed(mask) for mask in unpacked]
    drawing = {"postprocess": (time.perf_counter() - begun) * 1e3}
    return [
        Shown(mask, logits, float(masks.ious[i]), view.window, {**stages, **drawing})
        for i, (mask, (logits, stages)) in enumerate(zip(found, corrected, strict=True))
    ]


def _check(view: View, prompts: Sequence[Prompt]) -> None:
    for prompt in prompts:
        check_prompt(prompt, view.embedding.original_hw, view.low_res_hw)


def _decoded(view: View, version: int, asked: float, leased: float) -> Decoded:
    stages = {"wait": (leased - asked) * 1e3, "decode": (time.perf_counter() - leased) * 1e3}
    return Decoded(version, stages, view.pixels)
