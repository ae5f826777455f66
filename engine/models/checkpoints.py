"""Reading weights files that may come from anywhere: official ``.pth`` and ``.pt``, safetensors, Hugging Face folders.

Names, shapes, dtypes and values are checked before a model sees them; each fault is one sentence.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from livesam.engine.models.adapted import FORMAT as ADAPTED_FORMAT
from livesam.engine.models.contents import PARTS, Contents, find_weights
from livesam.engine.models.weight_files import MAX_HEADER_BYTES, weight_files
from livesam.engine.values.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

MAX_TENSORS = 4096  # vit_h has 594


class Entry(NamedTuple):
    """What a safetensors header says of a tensor."""

    shape: tuple[int, ...]
    dtype: str


_VIT_BY_WIDTH = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def read_checkpoint(
    path: Path, shapes: Mapping[str, tuple[int, ...]], name: str, *, skip: str | None = None
) -> dict[str, Tensor]:
    """The tensors of a weights file under SAM's official names, checked; float32 on the CPU, contiguous, all finite.

    Where in the file they are is ``engine/models/contents.py``'s rule. Large float32 tensors stay mapped from the file
    (private pages: writing to them does not change the file, and the file must not be changed in place while the model
    lives). The small prompt encoder and mask decoder are copied.

    Args:
        path: a ``.pth``/``.pt`` of ``torch.save``, a safetensors file, or a folder with Hugging Face's ``SamModel``.
        shapes: the names and shapes that the model needs, e.g. from ``models.state_shapes``.
        name: the model's name, for messages.
        skip: leave names that begin so unread.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or not one of this model.
    """
    contents = read_contents(path)
    _check_names(path, contents, shapes, name)
    wanted = {key: shape for key, shape in shapes.items() if skip is None or not key.startswith(skip)}
    return {key: _checked(path, key, contents.tensors.get(key), shape, name) for key, shape in wanted.items()}


def read_parts(
    path: Path, shapes: Mapping[str, tuple[int, ...]], name: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The same of a file that may hold a mask decoder alone, or with its prompt encoder; and which parts it holds.

    Raises:
        CheckpointError: as ``read_checkpoint``, or there is no mask decoder.
    """
    contents = read_contents(path)
    parts = contents.parts
    if "mask_decoder" not in parts:
        raise CheckpointError(f"{path} holds no mask decoder, only {' and '.join(parts).replace('_', ' ')}")
    if "image_encoder" in parts:
        parts = PARTS
    wanted = {key: shape for key, shape in shapes.items() if key.partition(".")[0] in parts}
    _check_names(path, contents, wanted, name)
    return {key: _checked(path, key, contents.tensors.get(key), shape, name) for key, shape in wanted.items()}, parts


def read_contents(path: Path) -> Contents[Tensor]:
    """What a weights file or folder holds of SAM; the tensors are not looked into yet.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, or holds nothing of SAM.
    """
    loaded: dict[Any, Any] = {}
    try:
        for file, kind in weight_files(path):
            loaded.update(_torch_entries(file) if kind == "torch" else _safetensors(file))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    return _found(path, loaded)


def read_header(path: Path) -> Contents[Entry]:
    """The same of safetensors without reading any tensor, nor importing torch.

    Raises:
        CheckpointError: as ``read_contents``.
    """
    entries: dict[str, Entry] = {}
    for file, _ in weight_files(path):
        _refuse_adapted(file)
        for key, entry in _header(file).items():
            if key != "__metadata__":
                entries[key] = Entry(tuple(entry["shape"]), str(entry["dtype"]))
    return _found(path, entries)


def read_metadata(path: Path) -> Mapping[str, Any]:
    """The metadata of a safetensors file, checked as its header is.

    Raises:
        CheckpointError: the file is truncated or damaged.
    """
    metadata = _header(path).get("__metadata__")
    return metadata if isinstance(metadata, dict) else {}


