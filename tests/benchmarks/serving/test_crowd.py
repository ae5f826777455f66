"""Eight sessions at once, for a moment; the benchmark does it for two minutes."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from livesam.benchmarks.serving import annotators
from livesam.benchmarks.serving.annotators import Annotators, annotate_together, check_replay
from livesam.benchmarks.serving.crowd import Crowd, Known, click_together, known_masks


def test_a_crowd_sees_its_own_masks(crowd_server) -> None:
    known = known_masks(crowd_server, [("coins.png", 384, 303), ("cat.jpg", 451, 300)])
    assert len({one.mask for one in known}) > 12  # different clicks have different masks
    crowd = Crowd(8, 1.0)
    click_together(crowd_server, known, crowd, os.getpid())
    assert (crowd.errors, crowd.mixed_up) == ([], 0)
    assert crowd.clicks >= 8
    assert crowd.p95_ms >= crowd.p50_ms > 0
    assert len(crowd.memory_mib) == 11


def test_what_is_mixed_up_is_counted(crowd_server) -> None:
    known = known_masks(crowd_server, [("coins.png", 384, 303)])
    crowd, wrong = Crowd(1, 0.3), [replace(one, mask="other") for one in known]
    click_together(crowd_server, wrong, crowd, os.getpid())
    assert crowd.mixed_up == crowd.clicks > 0


def test_errors_are_told(crowd_server) -> None:
    crowd = Crowd(2, 0.1)
    click_together(crowd_server, [Known("gone.png", 1, 1, "")], crowd, os.getpid())
    assert len(crowd.errors) == 2
    assert all("gone.png" in error for error in crowd.errors)


IMAGES = [("coins.png", 384, 303), ("cat.jpg", 451, 300)]


def test_annotators_find_what_they_accepted(crowd_server) -> None:
    found = Annotators(2, 1.0, 0.0)
    annotate_together(crowd_server, IMAGES, found)
    assert (found.errors, found.wrong, found.learned, found.versions) == ([], 0, 0, 0)
    assert found.clicks >= found.accepted > 0
    assert found.p99_ms >= found.p50_ms > 0
    assert found.slowest[0]["client"] >= found.slowest[-1]["client"]
    assert {"decode", "queue", "server", "at_s"} <= found.slowest[0].keys()
    assert not found.good  # not before it is replayed


def test_what_is_wrong_or_missing_is_counted(crowd_server, monkeypatch, tmp_path) -> None:
    found = Annotators(1, 0.3, 0.0)
    monkeypatch.setattr(annotators, "_kept", lambda url, number: b"another")
    annotate_together(crowd_server, IMAGES, found)
    assert found.wrong == found.accepted > 0
    annotate_together(crowd_server, [("gone.png", 1, 1)], found)
    assert "gone.png" in found.errors[0]
    check_replay(tmp_path, found)
    assert not found.same
    assert "there is no annotations.sqlite" in found.replayed


@pytest.fixture(scope="module")
def crowd_server(tmp_path_factory):
    """A server in this process."""
    import asyncio
    import threading
    import time
    import urllib.request

    data = pytest.importorskip("skimage.data")
    pytest.importorskip("fastapi")
    from livesam.app.server.serving import prepared
    from livesam.app.server.settings import Settings
    from livesam.export.opening import Opening
    from PIL import Image

    folder = tmp_path_factory.mktemp("crowd")
    Image.fromarray(data.coins()).save(folder / "coins.png")
    Image.fromarray(data.chelsea()).save(folder / "cat.jpg")
    chosen = Settings(folder, folder / "livesam", Opening("nano", runtime="torch"), port=0, learning=False)
    with prepared(chosen) as (server, listening, address):
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            while True:
                try:
                    urllib.request.urlopen(f"{address}readyz", timeout=30).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield address
        finally:
            server.should_exit = True
            thread.join(60)
