"""The package on disk is the package that is installed, and loads only what is needed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]

FOLDERS = ("api", "engine", "export", "adapter", "benchmarks", "app")
NOT_IN_THE_WHEEL = ("adapter/training", "benchmarks/gpu", "benchmarks/page", "benchmarks/peers")
CORE_HEAVY = {"torch", "torchvision", "segment_anything", "onnx"}
EXTRAS = {
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "skimage",
    "matplotlib",
    "transformers",
    "pynvml",
    "psutil",
    "scipy",
    "playwright",
    "anywidget",
    "ray",
    "pyarrow",
    "fsspec",
}


def _sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def _module(path: Path) -> str:
    parts = ["livesam", *path.relative_to(ROOT).with_suffix("").parts]
    if parts[1] == "api":  # the package itself
        del parts[1]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _shipped(folder: str) -> list[Path]:
    """The sources of a folder that a wheel has; the others may need what is installed for who works on livesam."""
    return [path for path in _sources(folder) if not path.relative_to(ROOT).as_posix().startswith(NOT_IN_THE_WHEEL)]


MODULES = [_module(path) for folder in FOLDERS for path in _shipped(folder)]


def test_package_list_is_what_is_on_disk() -> None:
    folders = {path.parent for folder in FOLDERS for path in _sources(folder)}
    on_disk = {_module(folder / "__init__.py"): folder.relative_to(ROOT).as_posix() for folder in folders}
    assert set(SETUPTOOLS["packages"]) == set(on_disk)
    assert dict(SETUPTOOLS["package-dir"]) == on_disk
    for folder in folders:
        assert (folder / "__init__.py").is_file(), f"{folder} would be left out of the install"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel of this tree, built from a copy, so that no ``build/lib`` stays behind."""
    tree, out = tmp_path_factory.mktemp("tree") / "copy", tmp_path_factory.mktemp("wheel")
    names = (".*", "build", "dist", "out", "runs", "tests", "__pycache__", "*.egg-info", "node_modules")
    leave = shutil.ignore_patterns(*names)
    shutil.copytree(ROOT, tree, ignore=leave)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out]
    done = subprocess.run([*command, tree], capture_output=True, text=True, cwd=tree)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        return archive.namelist()


def test_a_wheel_has_what_is_used_and_not_what_livesam_is_made_with(wheel: list[str]) -> None:
    for folder in FOLDERS:
        for path in _shipped(folder):
            assert f"livesam/{path.relative_to(ROOT).as_posix().removeprefix('api/')}" in wheel
    assert "livesam/engine/models/weights/nano.safetensors" in wheel
    assert "livesam/engine/py.typed" in wheel
    assert {"livesam/widget.js", "livesam/app/page/built/index.html", "livesam/app/page/built/page.js"} <= set(wheel)
    assert [name for name in wheel if name.endswith((".ts", ".tsx"))] == []
    unwanted = [
        name
        for name in wheel
        if name.removeprefix("livesam/").startswith((*NOT_IN_THE_WHEEL, "benchmarks/results"))
        or name.endswith((".png", ".jpg", ".json", ".jsonl", ".ipynb"))
    ]
    assert unwanted == []


def test_an_editable_install_has_all_of_it() -> None:
    from importlib.util import find_spec

    engine = find_spec("livesam.engine")
    if engine is None or "__editable__" not in str(engine.origin):
        pytest.skip("livesam is not installed as editable here")
    assert [folder for folder in NOT_IN_THE_WHEEL if find_spec("livesam." + folder.replace("/", ".")) is None] == []


def test_nothing_of_the_wheel_needs_what_is_not_in_it() -> None:
    absent = tuple("livesam." + folder.replace("/", ".") for folder in NOT_IN_THE_WHEEL)
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} imports {node.module}"
        for folder in FOLDERS
        for path in _shipped(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(absent)
    ]
    assert wrong == []


def test_every_dependency_is_imported_somewhere() -> None:
    """By its import name; ``torchvision`` is segment-anything's."""
    names = {"opencv-python-headless": "cv2", "pillow": "PIL", "segment-anything": "segment_anything"}
    listed = [re.split(r"[<>=]", entry)[0] for entry in PYPROJECT["project"]["dependencies"]]
    text = "\n".join(path.read_text() for folder in FOLDERS for path in _shipped(folder))
    unused = [
        name
        for name in listed
        if name != "torchvision" and not re.search(rf"^\s*(import|from) {names.get(name, name)}\b", text, re.MULTILINE)
    ]
    assert unused == []


def test_nothing_at_the_root_shadows_the_install() -> None:
    assert not (ROOT / "livesam").exists()
    assert not (ROOT / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_each_runtime_is_imported_where_it_is_needed_only() -> None:
    """Heavy optional packages are never imported at a module's top level: the module must import without them."""
    wrong = []
    for folder in FOLDERS:
        for path in _shipped(folder):
            for node in ast.parse(path.read_text()).body:
                names = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno} {n}" for n in names if n.split(".")[0] in EXTRAS]
    assert wrong == []


@pytest.mark.parametrize("folder", ["engine", "export", "adapter", "benchmarks"])
def test_library_code_never_prints(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _sources(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


# None in sys.modules is how Python itself marks a module that cannot be imported; find_spec then says "not there" too.
BLOCKER = """
import importlib, sys
sys.modules.update(dict.fromkeys({blocked!r}))
for module in {modules!r}:
    importlib.import_module(module)
loaded = sorted(name for name in {watched!r} if sys.modules.get(name))
sys.exit(f"imported: {{loaded}}" if loaded else 0)
"""


def _import_in_fresh_process(modules: list[str], blocked: set[str], watched: set[str]) -> None:
    code = BLOCKER.format(blocked=sorted(blocked), modules=modules, watched=sorted(watched))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env={**os.environ})
    assert done.returncode == 0, done.stderr


def test_engine_imports_nothing_heavy() -> None:
    _import_in_fresh_process(["livesam.engine"], set(), CORE_HEAVY | EXTRAS | {"cv2"})


def test_the_command_imports_nothing_heavy() -> None:
    _import_in_fresh_process(["livesam.app.main"], set(), CORE_HEAVY | EXTRAS | {"cv2", "numba", "PIL"})


def test_every_module_imports_without_the_extras() -> None:
    _import_in_fresh_process(MODULES, EXTRAS, set())


def test_version_is_the_installed_one() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("livesam")
    except PackageNotFoundError:
        pytest.skip("livesam is linked into this environment, not installed")
    assert installed == PYPROJECT["project"]["version"]


def test_both_onnxruntimes_are_never_in_one_extra() -> None:
    for name, packages in PYPROJECT["project"]["optional-dependencies"].items():
        found = [p for p in packages if p.startswith("onnxruntime")]
        assert len(found) <= 1, name
