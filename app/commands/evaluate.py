"""``livesam eval``: quality under simulated clicks."""

from __future__ import annotations

from livesam.benchmarks.quality.quality_command import evaluate

__all__ = ["evaluate"]
