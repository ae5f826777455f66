"""A look at weights: checkpoints, parts of one, adapted decoders. Runs in ``inspect_child``'s process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.models.contents import PARTS
from livesam.engine.models.weight_files import HF_INDEX
from livesam.export.foreign.findings import digest_of, manifest_beside, origin_of
from livesam.export.foreign.inspect import Inspection

if TYPE_CHECKING:
    from livesam.engine.models.contents import Contents

_FLOATS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp64"}
_FLOATS |= {"torch.float32": "fp32", "torch.float16": "fp16", "torch.bfloat16": "bf16", "torch.float64": "fp64"}


def torch_file(path: Path, size: int) -> Inspection:
    """A PyTorch archive."""
    from livesam.engine.models.checkpoints import read_contents

    return weights_of(path, size, read_contents(path))


def safetensors_file(path: Path, size: int) -> Inspection:
    """A safetensors file: weights, or an adapted decoder."""
    from livesam.engine.models.adapted import FORMAT
    from livesam.engine.models.checkpoints import read_header, read_metadata

    if read_metadata(path).get("format") == FORMAT:
        return _adapted(path, size)
    return weights_of(path, size, read_header(path))


def _adapted(path: Path, size: int) -> Inspection:
    from livesam.engine.models.adapted import read_adapted

    decoder = read_adapted(path)
    info = decoder.info
    precision = "fp16" if next(iter(decoder.tensors.values())).dtype == "float16" else "fp32"
    what = "its difference to the base" if decoder.kind == "difference" else "all of its weights"
    return Inspection(
        path=str(path),
        kind="adapted decoder",
        summary=f"mask decoder of {info.model}, adapted by {info.method} on {info.domain!r}; the file holds {what}",
        model=info.model,
        size_bytes=size,
        sha256=digest_of(path),
        precision=precision,
        base_sha256=decoder.base_sha256,
        method=info.method,
        learned={"domain": info.domain, **info.counts},
        metrics=dict(info.metrics),
        details={
            "stored": decoder.kind,
            "learned at px": info.image_size,
            "settings": dict(info.settings),
            "versions": dict(info.versions),
            "livesam": decoder.livesam,
            "saved_at": decoder.saved_at,
            "tensors": len(decoder.tensors),
        },
    )


def weights_of(path: Path, size: int, contents: Contents[Any]) -> Inspection:
    """A checkpoint, or a part of one."""
    from livesam.engine.models.checkpoints import identify
    from livesam.engine.models.download import OFFICIAL_FILES

    manifest, warnings = manifest_beside(path) if path.is_file() else ({}, [])
    found = identify({key: tuple(value.shape) for key, value in contents.tensors.items()})
    digest = digest_of(path if path.is_file() else path / HF_INDEX)
    official = next((name for name, file in OFFICIAL_FILES.items() if file.sha256 == digest), None)
    lacking = [part for part in PARTS if part not in contents.parts]
    known = found if found in {"nano", "vit_t", "vit_b", "vit_l", "vit_h"} else None
    what = f"full checkpoint of {known}" if known and not lacking else found or "weights of a SAM of no known size"
    if known and lacking:
        what = f"{known} without its {' and '.join(part.replace('_', ' ') for part in lacking)}"
    if found is not None and found.startswith("a mask decoder") and "prompt_encoder" in contents.parts:
        what = "a mask decoder and its prompt encoder, without the image encoder"
    summary = f"{what}, {len(contents.tensors)} tensors by {contents.layout}"
    types = {_FLOATS.get(str(value.dtype), str(value.dtype)) for value in contents.tensors.values()}
    return Inspection(
        path=str(path),
        kind="checkpoint" if "image_encoder" in contents.parts else "mask decoder",
        summary=summary + ("; the official file, bit for bit" if official else ""),
        model=known,
        size_bytes=size,
        sha256=digest,
        precision="/".join(sorted(types & set(_FLOATS.values()))) or "/".join(sorted(types)),
        details={"tensors": len(contents.tensors), "layout": contents.layout, "official": bool(official)},
        warnings=(*contents.notes, *_misfit(contents, known), *warnings),
        **origin_of(manifest),
    )


def _misfit(contents: Contents[Any], known: str | None) -> list[str]:
    """Why no command would open the file, although it looks like this model's."""
    from livesam.engine.models.checkpoints import misfit
    from livesam.engine.models.loading import state_shapes

    alone = "image_encoder" not in contents.parts
    if known is None and not alone:
        return []
    shapes = state_shapes(known or "nano")  # all models have the same decoder
    wanted = {key: shape for key, shape in shapes.items() if not alone or key.partition(".")[0] in contents.parts}
    wrong = misfit(contents, wanted)
    other = [key for key, shape in wanted.items() if key in contents.tensors and contents.tensors[key].shape != shape]
    if not wrong and other:
        wrong = f"{len(other)} tensors of another shape, {other[0]} among them"
    return [f"it does not fit {known or 'any model'}, so it cannot be opened or imported: {wrong}"] if wrong else []
