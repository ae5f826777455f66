"""Upper limits that a latency report can be checked against."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LIMITS = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
_RATIOS = ("p50", "p95", "p99")
_FILTERS = ("model", "learning", "runtime")


@dataclass(frozen=True)
class Budget:
    """Limits for runs of one model, and for learning on against off.

    The file is JSON:
    ``{"runs": [{"model": "nano", "learning": "off", "p50_ms": 15}], "learning_ratios": {"p50": 1.15}}``.
    ``model``, ``learning`` and ``runtime`` choose the runs that a row is about; one that is left out matches all.
    """

    rows: tuple[Mapping[str, object], ...]
    learning_ratios: Mapping[str, float]

    @classmethod
    def read(cls, path: Path) -> Budget:
        """Read a budget file.

        Raises:
            ValueError: it is not JSON, or has a key or a value that means nothing here.
            OSError: it cannot be read.
        """
        try:
            content = json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"the budget file {path} is not JSON: {error}") from None
        if not isinstance(content, dict) or not set(content) <= {"runs", "learning_ratios"}:
            raise ValueError(f"the budget file {path} may have the keys runs and learning_ratios only")
        rows, ratios = content.get("runs", []), content.get("learning_ratios", {})
        if not isinstance(rows, list) or not isinstance(ratios, dict):
            raise ValueError(f"the budget file {path}: runs must be a list and learning_ratios an object")
        for row in rows:
            if not isinstance(row, dict) or not set(row) <= {*_LIMITS, *_FILTERS}:
                raise ValueError(
                    f"the budget file {path}: a row may have {', '.join((*_FILTERS, *_LIMITS))}, got {row}"
                )
            _check_numbers(path, {key: row[key] for key in _LIMITS if key in row})
        if not set(ratios) <= set(_RATIOS):
            raise ValueError(f"the budget file {path}: learning_ratios may have {', '.join(_RATIOS)}, got {ratios}")
        _check_numbers(path, ratios)
        return cls(tuple(rows), ratios)

    def violations(self, report: Mapping[str, object]) -> list[str]:
        """One sentence for every limit that the report exceeds; empty when it keeps them all. Peers are not judged."""
        runs = report["runs"]
        if not isinstance(runs, Sequence):
            raise ValueError("a latency report needs a list of runs")
        found: list[str] = []
        for row in self.rows:
            for run in runs:
                if any(run[key] != row[key] for key in _FILTERS if key in row):
                    continue
                found += [
                    f"{run['model']} on {run['runtime']}, learning {run['learning']}: {limit} is {run[limit]:g}, "
                    f"at most {row[limit]:g} is allowed"
                    for limit in _LIMITS
                    if limit in row and not run[limit] <= row[limit]
                ]
        ratios = report.get("learning_ratios")
        if isinstance(ratios, Mapping):
            found += [
                f"learning on against off: {name} ratio is {ratios[name]:g}, at most {limit:g} is allowed"
                for name, limit in self.learning_ratios.items()
                if not ratios[name] <= limit
            ]
        return found


def _check_numbers(path: Path, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(float(str(value))) or float(str(value)) <= 0:
            raise ValueError(f"the budget file {path}: {name} must be a number above 0, got {value!r}")
