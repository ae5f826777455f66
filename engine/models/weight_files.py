"""The files that hold a checkpoint's tensors, known by their first bytes, never by being unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, TypeAlias

from livesam.engine.values.errors import CheckpointError

Kind: TypeAlias = Literal["torch", "safetensors"]

MAX_FILE_BYTES = 8 * 2**30  # vit_h is 2.6 GB, 5.1 GB in float64
MAX_HEADER_BYTES = 16 * 2**20
HF_FILE = "model.safetensors"
HF_INDEX = "model.safetensors.index.json"


def weight_files(path: Path) -> list[tuple[Path, Kind]]:
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
