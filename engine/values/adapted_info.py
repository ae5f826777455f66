"""Where an adapted decoder comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedInfo:
    """Where an adapted decoder comes from; ``engine/models/adapted.py`` has a table of its file.

    ``image_size`` is None where nobody said it.

    Raises:
        ValueError: a count, version or size is not an integer, or a metric is not a finite number.
    """

    model: str
    method: str
    domain: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    image_size: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.image_size, bool) or not isinstance(self.image_size, int | None):
            raise ValueError(f"the image size must be an integer, got {self.image_size!r}")
        for name, value in (*self.counts.items(), *self.versions.items()):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"counts and versions must be integers, got {name}={value!r}")
        for name, number in self.metrics.items():
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"metrics must be finite numbers, got {name}={number!r}")

    def size_for(self, model: str, size: int | None) -> int | None:
        """The size to open ``model`` in: the one asked for, else that at which this was learned; None: the usual."""
        return self.image_size if size is None and self.model == model else size
