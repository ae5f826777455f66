"""A headless Chromium at the page, used as a person uses it: by mouse and keys."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import LivesamError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 120.0


def chromium() -> str:
    """Where a Chromium is.

    Raises:
        LivesamError: nowhere.
    """
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise LivesamError("no Chromium is installed: apt-get install chromium")


@dataclass(frozen=True, slots=True)
class Window:
    """How the browser shows the page: width and height in CSS pixels, and real pixels to each of those."""

    width: int = 1280
    height: int = 800
    theme: Literal["light", "dark"] = "light"
    scale: float = 1.0


class Visitor:
    """One tab. What the page and the browser complain of is in ``complaints``."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.complaints = page, []  # type: ignore[var-annotated]
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.goto(url)

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.page.evaluate(script)

    def until(self, script: str) -> None:
        """Wait until an expression is true. The page forbids ``eval``, so it is asked again and again from here.

        Raises:
            LivesamError: it was not in 120 s.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not self.ask(script):
            if time.monotonic() > deadline:
                raise LivesamError(f"the page never came so far that {script}; it said {self.complaints}")
            time.sleep(0.01)

    def settled(self) -> None:
        """Wait until the image is ready, no answer is outstanding, and every mask is painted.

        Asked once, because questions at short intervals take the page's time, and are part of what is measured then.
        """
        self.until("Boolean(window.__livesam)")
        late = f"new Promise((_, no) => setTimeout(() => no(Error('not in {PATIENCE_S:g} s')), {PATIENCE_S * 1e3}))"
        self.ask(f"Promise.race([window.__livesam.whenSettled(), {late}])")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the image is in the window."""
        left, top = self.ask(f"window.__livesam.onScreen({x}, {y})")
        return left, top

    def click(self, x: float, y: float, positive: bool = True, held_s: float = 0.0) -> None:
        """A click on a pixel of the image, with the button down for so long; returns when its mask is there."""
        button: Literal["left", "right"] = "left" if positive else "right"
        self.page.mouse.click(*self.place(x + 0.5, y + 0.5), button=button, delay=held_s * 1e3)
        self.settled()

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw a box, or paint, from one pixel of the image to another."""
        self.page.mouse.move(*self.place(x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self.place((x0 + x1) / 2, (y0 + y1) / 2))
        self.page.mouse.move(*self.place(x1, y1))
        self.page.mouse.up()
        self.settled()

    def key(self, key: str) -> None:
        """Press a key; returns when what it asked for is there."""
        self.page.keyboard.press(key)
        self.settled()

    def painted(self) -> npt.NDArray[np.bool_] | None:
        """The current mask as the page paints it, bool ``(H, W)``; None where there is none."""
        bits = self.ask("window.__livesam.painted()")
        if bits is None:
            return None
        width, height = self.ask("window.__livesam.size()")
        ones: npt.NDArray[np.bool_] = np.frombuffer(bits.encode(), np.uint8).reshape(height, width) == ord("1")
        return ones

    def steps(self) -> int:
        """Prompts of the current object."""
        return int(self.ask("window.__livesam.steps()"))

    def objects(self) -> int:
        """Accepted objects of the image."""
        return int(self.ask("window.__livesam.objects()"))

    def picture(self, path: Path, quality: int | None = None) -> None:
        """A screenshot as PNG, or as JPEG of this quality."""
        kind = {"type": "png"} if quality is None else {"type": "jpeg", "quality": quality}
        self.page.screenshot(path=str(path), **kind)


class Browser:
    """A Chromium without a window. Each visitor comes with nothing in its storage."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium

    @contextmanager
    def visit(self, url: str, window: Window | None = None) -> Iterator[Visitor]:
        """A tab, until the context ends."""
        window = window or Window()
        size = {"width": window.width, "height": window.height}
        page = self._chromium.new_page(viewport=size, color_scheme=window.theme, device_scale_factor=window.scale)
        try:
            yield Visitor(page, url)
        finally:
            page.close()


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium, until the context ends.

    Raises:
        LivesamError: Playwright or Chromium is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise LivesamError("a browser is driven by Playwright: pip install 'livesam[dev]'") from None
    # Chromium refuses its sandbox to root, as which containers run.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium(), args=options)
        try:
            yield Browser(started)
        finally:
            started.close()
