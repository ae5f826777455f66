"""A process that tells how far it is, and does not outlive who asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from livesam.engine.values.errors import ExportError
from livesam.export.preparing import child as child_module
from livesam.export.preparing.child import Child


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module in the child's place."""

    def write(body: str) -> None:
        name = f"stand_in_for_child_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text("import json, os, sys, time\n" + textwrap.dedent(body))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(child_module, "MODULE", name)

    return write


def test_stages_are_told_and_noise_is_not(script) -> None:
    script("""
        print("a library says hello")
        print(3)
        print(json.dumps({"stage": 1}))
        print(json.dumps({"error": "of a library", "code": 2}))
        print(json.dumps({"stage": "loading " + json.loads(sys.argv[1])["model"]}))
        print(json.dumps({"done": "yes"}))
        print([])
        print(0.5)
    """)
    told: list[str] = []
    Child({"model": "nano"}).follow(told.append)
    assert told == ["loading nano"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('print(json.dumps({"error": "there is no memory"}))', "there is no memory"),
        ("os.kill(os.getpid(), 9)", "ended with code -9 .killed; is there enough memory"),
        ("sys.exit(3)", "ended with code 3$"),
        ("sys.stderr.write('x' * 9000)\nraise RuntimeError('no graph')", "ended with code 1: RuntimeError: no graph"),
        ('print(json.dumps({"stage": "loading"}))', "ended with code 0"),
    ],
)
def test_a_failure_is_told(script, body: str, said: str) -> None:
    script(body)
    with pytest.raises(ExportError, match=said):
        Child({}).follow(lambda stage: None)


def test_it_can_be_ended(script) -> None:
    script('print(json.dumps({"stage": "building"}), flush=True)\ntime.sleep(60)')
    child = Child({})
    with pytest.raises(ExportError, match="-9"):
        child.follow(lambda stage: child.kill())


def test_it_ends_with_its_parent() -> None:
    """The real child's watch, in the middle of something: the other end of its pipe closes when a parent is killed."""
    code = (
        "import threading, time\nfrom livesam.export.preparing import child_main, prepare\n"
        "prepare.prepare = lambda *_: (child_main._say(stage='building'), time.sleep(60))\n"
        'child_main.main(\'{"checkpoint": null, "cache_dir": null}\')\n'
    )
    middle = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {code!r}], stdin=subprocess.PIPE).wait()"
    reading, writing = os.pipe()
    parent = subprocess.Popen([sys.executable, "-c", middle], stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert json.loads(told.readline()) == {"stage": "building"}
        parent.kill()
        assert told.read() == ""  # the end of the pipe: the child, which also has it, is gone
    parent.wait()


def test_the_real_child_tells_what_is_wrong(tmp_path: Path) -> None:
    wrong = {"model": "vit_b", "checkpoint": tmp_path / "none.pth", "cache_dir": tmp_path}
    with pytest.raises(ExportError, match=r"no file .*none\.pth"):
        Child(wrong).follow(lambda stage: None)
