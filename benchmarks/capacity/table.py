"""A run of ``livesam.benchmarks.capacity`` as Markdown, and its place in a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from livesam.benchmarks.reports.marked import markdown, put_between

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
    def cells(row: Mapping[str, Any], who: str) -> tuple[object, ...]:
        one = row[who]
        return (row["real"]["users"], who, one["clicks"], one["p50_ms"], one["p95_ms"], one["p99_ms"])

    lines = [cells(row, who) for row in rows for who in ("real", "simulated")]
    return markdown(("users", "", "clicks", "p50 ms", "p95 ms", "p99 ms"), lines)


def _annotators(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    people = [row["people"] for row in rows[0]["rows"]]
    head = ("replica", "learning", "annotators a replica", "what ends it", "p99 ms there")
    lines = [
        (
            row["machine"], "each their own" if row["learns"] else "off", row["people_a_replica"], row["first"],
            row["at"]["p99_ms"],
            *(f"{one['replicas']:,} ({one['dollars_an_hour']:,.2f} $/h)" for one in row["rows"]),
        )
        for row in rows
    ]  # fmt: skip
    return markdown((*head, *(f"{one:,} annotators" for one in people)), lines)


def _embedding(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    gpus = [one["gpus"] for one in rows[0]["rows"]]
    lines = []
    for row in rows:
        rates = (f"{one['images_per_s']:,.0f} ({one['linear']:.0%})" for one in row["rows"])
        last = row["rows"][-1]
        lines.append((f"{row['model']}; {row['store']}", *rates, last["first"], f"{last['hours'] * 60:.0f} min"))
    head = ("images/s (of linear)", *(f"{one} GPU" for one in gpus), "ends it", "a million")
    return markdown(head, lines)
