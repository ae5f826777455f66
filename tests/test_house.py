"""The house holds: imports follow the table of rooms, none leads back, and files and functions stay short."""

from __future__ import annotations

import ast
import re
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
    "examples": {"api"},
}
FOLDERS = list(MAY_IMPORT)


def sources(folder: str) -> list[Path]:
    """A room's files; none in a room that is not there, which a test says."""
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


def test_every_room_is_there() -> None:
    assert [folder for folder in FOLDERS if not sources(folder)] == []


def test_examples_come_in_by_the_front_door() -> None:
    """What a reader copies from them is what stays."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources("examples")
        for line, name in imports(path)
        if name.split(".")[0] == "livesam" and name != "livesam"
    ]
    assert wrong == []


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


MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 300, 60, 8  # lines, lines, count

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function)]


def is_command(function: Function) -> bool:
    """Whether a program's arguments are made from its signature, which then says what each is for."""
    arguments = function.args.args + function.args.kwonlyargs
    return any(
        argument.annotation and ast.unparse(argument.annotation).endswith("Option") for argument in arguments
    ) or any(
        argument.annotation and ast.unparse(argument.annotation).startswith("Annotated[") for argument in arguments
    )


def length(function: Function) -> int:
    """Lines of a function, without the signature of a command."""
    first = function.body[0].lineno if is_command(function) else function.lineno
    return (function.end_lineno or first) - first + 1


def parameters(function: Function) -> int:
    """What a caller may give; ``self`` and ``cls`` are not given."""
    arguments = function.args
    given = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in given if name not in ("self", "cls")]) + sum(
        map(bool, (arguments.vararg, arguments.kwarg))
    )


def everywhere() -> Iterator[tuple[str, Function]]:
    for folder in FOLDERS:
        for path in sources(folder):
            for function in functions(path):
                yield f"{path.relative_to(ROOT)}:{function.lineno} {function.name}", function


def test_files_are_short() -> None:
    """A longer one has more than one noun in it."""
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in PATHS.values()}
    assert {name: count for name, count in lines.items() if count > MAX_FILE} == {}


def test_functions_are_short() -> None:
    assert {name: length(one) for name, one in everywhere() if length(one) > MAX_FUNCTION} == {}


def test_functions_take_few_parameters() -> None:
    """What belongs together becomes a frozen dataclass."""
    found = {name: parameters(one) for name, one in everywhere() if not is_command(one)}
    assert {name: count for name, count in found.items() if count > MAX_PARAMETERS} == {}


def test_what_is_counted() -> None:
    source = "def run(\n    self, a, *, b: int = 1, **more\n) -> None:\n    pass\n"
    command = "def run(\n    a: Annotated[int, 1], b: ModelOption\n) -> None:\n    pass\n"
    plain, said = (
        next(node for node in ast.walk(ast.parse(text)) if isinstance(node, Function)) for text in (source, command)
    )
    assert (is_command(plain), length(plain), parameters(plain)) == (False, 4, 3)
    assert (is_command(said), length(said), parameters(said)) == (True, 1, 2)


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def named_and_missing(text: str) -> list[str]:
    """Paths and modules in a text that are not in this tree; ``NAME`` is for the reader to replace."""
    folders = "|".join([*FOLDERS, "tests", "docs"])
    paths = re.findall(rf"(?<![\w/.-])((?:{folders})/[\w/.-]+\.(?:py|md|ipynb))\b", text)
    return [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] + [
        name for name in re.findall(rf"\blivesam(?:\.(?:{'|'.join(FOLDERS)}))(?:\.\w+)*", text) if not known(name)
    ]


def known(name: str) -> bool:
    """Whether a dotted name is a module of ours, or begins with one whose text has the next part."""
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        path = PATHS.get(".".join(parts[:end]))
        if path is not None:
            if end == len(parts):
                return True
            return path.name != "__init__.py" and re.search(rf"\b{parts[end]}\b", path.read_text()) is not None
    return False


def test_what_sources_and_documents_name_is_there() -> None:
    """Paths and modules in docstrings, comments, messages and documents: a reader follows them."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (*PATHS.values(), *DOCUMENTS)}
    assert "README.md" in texts
    assert any(name.startswith("docs/") for name in texts)
    assert {name: missing for name, text in texts.items() if (missing := named_and_missing(text))} == {}


def test_a_missing_name_would_be_found() -> None:
    text = "See `engine/view/zoom.py`, engine/gone.py, livesam.engine.view.zoom.Zoom and livesam.engine.view.gone."
    assert named_and_missing(text) == ["engine/gone.py", "livesam.engine.view.gone"]
