"""The house holds: every import follows the table of rooms, and none leads back to where it came from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT: dict[str, set[str]] = {
    "engine": set(),
    "export": {"engine"},
    "adapter": {"engine"},
    "api": {"engine", "export", "adapter"},
    "benchmarks": {"engine", "export", "adapter", "api"},
    "app": {"engine", "export", "adapter", "benchmarks", "api"},
}
FOLDERS = [folder for folder in MAY_IMPORT if (ROOT / folder).is_dir()]


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    """``engine/view/zoom.py`` is ``livesam.engine.view.zoom``; ``api`` is ``livesam`` itself."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "api":
        del parts[0]
    if parts and parts[-1] == "__init__":
        del parts[-1]
    return ".".join(["livesam", *parts])


PATHS = {module_name(path): path for folder in FOLDERS for path in sources(folder)}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import in a file, inside functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in PATHS else node.module or ""


def folder_of(module: str) -> str:
    """The folder that a module of ours lives in."""
    path = PATHS.get(module)
    return module.split(".")[1] if path is None else path.relative_to(ROOT).parts[0]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Every strongly connected set of more than one node, or a node that leads to itself (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for follower in sorted(graph.get(node, ())):
            if follower not in index:
                visit(follower)
                low[node] = min(low[node], low[follower])
            elif follower in stack:
                low[node] = min(low[node], index[follower])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1 or node in graph.get(node, ()):
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_arrow_is_in_the_table(folder: str) -> None:
    allowed = {folder} | MAY_IMPORT[folder]
    wrong = []
    for path in sources(folder):
        for line, name in imports(path):
            if name.split(".")[0] in MAY_IMPORT:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}: write livesam.{name}")
            elif name.startswith("livesam.") and folder_of(name) not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_no_module_leads_back_to_itself() -> None:
    graph = {name: {target for _, target in imports(path) if target in PATHS} for name, path in PATHS.items()}
    assert circles(graph) == []


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"a"}}) == [["a"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []
