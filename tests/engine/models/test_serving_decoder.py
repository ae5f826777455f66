"""What is recorded as a CUDA graph: nothing in it may come from the host, which a replay would not do again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from livesam.engine.models.serving_decoder import ServingDecoder
from livesam.engine.runtimes.packing import pack_masks
from livesam.engine.view.geometry import ResizeGeometry
from segment_anything.modeling import Sam
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ELSEWHERE = torch.device("meta")  # stands for a GPU: a device that is not the host
WAITS = ("_local_scalar_dense", "nonzero", "equal", "unique")


class Crossings(TorchDispatchMode):
    """Notes the operations that touch the host's memory, or that the host has to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += 1
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        name = func.name().split("::")[1]
        if any(tensor.device != ELSEWHERE for tensor in tensors) or name.startswith(WAITS):
            self.found.append(name)
        return result


def crossings(work: Callable[[], object]) -> list[str]:
    with torch.inference_mode(False), torch.no_grad(), Crossings() as watch:
        work()
    assert watch.count > 10
    return watch.found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_decoder_asks_nothing_of_the_host(tiny_sam: Sam, dtype: torch.dtype) -> None:
    model = ServingDecoder(tiny_sam, ELSEWHERE, dtype)
    image = model.features(torch.zeros(1, 256, 8, 8, device=ELSEWHERE))
    points, flags = torch.zeros(2, 3, 3, device=ELSEWHERE), torch.zeros(2, device=ELSEWHERE)
    masks = torch.zeros(2, 32 * 32, device=ELSEWHERE)
    for fed in (None, masks):
        assert crossings(lambda fed=fed: model.one_mask(image, points, fed, flags, flags)) == []  # type: ignore[misc]
        assert crossings(lambda fed=fed: model.all_masks(image, points, fed, flags)) == []  # type: ignore[misc]
    (found,) = model.one_mask(image, points, masks, flags, flags)
    assert (found.shape, found.dtype) == ((2, 32 * 32 + 1), torch.float32)


def test_drawing_asks_nothing_of_the_host() -> None:
    low_res = torch.zeros(2, 32, 32, device=ELSEWHERE)
    geometry = ResizeGeometry.of((75, 131), 128)
    pack_masks(low_res, geometry)  # the first time makes what each bit counts
    assert crossings(lambda: pack_masks(low_res, geometry)) == []


def test_a_crossing_would_be_found() -> None:
    flags = torch.zeros(2, device=ELSEWHERE)

    def twelve(work: Callable[[], object]) -> list[str]:
        return crossings(lambda: [work() for _ in range(12)])

    assert twelve(lambda: flags + torch.zeros(())) != []
    assert twelve(lambda: flags + 1) == []
