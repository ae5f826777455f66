"""The table of methods, on results made by hand."""

import pytest
from livesam.benchmarks.reports.methods_table import methods_table


def result(method, fr, seed=0, target=0.85, clicks=20, objects=4, **details):
    """Two sets: on ``nov_wbc`` the method fails at ``fr``, on ``hard`` always."""

    def figures(rate):
        return {
            "objects": objects, "fr": rate, "noc": 20 * rate, "iou_at": {"1": 0.5, "5": 0.75},
            "lower_targets": {"0.75": {"fr": rate / 2, "noc": 3.0}},
        }  # fmt: skip

    sets = {"nov_wbc": figures(fr), "hard": figures(1.0)}
    return {
        "method": method, "seed": seed, "target_iou": target, "max_clicks": clicks, "sets": sets, "details": details,
    }  # fmt: skip


def test_rates_and_means_by_hand():
    table = methods_table([result("frozen", 0.5), result("live", 0.2, 0), result("live", 0.4, 1)])
    assert table.splitlines() == [
        "| FR20@85 | frozen | live |",
        "| --- | --- | --- |",
        "| nov_wbc † | 0.50 | 0.30 |",
        "| hard (-) | 1.00 | 1.00 |",
        "",
        "† hyper-parameters were chosen here; (-) frozen fails never or always: left out of the means.",
        "",
        "| mean of 1 sets | FR20@85 | FR20@75 | NoC20@85 | IoU@1 | IoU@5 |",
        "| --- | --- | --- | --- | --- | --- |",
        "| frozen | 0.50 | 0.25 | 10.0 | 0.50 | 0.75 |",
        "| live | 0.30 ± 0.14 | 0.15 ± 0.07 | 6.0 ± 2.8 | 0.50 ± 0.00 | 0.75 ± 0.00 |",
    ]


def test_a_second_stop_rule_and_what_else_was_on_are_told_apart():
    results = [
        result("frozen", 0.5), result("live", 0.25, edges=True, zoom=True), result("live", 0.5, edges=False),
        result("frozen", 0.8, target=0.9, clicks=30), result("live", 0.5, edges=False, target=0.9, clicks=30),
    ]  # fmt: skip
    lines = methods_table(results).splitlines()
    assert lines[0] == "| FR20@85 | frozen | live, edges, zoom | live |"
    assert lines[7].endswith(
        "| mean of 1 sets, 1 by 90/30 | FR20@85 | FR20@75 | NoC20@85 | IoU@1 | IoU@5 | FR30@90 | NoC30@90 |"
    )
    assert lines[9].endswith("| 0.80 | 16.0 |")
    assert lines[10] == "| live, edges, zoom | 0.25 | 0.12 | 5.0 | 0.50 | 0.75 | - | - |"


def test_without_a_set_that_tells_methods_apart_there_is_no_mean():
    lines = methods_table([result("frozen", 1.0), result("live", 1.0)]).splitlines()
    assert lines[-1] == "| live | - | - | - | - | - |"


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([result("live", 0.2)], "must be of frozen, got"),
        ([result("frozen", 0.2, zoom=True)], "must be of frozen, got"),
        ([result("frozen", 0.2), result("live", 0.2, clicks=30)], "must be of frozen"),
        ([result("frozen", 0.2), result("live", 0.2, objects=5)], "different sets or objects"),
        ([result("frozen", 0.2), result("frozen", 0.2)], "same seed"),
        ([result("frozen", 0.2), result("frozen", 0.2, seed=1, runtime="x")], "more than the seed"),
        ([result("frozen", 0.2), result("frozen", 0.2, seed=1, config={"lr": 1})], "more than the seed"),
    ],
)
def test_what_cannot_be_compared_is_refused(results, message):
    with pytest.raises(ValueError, match=message):
        methods_table(results)


def test_means_over_all_sets_but_some_and_what_was_switched_off():
    results = [result("frozen", 0.5), result("live", 0.2, zoom=True, config={"size_prior": False, "seed": 0})]
    lines = methods_table(results, without=("hard",)).splitlines()
    assert lines[0] == "| FR20@85 | frozen | live, zoom, no size prior |"
    assert lines[3] == "| hard (-) | 1.00 | 1.00 |"
    assert lines[5].endswith("(-) not in the means.")
    assert lines[-1].startswith("| live, zoom, no size prior | 0.20 |")
