"""Whether a device answers as float32 on the CPU does, on real photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.benchmarks.gpu.model_bench import ModelBench, photo
from livesam.engine.files.sample_photos import SAMPLE_PHOTOS
from livesam.engine.values.prompt import Click, Prompt

if TYPE_CHECKING:
    from livesam.engine.session.session import Session

PLACES = ((0.5, 0.5), (0.35, 0.6), (0.6, 0.4))  # of the clicks, as shares of width and height


def parity(bench: ModelBench) -> dict[str, Any]:
    """Embeddings and masks against PyTorch in float32 on the CPU.

    ``embedding_error`` is the norm of the difference over that of the reference, the worst photo. ``mask_iou`` is over
    all four masks of three clicks a photo, ``shown_iou`` over the one that a user sees. With random weights masks lie
    around their threshold and their IoU says nothing; the embedding's error does.
    """
    from livesam.export.opening import open_session

    names = SAMPLE_PHOTOS[:1] if bench.quick else SAMPLE_PHOTOS if bench.model == "nano" else SAMPLE_PHOTOS[:2]
    errors, ious, shown = [], [], []
    reference = open_session(bench.opening(precision="fp32", device="cpu"))
    try:
        for name in names:
            image = photo(name)
            ours, right = (one.set_image(image).numpy() for one in (bench.session, reference))
            errors.append(float(np.linalg.norm(ours - right) / np.linalg.norm(right)))
            for place in PLACES:
                one, other = (_masks(session, image.shape[:2], place) for session in (bench.session, reference))
                ious += [mask_iou(a, b) for a, b in zip(one[1:], other[1:], strict=True)]
                shown.append(mask_iou(one[0], other[0]))
    finally:
        reference.close()
    return {
        "runtime": bench.session.runtime,
        "photos": len(names),
        "weights": "trained" if bench.model == "nano" else "random",
        "embedding_error": round(max(errors), 6),
        "mask_iou": _summary(ious),
        "shown_iou": _summary(shown),
    }


def _masks(session: Session, hw: tuple[int, ...], place: tuple[float, float]) -> list[npt.NDArray[np.bool_]]:
    """The mask that is shown for a click, then all four."""
    prompt = Prompt((Click(place[0] * hw[1], place[1] * hw[0]),))
    return [session.predict(prompt).mask, *(result.mask for result in session.predict_all(prompt))]


def _summary(ious: list[float]) -> dict[str, float]:
    values = np.array(ious)
    return {
        "mean": round(float(values.mean()), 5),
        "min": round(float(values.min()), 5),
        "share_from_0.99": round(float((values >= 0.99).mean()), 4),
    }


def mask_iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 1.0
