"""Several people's adapted decoders of one base, made into one: task arithmetic (Ilharco et al., arXiv 2212.04089).

``merged = base + factor * sum(adapted_i - base)``, or with the mean in the sum's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from livesam.engine.adapted import AdaptedInfo, read_adapted, write_adapted
from livesam.engine.errors import CheckpointError, ExportError
from livesam.engine.hashing import file_sha256

if TYPE_CHECKING:
    from livesam.engine.protocols import DecoderWeights

How = Literal["mean", "sum"]


def merge_weights(
    decoders: Sequence[DecoderWeights], base: DecoderWeights, *, how: How = "mean", factor: float = 1.0
) -> dict[str, npt.NDArray[np.float32]]:
    """``base + factor * sum`` (or ``mean``) of what each decoder learned, summed in float64.

    Raises:
        ValueError: there is no decoder, ``how`` is unknown, or the factor is not a finite number.
    """
    if how not in ("mean", "sum"):
        raise ValueError(f"differences are merged by mean or sum, got {how!r}")
    if not decoders:
        raise ValueError("there is nothing to merge: give at least one adapted decoder")
    if not np.isfinite(factor):
        raise ValueError(f"the factor must be a finite number, got {factor}")
    scale = factor / len(decoders) if how == "mean" else factor
    merged = {}
    for key, value in base.items():
        learned = np.zeros(value.shape, np.float64)
        for decoder in decoders:
            learned += np.asarray(decoder[key], np.float64) - value
        merged[key] = (value + scale * learned).astype(np.float32)
    return merged


def merge_adapted(
    paths: Sequence[Path], base: DecoderWeights, out: Path, *, how: How = "mean", factor: float = 1.0
) -> AdaptedInfo:
    """Merge adapted decoders' files into a new one, which is an adapted decoder like any other.

    Args:
        base: the decoder that all of them were adapted from; its hash must be theirs.
        how: ``mean`` keeps the step as long as one person's, ``sum`` adds all of them up.
        factor: times the mean or sum.

    Returns:
        What the new file says of itself; factor, way and sources are in its settings.

    Raises:
        ValueError: nothing to merge, or a bad factor.
        CheckpointError: a file is missing, damaged, of another model or of another base.
        ExportError: the merged file could not be written.
    """
    files = [Path(path) for path in paths]
    read = [read_adapted(path) for path in files]
    models = {decoder.info.model for decoder in read}
    if len(models) > 1:
        raise CheckpointError(f"these decoders belong to different models ({', '.join(sorted(models))}): merge one's")
    resolved = []
    for path, decoder in zip(files, read, strict=True):
        try:
            resolved.append(decoder.resolve(base))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
    weights = merge_weights(resolved, base, how=how, factor=factor)
    names = list(dict.fromkeys(decoder.info.domain for decoder in read))
    counts: dict[str, int] = {}
    for decoder in read:
        for name, value in decoder.info.counts.items():
            counts[name] = counts.get(name, 0) + value
    info = AdaptedInfo(
        model=read[0].info.model,
        method="merge",
        domain="+".join(names)[:200],
        settings={
            "how": how,
            "factor": float(factor),
            "sources": [
                {"file": path.name, "sha256": file_sha256(path), "method": d.info.method, "domain": d.info.domain}
                for path, d in zip(files, read, strict=True)
            ],
        },
        counts=counts,
    )
    try:
        write_adapted(out, weights, base, info, precision="float32")  # float16 would round what was rounded before
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error
    return info
