"""Which of the decoder's four masks is the answer."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.points import point_count

# "official": the official single-mask ONNX decoder's rule. "single": token 0, SamPredictor's multimask_output=False.
# "multi": the best of tokens 1 to 3 by predicted IoU, the best of SamPredictor's multimask_output=True.
Rule: TypeAlias = Literal["official", "single", "multi"]

SINGLE_TOKEN = 0


def select_token(ious: npt.NDArray[np.float32], prompt: Prompt, rule: Rule = "official") -> int:
    """The token, 0 to 3, whose mask answers ``prompt``.

    ``official`` is ``segment_anything.utils.onnx.SamOnnxModel.select_masks``: token 0 from three points on, counting
    box corners and the padding point, else the best of tokens 1 to 3. So a first click and a lone box, which may mean
    a part or the whole, get the best of three; everything later gets the mask for unambiguous prompts.

    Args:
        ious: float32 ``(4,)``, the predicted IoU of each token.

    Raises:
        ValueError: there is no such rule, or there are not four predictions.
    """
    if ious.shape != (4,):
        raise ValueError(f"the decoder predicts four IoUs, got shape {ious.shape}")
    return 1 + int(np.argmax(ious[1:])) if chooses_best(prompt, rule) else SINGLE_TOKEN


def chooses_best(prompt: Prompt, rule: Rule) -> bool:
    """Whether the best of tokens 1 to 3 answers ``prompt``; else token 0 does.

    Raises:
        ValueError: there is no such rule.
    """
    if rule not in ("official", "single", "multi"):
        raise ValueError(f"unknown rule {rule!r}: choose official, single or multi")
    return rule == "multi" or (rule == "official" and point_count(prompt) <= 2)
