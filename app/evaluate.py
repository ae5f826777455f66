"""``livesam eval``: quality under simulated clicks; the function that ``python -m livesam.benchmarks.quality`` runs."""

from __future__ import annotations

from livesam.benchmarks.quality_command import evaluate

__all__ = ["evaluate"]
