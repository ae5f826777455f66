"""A prompt and its answer: what a session is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from livesam.engine.values.painted import Painted
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A prompt and its answer.

    Attributes:
        prompt: clicks and box in pixels of the whole image; the fed-back mask is the window's.
        low_res_logits: the answer's logits, float32 ``(4h, 4w)`` of the window.
        iou: the decoder's own estimate.
        decoder_version: the version that answered.
        window: the part of the image that the decoder looked at.
        token: which of the decoder's masks the user chose; None where the rule did.
        painted: the mask as the user painted it; None where the logits say it.
    """

    prompt: Prompt
    low_res_logits: npt.NDArray[np.float32]
    iou: float
    decoder_version: int
    window: Window
    token: int | None = None
    painted: Painted | None = None
