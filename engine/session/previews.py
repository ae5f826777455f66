"""Questions about the image that is set, which leave the session as it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from livesam.engine.session.decoding import decode
from livesam.engine.session.dialogue import Dialogue, show
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.values.result import MaskResult
from livesam.engine.view.look import PLAIN
from livesam.engine.view.points import fitted
from livesam.engine.view.selection import Rule, select_token

if TYPE_CHECKING:
    from livesam.engine.serving.right_of_way import RightOfWay
    from livesam.engine.serving.slot import DecoderSlot


class Previews:
    """What ``Session`` can be asked without changing it, also while a click is being answered: it takes no lock."""

    def __init__(self, slot: DecoderSlot, right_of_way: RightOfWay, dialogue: Dialogue) -> None:
        self.slot, self.right_of_way, self._dialogue = slot, right_of_way, dialogue

    def preview(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """The answer to a first click here, without making it part of the session: what a hovering mouse shows.

        Raises:
            SessionError: no image is set.
            ValueError: the click is outside of the image, or not finite.
        """
        return self.predict(Prompt((Click(x, y, positive),)))

    def predict(self, prompt: Prompt, rule: Rule = "official") -> MaskResult:
        """Answer a prompt without making it part of the session (a hover preview, a script).

        Raises:
            SessionError: no image is set.
            ValueError: the prompt does not belong to this image, or there is no such rule.
        """
        return self.predict_many([prompt], rule)[0]

    def predict_many(self, prompts: Sequence[Prompt], rule: Rule = "official") -> list[MaskResult]:
        """Answer several prompts on the image with one decoder version, one mask each; ``decode`` is their common time.

        Raises:
            SessionError: no image is set.
            ValueError: there is no prompt, one does not belong to this image, or there is no such rule.
        """
        started, view, look = time.perf_counter(), self._dialogue.whole, self._dialogue.look
        prompts = [fitted(prompt, view.hw) for prompt in prompts]
        with self.right_of_way.click():
            decoded = decode(self.slot, view, prompts)
            tokens = [select_token(decoded.output.ious[i], prompt, rule) for i, prompt in enumerate(prompts)]
            return [
                decoded.result(show(view, prompt.clicks, decoded.output, i, tokens[i], look), prompt, started)
                for i, prompt in enumerate(prompts)
            ]

    def predict_all(self, prompt: Prompt) -> tuple[MaskResult, ...]:
        """The decoder's own four masks for a prompt: token 0, then 1 to 3 (SamPredictor's ``multimask_output=True``).

        Raises:
            SessionError: no image is set.
            ValueError: the prompt does not belong to this image.
        """
        started, view = time.perf_counter(), self._dialogue.whole
        prompt = fitted(prompt, view.hw)
        with self.right_of_way.click():
            decoded = decode(self.slot, view, [prompt])
            shown = [show(view, (), decoded.output, 0, token, PLAIN) for token in range(4)]
            return tuple(decoded.result(one, prompt, started) for one in shown)
