"""What annotators saw of one process and of Ray, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livesam.benchmarks.reports.marked import markdown

BEGIN, END = "<!-- annotators: made by python -m livesam.benchmarks.serving --ray -->", "<!-- /annotators -->"
HEAD = ("", "clicks answered", "by learned versions", "p50 ms", "p95 ms", "p99 ms", "wrong", "refused")


def table(environment: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each server, and under what they were measured."""
    rows = [
        (
            name, one["clicks"], one["learned"], one["p50_ms"], one["p95_ms"], one["p99_ms"], one["wrong"],
            len(one["errors"]),
        )
        for name, one in runs.items()
    ]  # fmt: skip
    any_run = next(iter(runs.values()))
    said = f"{any_run['users']} users, {any_run['seconds']:.0f} s each, {environment['cores']} cores"
    return "\n".join([f"{said}, load {environment['load_average']:.1f} at the end:", "", *markdown(HEAD, rows)])
