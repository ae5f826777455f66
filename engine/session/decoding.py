"""One run of the serving decoder, timed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livesam.engine.values.result import DecoderOutput, MaskResult
from livesam.engine.view.points import check_prompt

if TYPE_CHECKING:
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.question import Shown
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.view.view import Pixels, View


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What the decoder said, which version of it, and how many milliseconds that waited and took."""

    output: DecoderOutput
    version: int
    stages: Mapping[str, float]
    image: Pixels | None  # of the view

    def result(self, shown: Shown, prompt: Prompt, started: float, before: Mapping[str, float] = {}) -> MaskResult:
        """One of its masks as an answer to a prompt; ``started`` is when the user asked, by ``time.perf_counter``."""
        timings = {**before, **self.stages, **shown.stages, "total": (time.perf_counter() - started) * 1e3}
        return MaskResult(
            shown.mask, shown.low_res_logits, shown.iou, self.version, shown.window, timings, prompt, self.image
        )


def decode(slot: DecoderSlot, view: View, prompts: Sequence[Prompt]) -> Decoded:
    """Answer prompts in the view's pixels, all with one version of the decoder.

    Raises:
        SessionError: the slot is closed.
        ValueError: there is no prompt, or one does not belong to this view.
    """
    for prompt in prompts:
        check_prompt(prompt, view.embedding.original_hw, view.low_res_hw)
    asked = time.perf_counter()
    with slot.lease() as lease:
        leased = time.perf_counter()
        output = lease.decoder.decode(view.embedding, prompts)
        version = lease.version
    decoded = time.perf_counter()
    stages = {"wait": (leased - asked) * 1e3, "decode": (decoded - leased) * 1e3}
    return Decoded(output, version, stages, view.pixels)
