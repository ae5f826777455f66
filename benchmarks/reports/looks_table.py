"""How a frozen model does with each look, as Markdown: ``python -m livesam.benchmarks.reports.looks_table FILE...``.

Wants results of ``livesam eval`` by one stop rule, ``--sets`` for a row a set beside the means over sets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CLICKS = ("1", "3", "5", "10", "20")
LOOKS = ("zoom", "obey", "edges")


def looks_table(results: Sequence[Mapping[str, Any]], *, by_set: bool = False) -> str:
    """A row for each result: IoU after some clicks, NoC and failure rate, means over sets or of each set.

    Raises:
        ValueError: there is no result, or they are by several stop rules.
    """
    rules = {(r["target_iou"], r["max_clicks"]) for r in results}
    if len(rules) != 1:
        raise ValueError(f"results by one stop rule are wanted, got {len(rules)} rules in {len(results)} results")
    ((target, clicks),) = rules
    rule = f"{clicks}@{100 * target:.0f}"
    head = ["set", "how"] if by_set else ["how"]
    head += [f"IoU@{k}" for k in CLICKS] + [f"NoC{rule}", f"FR{rule}"]
    rows = [head, ["---"] * len(head)]
    if by_set:
        rows += [[name, _label(r), *_figures(r["sets"][name])] for name in results[0]["sets"] for r in results]
    else:
        rows += [[_label(r), *_figures(r["mean"])] for r in results]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _label(result: Mapping[str, Any]) -> str:
    if result["method"] == "grabcut":
        return "OpenCV GrabCut"
    size = result["details"].get("image_size")
    looks = [look for look in LOOKS if result["details"].get(look)]
    return ", ".join([result["model"], *([f"{size} px"] if size else []), *looks])


def _figures(found: Mapping[str, Any]) -> list[str]:
    ious = [f"{found['iou_at'][k]:.2f}" for k in CLICKS]
    return [*ious, f"{found['noc']:.1f}", f"{found['fr']:.2f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m livesam.benchmarks.reports.looks_table", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="JSON files of livesam eval")
    parser.add_argument("--sets", action="store_true", help="a row for each set")
    given = parser.parse_args(arguments)
    results = [json.loads(path.read_text()) for path in given.results]
    sys.stdout.write(looks_table(results, by_set=given.sets) + "\n")


if __name__ == "__main__":
    main()
