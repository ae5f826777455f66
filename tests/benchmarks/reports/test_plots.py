"""Pictures from results: what they draw, and that a file comes out."""

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")
from livesam.benchmarks.reports import plots


def result(traces, target=0.85, limit=5):
    return {
        "target_iou": target,
        "max_clicks": limit,
        "mean": {"objects": sum(map(len, traces.values()))},
        "sets": {
            name: {"sequence": [{"ious": t, "reached": t[-1] >= target} for t in of_set]}
            for name, of_set in traces.items()
        },
    }


@pytest.fixture
def drawn(monkeypatch):
    """The axes of what was saved last, beside the file."""
    kept = []
    save = plots._save
    monkeypatch.setattr(plots, "_save", lambda figure, path: (kept.append(figure.axes[0]), save(figure, path)))
    return kept


def thick_lines(axes):
    return {line.get_label(): line for line in axes.lines if line.get_linewidth() > 2}


def test_iou_curve_is_the_mean_over_sets_of_held_traces(tmp_path, drawn):
    one = result({"a": [[0.2, 0.9], [0.4, 0.4, 0.4, 0.4, 0.4]], "b": [[0.8, 1.0]]})
    other = result({"a": [[0.1, 0.1, 0.1, 0.1, 0.1]], "b": [[0.3, 0.3, 0.3, 0.3, 0.3]]})
    plots.plot_iou_curve({"one": one, "other": other}, tmp_path / "iou.png")
    lines = thick_lines(drawn[0])
    np.testing.assert_array_equal(lines["one"].get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(lines["one"].get_ydata(), [(0.3 + 0.8) / 2, *[(0.65 + 1.0) / 2] * 4])
    np.testing.assert_allclose(lines["other"].get_ydata(), [0.2] * 5)
    assert cv2.imread(str(tmp_path / "iou.png")).shape[0] > 300


def test_learning_curve_is_the_moving_share_of_failures(tmp_path, drawn):
    reached, failed = [0.9], [0.1, 0.2]
    a_run = result({"a": [failed, failed, reached, reached], "b": [reached, failed, reached]})
    plots.plot_learning_curve({"run": a_run}, tmp_path / "learning.png", window=2)
    line = thick_lines(drawn[0])["run"]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [np.nan, (1.0 + 0.5) / 2, (0.5 + 0.5) / 2, 0.0])
    assert cv2.imread(str(tmp_path / "learning.png")).shape[0] > 300


def test_nothing_to_plot_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to plot"):
        plots.plot_iou_curve({}, tmp_path / "x.png")
