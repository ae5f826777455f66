"""Reading weights files that may come from anywhere: official ``.pth`` and ``.pt``, safetensors, Hugging Face folders.

Names, shapes, dtypes and values are checked before a model sees them; each fault is one sentence.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from livesam.engine.models.hf_layout import from_hf, is_hf
from livesam.engine.values.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

Kind: TypeAlias = Literal["torch", "safetensors"]

MAX_FILE_BYTES = 8 * 2**30  # vit_h is 2.6 GB, 5.1 GB in float64
MAX_TENSORS = 4096  # vit_h has 594
MAX_HEADER_BYTES = 16 * 2**20
HF_FILE = "model.safetensors"
HF_INDEX = "model.safetensors.index.json"

_VIT_BY_WIDTH = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def read_checkpoint(
    path: Path, shapes: Mapping[str, tuple[int, ...]], name: str, *, skip: str | None = None
) -> dict[str, Tensor]:
    """The tensors of a weights file under SAM's official names, checked; float32 on the CPU, contiguous, all finite.

    Large float32 tensors stay mapped from the file (private pages: writing to them does not change the file, and the
    file must not be changed in place while the model lives). The small prompt encoder and mask decoder are copied.

    Args:
        path: a ``.pth``/``.pt`` of ``torch.save``, a safetensors file, or a folder with Hugging Face's ``SamModel``.
        shapes: the names and shapes that the model needs, e.g. from ``models.state_shapes``.
        name: the model's name, for messages.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or not one of this model.
    """
    state: dict[str, Tensor] = {}
    try:
        for file, kind in _files(path):
            state.update(_torch_tensors(file) if kind == "torch" else _safetensors(file))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if is_hf(state):
        state = from_hf(state)
    _check_names(path, state, shapes, name)
    wanted = {key: shape for key, shape in shapes.items() if skip is None or not key.startswith(skip)}
    return {key: _checked(path, key, state.get(key), shape, name) for key, shape in wanted.items()}


def check_file(path: Path, name: str) -> None:
    """All that can be found wrong with a weights file without importing torch, in milliseconds.

    Raises:
        CheckpointError: as ``read_checkpoint``, which finds more.
    """
    from livesam.engine.models.torch_file import check_torch_file

    try:
        for file, kind in _files(path):
            if kind == "torch":
                check_torch_file(file)
            else:
                shapes = {key: tuple(entry["shape"]) for key, entry in _header(file).items() if key != "__metadata__"}
                _check_model(file, shapes, name)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


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
    if names and not any(name.startswith("image_encoder.") for name in names):
        decoder = [name.removeprefix("mask_decoder.") for name in names]
        if "iou_token.weight" in decoder:
            return "a mask decoder without its image encoder"
    return None


def _files(path: Path) -> list[tuple[Path, Kind]]:
    """The files that hold the tensors, by their first bytes; more than one in a folder of Hugging Face's."""
    return _folder(path) if path.is_dir() else [(path, _kind(path))]


def _kind(path: Path) -> Kind:
    if not path.exists():
        raise CheckpointError(f"there is no file {path}: give the path of a checkpoint")
    if not path.is_file():
        raise CheckpointError(f"{path} is not a regular file: give the path of a checkpoint")
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path} is empty: get it again")
    if size > MAX_FILE_BYTES:
        raise CheckpointError(f"{path} has {size} bytes, a SAM checkpoint has at most {MAX_FILE_BYTES}")
    with open(path, "rb") as file:
        head = file.read(64)
    if head.startswith(b"PK"):
        return "torch"
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer, not the weights: fetch the file itself")
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path} is a web page, not the weights: download the file itself")
    if head[:1] == b"\x80":
        raise CheckpointError(
            f"{path} is a bare pickle, which may run code, so it was not opened: "
            "save it again as safetensors, or with torch.save of a recent torch"
        )
    raise CheckpointError(f"{path} is not a weights file: give a .pth or .pt of torch.save, or safetensors")


