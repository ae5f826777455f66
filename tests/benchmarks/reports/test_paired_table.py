"""The table of pairs, on results made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from livesam.benchmarks.reports.paired_table import paired_table


def result(method: str, traces: dict[str, list[list[float]]], seed: int = 0, **details: Any) -> dict[str, Any]:
    """By set the IoU after each click of its objects, at 0.85 within 6 clicks."""
    sets = {name: {"sequence": [_object(i, ious) for i, ious in enumerate(found)]} for name, found in traces.items()}
    return {"method": method, "seed": seed, "target_iou": 0.85, "max_clicks": 6, "sets": sets, "details": details}


def _object(number: int, ious: list[float]) -> dict[str, Any]:
    reached = ious[-1] >= 0.85
    return {"object": f"o{number}", "noc": len(ious) if reached else 6, "reached": reached, "ious": ious}


GOOD, SLOW, BAD = [0.9], [0.2, 0.5, 0.7, 0.8, 0.9], [0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
FROZEN = {"hard": [SLOW, BAD, SLOW, BAD], "easy": [GOOD] * 4}


def test_means_halves_and_pairs_by_hand() -> None:
    lines = paired_table(
        [result("frozen", FROZEN), result("live", {"hard": [SLOW, BAD, GOOD], "easy": [GOOD] * 3})]
    ).splitlines()
    assert lines[0].startswith("| 1 sets, 3 objects | NoC | FR | IoU@1 ")  # only what both were shown
    assert lines[2].startswith("| frozen | 5.33 | 0.333 | 0.200 |")
    assert lines[2].endswith("|  |  | 5.50 | 5.00 |")
    assert lines[3].startswith("| live | 4.00 | 0.333 | 0.433 |")
    assert lines[3].endswith("| 1 / 0 | 5.50 | 1.00 |")
    assert "| hard | 5.3 (0.33) | 4.0 (0.33) |" in lines
    assert "| easy (-) | 1.0 (0.00) | 1.0 (0.00) |" in lines


def test_seeds_of_a_method_are_pooled_and_paired_with_their_own() -> None:
    results = [
        result("frozen", FROZEN),
        result("frozen", {"hard": [BAD] * 4}, 1),
        result("live", {"hard": [BAD] * 4}, 1),
    ]
    lines = paired_table(results, ["hard"]).splitlines()
    assert lines[0].startswith("| 1 sets, 4 objects |")
    assert lines[3].split(" | ")[7:9] == ["0.00 (0.00 to 0.00)", "0 / 0"]


def test_a_set_that_got_worse_is_named() -> None:
    last = paired_table(
        [result("frozen", FROZEN), result("live", {"hard": [SLOW] * 4, "easy": [GOOD, GOOD, GOOD, SLOW]})]
    )
    assert last.splitlines()[-1] == "live is worse than frozen on easy (+1.00 clicks, +0.000 failures)."


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([result("frozen", FROZEN)], "a baseline and another method are needed"),
        ([result("frozen", FROZEN), result("live", {"other": [GOOD]})], "no object was shown to every method"),
        ([result("frozen", FROZEN), result("live", FROZEN), result("live", FROZEN)], "two results of live with seed 0"),
        ([result("frozen", FROZEN), {**result("live", FROZEN), "max_clicks": 9}], "several stop rules"),
    ],
)
def test_what_cannot_be_compared_is_refused(results: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_table(results)


def test_numbers_that_are_not_the_usual_ones_are_told() -> None:
    lines = paired_table(
        [result("frozen", FROZEN), result("live", FROZEN, config={"rounds": 1, "zoomed": False, "pull": 0.65})]
    ).splitlines()
    assert lines[3].startswith("| live, rounds 1, no zoomed |")
