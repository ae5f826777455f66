"""Several people's adapted decoders of one base, made into one: task arithmetic (Ilharco et al., arXiv 2212.04089).

``merged = base + factor * sum(adapted_i - base)``, or with the mean in the sum's place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import file_sha256
from livesam.engine.models.adapted import AdaptedDecoder, read_adapted, write_adapted
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError, ExportError

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights

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
        What the new file says of itself. Factor, way and sources are in its settings, each source with its own counts
        and metrics. It has no metrics itself: nothing has been measured on the merged weights. Its counts are those of
        all learning that went into it, each counted once: the same decoder given twice, in another precision, or
        inside of an earlier merge adds nothing.

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
    resolved = [decoder.resolve(base) for decoder in read]
    weights = merge_weights(resolved, base, how=how, factor=factor)
    sizes = {decoder.info.image_size for decoder in read}
    names = list(dict.fromkeys(decoder.info.domain for decoder in read))
    sources = [_source(path, decoder) for path, decoder in zip(files, read, strict=True)]
    for i, source in enumerate(sources):  # two people may say the same of different weights
        twins = [j for j in range(i) if sources[j]["learning"] == source["learning"]]
        if twins and not any(_same_weights(resolved[i], resolved[j], base) for j in twins):
            source["learning"] = source["sha256"]
    counts: dict[str, int] = {}
    for learning in _learnings(sources):
        for name, value in learning["counts"].items():
            counts[name] = counts.get(name, 0) + value
    info = AdaptedInfo(
        model=read[0].info.model,
        method="merge",
        domain="+".join(names)[:200],
        settings={
            "how": how,
            "factor": float(factor),
            "sources": sources,
        },
        counts=counts,
        image_size=sizes.pop() if len(sizes) == 1 else None,
    )
    try:
        write_adapted(out, weights, base, info, precision="float32")  # float16 would round what was rounded before
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error
    return info


def _source(path: Path, decoder: AdaptedDecoder) -> dict[str, Any]:
    """What a merged file says of one of its parents; a parent that was merged itself brings its own."""
    info = decoder.info
    told: dict[str, Any] = {
        "file": path.name,
        "sha256": file_sha256(path),
        "method": info.method,
        "domain": info.domain,
        "counts": dict(info.counts),
        "metrics": dict(info.metrics),
        "learning": _fingerprint(info),
    }
    if info.method == "merge" and isinstance(info.settings.get("sources"), list):
        told["sources"] = info.settings["sources"]
    return told


def _fingerprint(info: AdaptedInfo) -> str:
    """The same for all files of one learning: they differ in precision and date, not in what they say was learned."""
    said = [info.model, info.method, info.domain, *map(dict, (info.settings, info.counts, info.metrics, info.versions))]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _same_weights(one: DecoderWeights, other: DecoderWeights, base: DecoderWeights) -> bool:
    """Whether two decoders learned the same, up to float16's rounding of it."""
    apart = sum(float(np.square(one[key] - other[key]).sum()) for key in base)
    learned = sum(float(np.square(one[key] - base[key]).sum()) for key in base)
    return apart <= 1e-4 * learned  # a hundredth of the way


def _learnings(sources: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The learning from objects below these sources, through merges of merges, each once.

    Raises:
        CheckpointError: a merged parent does not say where it comes from.
    """
    found: dict[str, Mapping[str, Any]] = {}
    open_ones = list(sources)
    while open_ones:
        source = open_ones.pop(0)
        try:
            if "sources" in source:
                open_ones += source["sources"]
            else:
                found.setdefault(str(source["learning"]), {"counts": {k: int(v) for k, v in source["counts"].items()}})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError("a merged decoder does not say what it was made of: merge its parents") from error
    return list(found.values())