def _folder(path: Path) -> list[tuple[Path, Kind]]:
    if (path / HF_FILE).exists():
        return [(path / HF_FILE, _kind(path / HF_FILE))]
    if not (path / HF_INDEX).is_file():
        raise CheckpointError(
            f"{path} is a folder without {HF_FILE}: give a weights file or a folder from Hugging Face's save_pretrained"
        )
    try:
        index = json.loads((path / HF_INDEX).read_bytes()[:MAX_HEADER_BYTES])
        shards = sorted(set(index["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path / HF_INDEX} is damaged: get the folder again") from error
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(f"{path / HF_INDEX} names {shard!r}, which is not a safetensors file of that folder")
    return [(path / shard, _kind(path / shard)) for shard in shards]


def _torch_tensors(path: Path) -> dict[str, Tensor]:
    from livesam.engine.models.torch_file import load_torch_file

    return _flat(path, load_torch_file(path))


def _flat(path: Path, loaded: Any) -> dict[str, Tensor]:
    """A flat dict of tensors, or the sentence that says what else it is."""
    import torch

    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors: save a state dict")
    for key, value in loaded.items():
        if isinstance(value, dict) and any(isinstance(inner, torch.Tensor) for inner in value.values()):
            raise CheckpointError(
                f"{path} is wrapped: its weights are under {key!r}. Take them out once, with "
                f"torch.save(torch.load(file, weights_only=True)[{key!r}], new_file), and give the new file"
            )
    if len(loaded) > MAX_TENSORS:
        raise CheckpointError(f"{path} has {len(loaded)} entries, a SAM checkpoint has at most {MAX_TENSORS}")
    strange = [key for key, value in loaded.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if strange or not loaded:
        shown = ", ".join(repr(key) for key in strange[:3]) or "nothing at all"
        raise CheckpointError(f"{path} holds other things than tensors ({shown}): save a state dict alone")
    return dict(loaded)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _header(path)
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
                raise CheckpointError(f"{path} is truncated or not safetensors: get it again")
            header = json.loads(file.read(length))
        if not isinstance(header, dict) or len(header) > MAX_TENSORS + 1:
            raise CheckpointError(f"{path} has more entries than a SAM checkpoint: at most {MAX_TENSORS} are allowed")
        with safe_open(path, framework="numpy"):  # checks all of the header against the length of the file
            return header
    except (SafetensorError, struct.error, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}): get it again") from error


def _check_model(path: Path, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    found = identify(shapes)
    if found is not None and found != name:
        what = f"of {found}" if found in {*_VIT_BY_WIDTH.values(), "vit_t", "nano"} else f"which looks like {found}"
        raise CheckpointError(
            f"{path} holds weights {what}, but {name} was asked for: name the model that fits the file"
        )


def _check_names(path: Path, state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    missing = [key for key in shapes if key not in state and not _is_counter(key)]
    unknown = [key for key in state if key not in shapes]
    if not missing and not unknown:
        return
    _check_model(path, {key: tuple(value.shape) for key, value in state.items()}, name)
    prefix = _common_prefix(state)
    if prefix and {key.removeprefix(prefix) for key in state} >= {key for key in shapes if not _is_counter(key)}:
        raise CheckpointError(
            f"every name in {path} begins with {prefix!r}: save it again with key.removeprefix({prefix!r})"
        )
    raise CheckpointError(
        f"{path} does not fit {name}: {_count(missing)} missing and {_count(unknown)} unknown; "
        "give an official checkpoint or one with the same tensor names"
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


def _common_prefix(names: Collection[str]) -> str:
    first = next(iter(names), "").partition(".")
    prefix = first[0] + first[1]
    return prefix if prefix and all(name.startswith(prefix) for name in names) else ""


def _count(names: list[str]) -> str:
    if not names:
        return "none"
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} ({', '.join(names[:3])}{more})"
