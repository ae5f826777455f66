"""The built files are of the sources that lie beside them. No node is needed to see that."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from livesam.app.page import TYPES, built

PAGE = Path(__file__).resolve().parents[3] / "app" / "page"
NOT_SOURCES = {"node_modules", "built", "__pycache__"}


def sources() -> dict[str, str]:
    return {
        path.relative_to(PAGE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in PAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and not NOT_SOURCES & set(path.relative_to(PAGE).parts)
    }


def test_the_built_page_is_of_these_sources() -> None:
    lines = (PAGE / "built" / "MANIFEST.txt").read_text().splitlines()
    recorded = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    assert recorded == sources(), "the sources have changed: cd app/page && npm ci && npm run build"


def test_the_install_has_the_built_page() -> None:
    names = {path.name for path in built().iterdir()}
    assert {"index.html", "page.js", "page.css", "icon.svg"} <= names
    assert {Path(name).suffix[1:] for name in names - {"MANIFEST.txt"}} == set(TYPES)


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_script() -> None:
    html = (built() / "index.html").read_text()
    assert re.findall(r'(?:src|href)="([^"]+)"', html) == ["/icon.svg", "/page.css", "/page.js"]
    assert re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|<style|style=", html) is None
    for name in ("page.js", "page.css"):
        text = (built() / name).read_text()
        urls = set(re.findall(r"https?://[\w./-]+", text)) - {"http://www.w3.org/2000/svg"}
        assert {url for url in urls if not url.startswith("http://www.w3.org/")} == set()
        assert re.search(r"\beval\(|new Function\(", text) is None


def test_the_document_has_every_key() -> None:
    """Written as the page writes them."""
    names = {"arrowright": "→", "arrowleft": "←", "escape": "Esc", "enter": "Enter", "tab": "Tab"}
    rows = re.findall(r'^  \["([^"]+)", "(\w+)", "([^"]+)", ', (PAGE / "src" / "state" / "keys.ts").read_text(), re.M)
    assert len(rows) > 25
    said = (PAGE.parents[1] / "docs" / "annotating.md").read_text()
    for group, action, keys in rows:
        if group == "Without a mouse" and action not in ("add", "remove"):
            keys = "alt+arrows"
        for key in keys.split():
            parts = [key] if len(key) == 1 else key.split("+")
            name = "+".join(names.get(part, part.upper() if len(part) == 1 else part.capitalize()) for part in parts)
            assert name.replace("Arrows", "arrows") in said or f"`{name}`" in said, (action, name)
