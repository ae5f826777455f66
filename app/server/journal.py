"""How an object came about, as JSON: enough for a replay to give the same masks."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, astuple
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.step import Step
from livesam.engine.view.look import Look
from livesam.wire import bits_of, mask_of

DRAWING = 2  # how answers are drawn; another number where one answer gives another mask than before. 1 had no borders


def journal(interaction: Interaction, digest: str, look: Look, runtime: str, batch: int = 1) -> dict[str, Any]:
    """The log of an object that was accepted.

    Args:
        interaction: with all of its steps.
        digest: the image's hash.
        look: how its answers were looked for and drawn.
        runtime: what answered.
        batch: of the encoder; one for several images rounds otherwise than one for one.
    """
    return {
        "image_hash": digest,
        "hw": list(interaction.embedding.original_hw),
        "domain": interaction.domain,
        "look": asdict(look),
        "drawing": DRAWING,
        "runtime": runtime,
        "batch": batch,
        "steps": [_step(step) for step in interaction.steps],
    }


def answer_hash(logits: npt.NDArray[np.float32]) -> str:
    """A hash over every bit of an answer's logits."""
    return hashlib.sha256(np.ascontiguousarray(logits).tobytes()).hexdigest()


def clicks_of(interaction: Interaction) -> int:
    """Clicks and boxes that an object took; painting is none."""
    return sum(step.painted is None for step in interaction.steps)


def painted_of(step: Mapping[str, Any], hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask that a step of a log was painted with.

    Raises:
        ValueError: the log is damaged.
    """
    try:
        box, bits = step["painted"]["box"], zlib.decompress(base64.b64decode(step["painted"]["bits"], validate=True))
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"a painted mask cannot be read: {error}") from error
    return mask_of(box, bits, hw)


def _step(step: Step) -> dict[str, Any]:
    said: dict[str, Any] = {
        "clicks": [[click.x, click.y, click.positive] for click in step.prompt.clicks],
        "box": None if step.prompt.box is None else list(step.prompt.box.as_tuple()),
        "window": list(astuple(step.window)),
        "version": step.decoder_version,
        "token": step.token,
        "iou": step.iou,
        "fed_back": step.prompt.mask_logits is not None,
        "answer": answer_hash(step.low_res_logits),
    }
    if step.painted is not None:
        box, bits = bits_of(step.painted.mask())
        said["painted"] = {"box": box, "bits": base64.b64encode(zlib.compress(bits, 1)).decode()}
    return said
