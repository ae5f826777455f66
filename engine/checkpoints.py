"""Reading weights files that may come from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.engine.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


def read_checkpoint(path: Path, shapes: Mapping[str, tuple[int, ...]], name: str) -> dict[str, Tensor]:
    """The tensors of a weights file, float32, checked against the shapes that the model needs."""
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state: dict[str, Tensor] = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if state.keys() != shapes.keys():
        raise CheckpointError(f"{path} is not a checkpoint of {name}")
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
