"""Every state of the page at two widths in two themes, to be looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

from livesam.benchmarks.page.browser import Browser, Visitor, Window, browser
from livesam.benchmarks.page.pictures import PHOTOS, photo
from livesam.benchmarks.serving.served import Served
from PIL import Image

WIDTHS = (Window(1280, 800), Window(800, 720))
THEMES = ("light", "dark")
COINS = ((44, 54), (155, 50), (335, 45), (46, 124), (270, 120), (212, 193))


def look_at(into: Path, work: Path) -> list[Path]:
    """Write ``STATE-WIDTH-THEME.png`` of each state.

    Args:
        into: the folder.
        work: an empty one.
    """
    into.mkdir(parents=True, exist_ok=True)
    folder = work / "photos"
    folder.mkdir()
    for name in PHOTOS:
        Image.fromarray(photo(name)).save(folder / f"{name}.png")
    with Served(folder, work / "out") as served, browser() as chrome:
        with chrome.visit(served.url) as visitor:
            annotate(visitor)
        found = [path for window in windows() for path in states(served, chrome, window, into)]
        return found + [path for window in windows() for path in away(served, chrome, window, into)]


def windows() -> Iterator[Window]:
    for window, theme in product(WIDTHS, THEMES):
        yield replace(window, theme=theme)  # type: ignore[arg-type]


def annotate(visitor: Visitor) -> None:
    """Something to be seen: accepted objects, and what was learned from them."""
    visitor.settled()
    visitor.page.get_by_role("button", name="coins.png").click()
    visitor.settled()
    for x, y in COINS:
        visitor.click(x, y)
        visitor.click(x + 4, y + 4)
        visitor.key("Enter")
    time.sleep(3.0)


def states(served: Served, chrome: Browser, window: Window, into: Path) -> Iterator[Path]:
    """With a server that answers."""
    with opened(served, chrome, window) as visitor:
        visitor.click(336, 120)
        visitor.click(356, 140, positive=False)
        yield shot(visitor, into, "session", window)
        visitor.page.locator("#learning").scroll_into_view_if_needed()
        yield shot(visitor, into, "learning", window)
        visitor.page.get_by_role("button", name="Roll back to an earlier decoder").click()
        yield shot(visitor, into, "menu", window)
        visitor.page.keyboard.press("Escape")
        visitor.page.keyboard.press("?")
        yield shot(visitor, into, "keys", window)
        visitor.page.keyboard.press("Escape")
        visitor.key("Escape")
    with opened(served, chrome, window) as visitor:
        visitor.key("g")
        visitor.page.get_by_role("group", name="Proposals").wait_for()
        yield shot(visitor, into, "proposals", window)
    with chrome.visit("about:blank", window) as visitor:
        nothing = {"total": 0, "done": 0, "items": []}
        visitor.page.route("**/api/images?**", lambda route: route.fulfill(json=nothing))
        visitor.page.goto(served.url)
        visitor.page.get_by_role("heading", name="No images in this folder").wait_for()
        yield shot(visitor, into, "empty", window)


def away(served: Served, chrome: Browser, window: Window, into: Path) -> Iterator[Path]:
    """With a server that was killed, and one that refuses what was asked."""
    with opened(served, chrome, window) as visitor:
        visitor.click(336, 120)
        served.kill()
        visitor.until("document.querySelector('[role=alert]') !== null")
        yield shot(visitor, into, "away", window)
        served.start()
        visitor.settled()
        visitor.page.route("**/api/labels", lambda route: route.fulfill(status=503, json=REFUSED))
        visitor.page.get_by_label("New label").fill("coin")
        visitor.page.get_by_label("New label").press("Enter")
        visitor.page.get_by_text("the disk is full").wait_for()
        yield shot(visitor, into, "refused", window)


REFUSED = {"error": {"code": "disk", "message": "the disk is full: free some space and try again"}}


@contextmanager
def opened(served: Served, chrome: Browser, window: Window) -> Iterator[Visitor]:
    """The coins, as a browser shows them that was never here."""
    with chrome.visit(served.url, window) as visitor:
        visitor.settled()
        yield visitor


def shot(visitor: Visitor, into: Path, state: str, window: Window) -> Path:
    path = into / f"{state}-{window.width}-{window.theme}.png"
    time.sleep(0.3)  # transitions
    visitor.picture(path)
    return path
