"""The table of looks, on results made by hand and on the committed ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from livesam.benchmarks.reports.looks_table import looks_table, main

ROOT = Path(__file__).resolve().parents[3]


def result(noc: float, target: float = 0.85, **details: Any) -> dict[str, Any]:
    figures = {"iou_at": dict.fromkeys(("1", "3", "5", "10", "20"), 0.5), "noc": noc, "fr": 0.25}
    rest = {"target_iou": target, "max_clicks": 20, "details": details, "mean": figures, "sets": {"a": figures}}
    return {"method": "frozen", "model": "nano", **rest}


def test_rows_by_hand() -> None:
    table = looks_table([result(8.0), result(6.0, zoom=True, edges=True, obey=False)])
    assert table.splitlines() == [
        "| how | IoU@1 | IoU@3 | IoU@5 | IoU@10 | IoU@20 | NoC20@85 | FR20@85 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| nano | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 8.0 | 0.25 |",
        "| nano, zoom, edges | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 6.0 | 0.25 |",
    ]
    by_set = looks_table([result(8.0)], by_set=True)
    assert by_set.splitlines()[2] == "| a | nano | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 8.0 | 0.25 |"


def test_two_stop_rules_make_no_table() -> None:
    with pytest.raises(ValueError, match="2 rules"):
        looks_table([result(8.0), result(8.0, 0.9)])


@pytest.mark.parametrize("page", ["docs/results.md", "engine/models/weights/nano.md"])
def test_the_tables_that_are_printed_are_those_of_the_committed_results(page: str) -> None:
    looks = (
        "frozen",
        "frozen_zoom",
        "frozen_obey",
        "frozen_edges",
        "frozen_zoom_obey",
        "frozen_zoom_obey_edges",
        "grabcut",
    )
    files = [ROOT / "benchmarks" / "results" / f"validation_{look}_85_20.json" for look in looks]
    results = [json.loads(path.read_text()) for path in files]
    assert looks_table(results, by_set=page.endswith("nano.md")) in (ROOT / page).read_text()


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(result(8.0)))
    main([str(tmp_path / "a.json")])
    assert "| nano |" in capsys.readouterr().out
