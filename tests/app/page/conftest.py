"""A server on three photos, and the browser that looks at it; skipped where there is no browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from livesam.benchmarks.page.browser import Browser, Visitor, browser, chromium
from livesam.benchmarks.serving.served import Served
from livesam.engine.values.errors import LivesamError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = pytest.importorskip("skimage.data", reason="the photos come with scikit-image")
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "chelsea", "coins"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="package")  # not longer: Playwright's event loop is the thread's while it runs
def chrome() -> Iterator[Browser]:
    pytest.importorskip("playwright", reason="a browser is driven by Playwright")
    try:
        chromium()
    except LivesamError as error:
        pytest.skip(str(error))
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def served(chrome: Browser, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(folder, tmp_path_factory.mktemp("served") / "out") as server:
        yield server
        server.kill()  # an orderly end takes its time to learn; tests/app/server has that


@pytest.fixture
def visitor(chrome: Browser, served: Served) -> Iterator[Visitor]:
    with chrome.visit(served.url) as one:
        one.settled()
        yield one