def check_file(path: Path, name: str) -> None:
    """All that can be found wrong with a weights file without importing torch, in milliseconds.

    Raises:
        CheckpointError: as ``read_checkpoint``, which finds more.
    """
    from livesam.engine.models.torch_file import check_torch_file

    try:
        kinds = {kind for _, kind in weight_files(path)}
        if "torch" in kinds:
            check_torch_file(path)
        else:
            _check_model(path, read_header(path), name)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def misfit(contents: Contents[Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Which names a file lacks or has too many for a model of these names and shapes; empty where it has them all."""
    missing = [key for key in shapes if key not in contents.tensors and not _is_counter(key)]
    unknown = [key for key in contents.tensors if key not in shapes]
    return f"{_count(missing)} missing and {_count(unknown)} unknown" if missing or unknown else ""


def identify(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What a flat state dict looks like: one of our model names, a description, or None where nothing tells."""
    names = shapes.keys()
    position = shapes.get("image_encoder.pos_embed")
    if any("hf_token" in name or "compress_vit_feat" in name for name in names):
        return "SAM-HQ"
    if any(name.startswith(("image_encoder.trunk.", "memory_encoder.", "memory_attention.")) for name in names):
        return "SAM 2"
    if position is not None and len(position) == 4:
        return _VIT_BY_WIDTH.get(position[-1])
    if "image_encoder.patch_embed.seq.0.c.weight" in names:
        return "vit_t"
    if any(name.startswith("image_encoder.lateral8.") for name in names):
        return "nano"
    decoder = "mask_decoder.iou_token.weight" in names or "iou_token.weight" in names
    if decoder and not any(name.startswith("image_encoder.") for name in names):
        return "a mask decoder without its image encoder"
    return None


def _torch_entries(path: Path) -> dict[Any, Any]:
    from livesam.engine.models.torch_file import load_torch_file

    loaded = load_torch_file(path)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors: save a state dict")
    return loaded


def _found(path: Path, loaded: Mapping[Any, Any]) -> Contents[Any]:
    try:
        contents = find_weights(loaded)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is no checkpoint of SAM: {error}") from error
    if contents is None:
        shown = ", ".join(repr(key) for key in list(loaded)[:3]) or "nothing at all"
        raise CheckpointError(
            f"{path} holds {shown}{', ...' if len(loaded) > 3 else ''}, but nowhere the tensors of a SAM: give a state "
            "dict with its names"
        )
    if len(contents.tensors) > MAX_TENSORS:
        raise CheckpointError(f"{path} has {len(contents.tensors)} tensors, a SAM checkpoint has at most {MAX_TENSORS}")
    return contents


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _refuse_adapted(path)
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}): get it again") from error
    return state


def _header(path: Path) -> dict[str, Any]:
    """The checked header of a safetensors file: by name of the tensor its ``dtype``, ``shape`` and place."""
    from safetensors import SafetensorError, safe_open

    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise CheckpointError(
                    f"{path} is truncated or not safetensors (its header claims {length} bytes): get it again"
                )
            header = json.loads(file.read(length))
        if not isinstance(header, dict) or len(header) > MAX_TENSORS + 1:
            raise CheckpointError(f"{path} has more entries than a SAM checkpoint: at most {MAX_TENSORS} are allowed")
        with safe_open(path, framework="numpy"):  # checks all of the header against the length of the file
            pass
    except (SafetensorError, struct.error, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}): get it again") from error
    return header


def _refuse_adapted(path: Path) -> None:
    if read_metadata(path).get("format") == ADAPTED_FORMAT:
        raise CheckpointError(f"{path} is an adapted decoder of livesam, no checkpoint: give it with --adapted")


def _check_model(path: Path, contents: Contents[Any], name: str) -> None:
    if "image_encoder" not in contents.parts and "mask_decoder" in contents.parts:
        prompt = " and its prompt encoder" if "prompt_encoder" in contents.parts else ""
        raise CheckpointError(
            f"{path} looks like a mask decoder{prompt} without its image encoder, and {name} needs all: "
            f"`livesam import --model {name}` makes it an adapted decoder, for --adapted"
        )
    found = identify({key: tuple(value.shape) for key, value in contents.tensors.items()})
    if found is not None and found != name:
        what = f"of {found}" if found in {*_VIT_BY_WIDTH.values(), "vit_t", "nano"} else f"which looks like {found}"
        raise CheckpointError(
            f"{path} holds weights {what}, but {name} was asked for: name the model that fits the file"
        )


def _check_names(path: Path, contents: Contents[Any], shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    wrong = misfit(contents, shapes)
    if not wrong:
        return
    if any(key.startswith("image_encoder.") for key in shapes):
        _check_model(path, contents, name)
    raise CheckpointError(
        f"{path} does not fit {name}: {wrong}; give an official checkpoint or one with the same tensor names"
    )


def _checked(path: Path, key: str, value: Tensor | None, shape: tuple[int, ...], name: str) -> Tensor:
    import torch

    if value is None:  # only counters of batch normalisation may be absent; inference does not use them
        return torch.zeros(shape, dtype=torch.int64)
    if tuple(value.shape) != shape:
        found = identify({key: tuple(value.shape)})
        hint = f" (it looks like {found})" if found not in (None, name) else ""
        raise CheckpointError(
            f"{path} does not fit {name}: {key} has shape {tuple(value.shape)} instead of {shape}{hint}"
        )
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise CheckpointError(f"{path} holds {key} as a sparse, quantised or placeless tensor: save plain tensors")
    if _is_counter(key):
        return value.to(torch.int64, copy=True)
    if value.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        raise CheckpointError(
            f"{path} holds {key} as {value.dtype}: float32, float16, bfloat16 and float64 are allowed"
        )
    single = value.detach().to(torch.float32).contiguous()
    # A sum is finite only if all terms are (short of overflow), and is far cheaper than a mask over each element.
    if not torch.isfinite(single.sum()) and not torch.isfinite(single).all():
        raise CheckpointError(f"{path} holds NaN or infinity in {key}: the weights are spoilt, take an earlier file")
    return single if key.startswith("image_encoder.") else single.clone()


def _is_counter(key: str) -> bool:
    return key.endswith(".num_batches_tracked")


def _count(names: list[str]) -> str:
    if not names:
        return "none"
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} ({', '.join(names[:3])}{more})"
