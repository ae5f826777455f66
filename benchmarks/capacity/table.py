"""A run of ``livesam.benchmarks.capacity`` as Markdown, and its place in a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from livesam.benchmarks.reports.marked import markdown, put_between

QUANTILES = ("p50_ms", "p95_ms", "p99_ms")
BEGIN, END = "<!-- capacity: made by python -m livesam.benchmarks.capacity -->", "<!-- /capacity -->"


def table(found: Mapping[str, Any]) -> str:
    """The check, the annotators, and the million images."""
    parts = [_check(found["check"]), _annotators(found["annotators"]), _embedding(found["embedding"])]
    return "\n\n".join("\n".join(part) for part in parts)


def put_table(document: Path, text: str) -> None:
    """Put it between its two marks; at the end, under a heading, where there are none.

    Raises:
        OSError: the document cannot be written.
    """
    old = document.read_text() if document.is_file() else "# Scale\n"
    if BEGIN not in old:
        document.write_text(f"{old.rstrip()}\n\n## Capacity\n\n{BEGIN}\n{END}\n")
    put_between(document, BEGIN, END, text)


def _check(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[tuple[object, ...]] = []
    for row in rows:
        users = row["real"]["users"]
        lines += [
            (users, who, row[who]["clicks"], *(f"{row[who][name]:.1f}" for name in QUANTILES))
            for who in ("real", "simulated")
        ]
        lines.append((users, "factor", "", *(f"{row['factors'][name]:.2f}" for name in QUANTILES)))
    return markdown(("users", "", "clicks", "p50 ms", "p95 ms", "p99 ms"), lines)


def _annotators(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    people = [row["people"] for row in rows[0]["rows"]]
    head = ("replica", "learning", "p99 ms of one", "annotators a replica", "what ends it", "p99 ms there")
    lines = [
        (
            row["machine"], "each their own" if row["learns"] else "off", row["alone"]["p99_ms"],
            row["people_a_replica"], _ends(row), f"{row['at']['p99_ms']}{'' if row['kept'] else ': too slow'}",
            *(f"{one['replicas']:,} ({one['dollars_an_hour']:,.2f} $/h)" for one in row["rows"]),
        )
        for row in rows
    ]  # fmt: skip
    return markdown((*head, *(f"{one:,} annotators" for one in people)), lines)


def _ends(row: Mapping[str, Any]) -> str:
    """What ends it, and the next limits."""
    first, *others = sorted(row["limits"].items(), key=lambda one: one[1])
    named = f"p99, then {first[0]} {first[1]}" if row["first"] == "p99" else f"{first[0]} {first[1]}"
    return f"{named}; {', '.join(f'{name} {most:,}' for name, most in others[:2])}"


def _embedding(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    gpus = [one["gpus"] for one in rows[0]["rows"]]
    lines = []
    for row in rows:
        rates = (f"{one['images_per_s']:,.0f} ({one['linear']:.0%})" for one in row["rows"])
        one, last = row["rows"][0], row["rows"][-1]
        what = f"{row['model']}; {row['store']}"
        lines.append((what, f"{one['busy']:.0%}", *rates, last["first"], f"{last['hours'] * 60:.1f} min"))
    head = ("images/s (of linear)", "GPU encodes", *(f"{one} GPU" for one in gpus), "ends it", "a million")
    return markdown(head, lines)
