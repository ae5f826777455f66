"""Which optimisation profile of a TensorRT plan takes the shapes of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Ranges: TypeAlias = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]  # smallest and largest shape by input


def fitting_profile(profiles: Sequence[Ranges], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The first optimisation profile that takes inputs of these shapes.

    Raises:
        ValueError: none does.
    """
    for index, ranges in enumerate(profiles):
        if all(_inside(shape, *ranges[name]) for name, shape in shapes.items()):
            return index
    dynamic = {n: s for n, s in shapes.items() if any(r[n][0] != r[n][1] for r in profiles)}
    raise ValueError(f"inputs of the shapes {dynamic} are in no profile of the plan: build one for larger prompts")


def _inside(shape: tuple[int, ...], smallest: tuple[int, ...], largest: tuple[int, ...]) -> bool:
    return len(shape) == len(smallest) and all(
        lo <= n <= hi for lo, n, hi in zip(smallest, shape, largest, strict=True)
    )
