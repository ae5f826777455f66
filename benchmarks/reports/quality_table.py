"""Results of evaluations side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

NO_STEP_S = 1e-4  # calls that learn nothing take microseconds


def quality_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """All results in one table, a block of rows a set, the mean over the sets last."""
    from rich import box
    from rich.table import Table

    first = next(iter(results.values()))
    table = Table(
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        title=f"target IoU {first['target_iou']:g}, at most {first['max_clicks']} clicks, seed {first['seed']}",
    )
    table.add_column("set")
    table.add_column("method")
    for heading in ("objects", "NoC", "FR", *(f"IoU@{k}" for k in first["mean"]["iou_at"]), "s/click", "s/step"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in dict.fromkeys(name for result in results.values() for name in result["sets"]):
        present = {label: result["sets"][name] for label, result in results.items() if name in result["sets"]}
        _add_rows(table, name, present)
    if any(len(result["sets"]) > 1 for result in results.values()):
        means = {label: {**result["mean"], "seconds": result["seconds"]} for label, result in results.items()}
        _add_rows(table, "mean of sets", means)
    return table


def _add_rows(table: Table, name: str, blocks: Mapping[str, Mapping[str, Any]]) -> None:
    for row, (label, figures) in enumerate(blocks.items()):
        seconds = figures["seconds"]
        step = seconds["per_click_step"]
        table.add_row(
            name if row == 0 else "",
            label,
            str(figures["objects"]),
            f"{figures['noc']:.2f}",
            f"{figures['fr']:.3f}",
            *("-" if value is None else f"{value:.3f}" for value in figures["iou_at"].values()),
            f"{seconds['per_click']['p50']:.3f}",
            "-" if step is None or step["p95"] < NO_STEP_S else f"{step['p50']:.3f}",
            end_section=row == len(blocks) - 1,
        )
