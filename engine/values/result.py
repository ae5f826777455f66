"""An answer to a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from livesam.engine.values.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """What a decoder says about P prompts on one image: token 0 is the single mask, tokens 1 to 3 the multi-mask ones.

    Attributes:
        low_res_logits: float32 ``(P, 4, 4h, 4w)``; above 0 is object.
        ious: float32 ``(P, 4)``, the decoder's own estimate of each mask's IoU.
    """

    low_res_logits: npt.NDArray[np.float32]
    ious: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class MaskResult:
    """One mask at the original size, with the decoder that gave it and where its time went.

    Attributes:
        mask: bool ``(H, W)`` of the original image.
        low_res_logits: float32 ``(4h, 4w)``, to feed back as the next prompt's ``mask_logits``, where the window is the
            whole image; a session that zooms carries them over by itself.
        iou: the decoder's own estimate of this mask's IoU.
        decoder_version: the decoder slot's version that answered.
        window: the part of the image that the decoder looked at, and that ``low_res_logits`` are of.
        timings_ms: milliseconds by stage: ``wait``, ``decode``, ``postprocess``, ``total``; ``zoom``, ``obey`` and
            ``edges`` where asked for.
    """

    mask: npt.NDArray[np.bool_]
    low_res_logits: npt.NDArray[np.float32]
    iou: float
    decoder_version: int
    window: Window
    timings_ms: Mapping[str, float] = field(default_factory=dict)
