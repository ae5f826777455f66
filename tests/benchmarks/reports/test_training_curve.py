"""The learning curve of a training run."""

from pathlib import Path

import cv2
import pytest
from livesam.benchmarks.reports.training_curve import plot_training, smoothed


def test_smoothing_starts_at_the_first_value_and_follows() -> None:
    assert smoothed([1.0, 1.0, 1.0]) == [1.0, 1.0, 1.0]
    rising = smoothed([0.0, 1.0, 1.0])
    assert 0 < rising[1] < rising[2] < 1


def test_a_picture_is_drawn_from_a_log(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [
        {"stage": i // 3, "size": 128 * (1 + i // 3), "seconds": 600.0 * i, "iou": {"1": 0.1 * i, "3": 0.12 * i}}
        for i in range(6)
    ]
    plot_training(lines, tmp_path / "curve.png")
    assert cv2.imread(str(tmp_path / "curve.png")).std() > 5


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no report"):
        plot_training([], tmp_path / "curve.png")
