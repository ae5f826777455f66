from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from livesam.benchmarks.latency.stream import Pace, click_stream, picture


def test_same_seed_same_stream() -> None:
    assert click_stream(50, seed=3) == click_stream(50, seed=3)
    assert click_stream(50, seed=3) != click_stream(50, seed=4)


def test_stream_is_in_order_inside_the_image_and_starts_with_an_object() -> None:
    events = click_stream(500)
    assert len(events) == 500
    due = [event.due_s for event in events]
    assert due == sorted(due)
    assert all(0 <= event.x < 1 and 0 <= event.y < 1 for event in events)
    clicks = [event for event in events if event.kind == "click"]
    assert clicks[0].new_object
    assert all(event.positive for event in clicks if event.new_object)
    assert sum(event.new_object for event in clicks) == -(-len(clicks) // Pace().clicks_an_object)


def test_stream_has_thinking_bursts_and_hovering_at_30_a_second() -> None:
    events = click_stream(600)
    gaps = np.diff([event.due_s for event in events])
    hover = np.array([a.kind == b.kind == "hover" for a, b in pairwise(events)])
    assert np.isclose(gaps[hover], 1 / 30).mean() > 0.9
    assert np.isclose(gaps[~hover], 0.12, atol=1e-6).any() or (gaps[~hover] > 0.12).any()
    assert 0.2 < np.median(gaps[~hover]) < 1.0
    assert {event.kind for event in events} == {"click", "hover"}


def test_no_clicks() -> None:
    with pytest.raises(ValueError, match="at least one click"):
        click_stream(0)


def test_picture() -> None:
    image = picture(60, 80, seed=1)
    assert image.shape == (60, 80, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, picture(60, 80, seed=1))
    assert image.std() > 10
