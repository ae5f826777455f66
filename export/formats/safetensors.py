"""``safetensors``: livesam's own small file: the decoder alone, or its difference to the base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import file_sha256, weights_hash
from livesam.engine.models.adapted import load_adapted, write_adapted
from livesam.engine.values.errors import ParityError
from livesam.export.files.manifest import Manifest
from livesam.export.files.staging import staged

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource

Float = npt.NDArray[np.float32]


def export(source: DecoderSource, out: Path, *, difference: bool = False) -> Manifest:
    """Write the decoder's 120 tensors as float32 (16 MB), or what was learned as float16 (8 MB).

    The file names its base by hash; ``--adapted`` takes it back. Float32 weights come back bit for bit, a difference
    with float16's rounding of what was learned (0.05 %).

    Args:
        difference: write only what was learned.

    Raises:
        ExportError: the file could not be written.
        ParityError: what was read back is not what was written; nothing is left.
    """
    with staged(out) as target:
        kind, precision = ("difference", "float16") if difference else ("weights", "float32")
        write_adapted(
            target,
            source.weights,
            source.base,
            source.info,
            kind="difference" if difference else "weights",
            precision="float16" if difference else "float32",
        )
        found = load_adapted(target, source.base)
        wanted = {key: _as_stored(value, source.base[key], difference) for key, value in source.weights.items()}
        if weights_hash(found) != weights_hash(wanted):
            raise ParityError(f"{out.name} does not read back as it was written; nothing was kept")
        claim = f"{len(found)} tensors were read back from the file bit for bit; no prompt was run"
        if difference:
            off = max(float(np.abs(found[key] - value).max()) for key, value in source.weights.items())
            claim = (
                f"{len(found)} tensors were read back as base + float16 difference, which is off the float32 weights "
                f"by up to {off:.1e}; no prompt was run"
            )
        manifest = source.manifest(
            "safetensors",
            files={out.name: file_sha256(target)},
            inputs={},
            outputs={},
            parity={
                "claim": claim,
                "against": "the weights in memory",
                "checker": "livesam",
                "prompts": [],
            },
            precision="fp16" if difference else "fp32",
            options={"kind": kind, "stored_as": precision, "tensors": len(source.weights)},
        )
        manifest.write(target)
    return manifest


def _as_stored(value: Float, base: Float, difference: bool) -> Float:
    """What a reader must get back."""
    if not difference:
        return np.asarray(value, np.float32)
    learned = (np.asarray(value, np.float32) - base).astype(np.float16)
    return np.asarray(base + learned.astype(np.float32), np.float32)
