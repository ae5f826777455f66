"""The table in docs/scale.md, from the result that lies in the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from livesam.benchmarks.reports.marked import put_between
from livesam.benchmarks.serving.annotators import Annotators
from livesam.benchmarks.serving.table import BEGIN, END, table

ROOT = Path(__file__).resolve().parents[3]


def test_a_table_between_its_marks(tmp_path: Path) -> None:
    one = Annotators(8, 60.0, 1.0, clicks=388, learned=193, p50_ms=56.0, p95_ms=294.0, p99_ms=479.0, errors=["refused"])
    document = tmp_path / "scale.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_between(document, BEGIN, END, table({"cores": 2, "load_average": 1.25}, {"one process": one.to_json()}))
    assert document.read_text().splitlines() == [
        "before", BEGIN, "8 users, 60 s each, 2 cores, load 1.2 at the end:", "",
        "|  | clicks answered | by learned versions | p50 ms | p95 ms | p99 ms | wrong | refused |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| one process | 388 | 193 | 56.0 | 294.0 | 479.0 | 0 | 1 |", END, "after",
    ]  # fmt: skip
    document.write_text("no marks")
    with pytest.raises(ValueError, match="has no place for it"):
        put_between(document, BEGIN, END, "")


def test_the_document_has_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmarks/results/serving_annotators.json").read_text())
    assert table(found["environment"], found["annotators"]) in (ROOT / "docs/scale.md").read_text()
