"""The table of methods, on results made by hand."""

import pytest
from livesam.benchmarks.methods_table import methods_table


def result(method, fr, seed=0, **more):
    """Two sets: on ``nov_wbc`` the method fails at ``fr``, on ``hard`` always."""

    def figures(rate):
        return {
            "objects": 4, "fr": rate, "noc": 20 * rate, "iou_at": {"1": 0.5, "5": 0.75},
            "lower_targets": {"0.75": {"fr": rate / 2, "noc": 3.0}},
        }  # fmt: skip

    sets = {"nov_wbc": figures(fr), "hard": figures(1.0)}
    return {"method": method, "seed": seed, "target_iou": 0.85, "max_clicks": 20, "sets": sets, **more}


def test_cells_means_and_changes_by_hand():
    lines = methods_table([result("frozen", 0.5), result("live", 0.2, 0), result("live", 0.4, 1)]).splitlines()
    assert lines[0].startswith("Each cell: frozen / live (2 seeds).")
    assert lines[2] == "| set | objects | FR20@85 | FR20@75 | NoC20@85 | IoU@1 | IoU@5 |"
    assert lines[4] == (
        "| nov_wbc † | 4 | 0.50 / 0.30 ± 0.14 | 0.25 / 0.15 ± 0.07 | 10.0 / 6.0 ± 2.8 | 0.50 / 0.50 ± 0.00 "
        "| 0.75 / 0.75 ± 0.00 |"
    )
    assert lines[5].startswith("| hard (-) | 4 | 1.00 / 1.00 ± 0.00 |")
    assert lines[6].startswith("| **mean of 1 sets** | 4 | 0.50 / 0.30 ± 0.14 |")
    assert lines[-1] == "live: FR20@85 -40% against frozen."


def test_without_a_set_that_tells_methods_apart_there_is_no_mean():
    assert "mean" not in methods_table([result("frozen", 1.0), result("live", 1.0)]).splitlines()[-1]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([result("live", 0.2)], "must be of frozen, got live"),
        ([result("frozen", 0.2), result("live", 0.2, max_clicks=30)], "like with like"),
        ([result("frozen", 0.2), result("frozen", 0.2)], "same seed"),
    ],
)
def test_what_cannot_be_compared_is_refused(results, message):
    with pytest.raises(ValueError, match=message):
        methods_table(results)
