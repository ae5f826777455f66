from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from livesam.benchmarks.gpu.sections import Section, SectionRunner, Skipped


def _skip() -> Mapping[str, Any]:
    raise Skipped("no such library")


def _fail() -> Mapping[str, Any]:
    raise RuntimeError("out of memory")


def test_one_bad_section_costs_no_other(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    spans: list[str] = []

    @contextlib.contextmanager
    def span(name: str) -> Iterator[None]:
        spans.append(name)
        yield

    def reads_the_file() -> Mapping[str, Any]:
        return {"so_far": sorted(json.loads(out.read_text())["sections"])}

    runner = SectionRunner({"device": "toy"}, 60, out, span=span)
    report = runner.run(
        [
            Section("good", lambda: {"ms": 1.5}),
            Section("skipped", _skip),
            Section("broken", _fail),
            Section("not json", lambda: {"ms": float("nan")}),
            Section("last", reads_the_file),
        ]
    )
    assert report == json.loads(out.read_text())
    sections = report["sections"]
    assert report["device"] == "toy"
    assert sections["good"]["ms"] == 1.5
    assert sections["skipped"]["skipped"] == "no such library"
    assert sections["broken"]["error"] == "RuntimeError: out of memory"
    assert "ValueError" in sections["not json"]["error"]
    assert sections["last"]["so_far"] == ["broken", "good", "not json", "skipped"]  # all on disk before it began
    assert spans == ["good", "skipped", "broken", "not json", "last"]


def test_time_limit_is_told() -> None:
    lines: list[str] = []
    report = SectionRunner({}, -1, progress=lines.append).run([Section("late", lambda: {"ms": 1})])
    assert "0 of -1 s were left" in report["sections"]["late"]["skipped"]
    assert lines == ["late: skipped: 0 of -1 s were left, and it may take 0"]


def test_what_does_not_fit_makes_room_for_what_does() -> None:
    sections = [Section("long", lambda: {"ms": 1}, 500.0), Section("short", lambda: {"ms": 2}, 1.0)]
    found = SectionRunner({}, 60).run(sections)["sections"]
    assert "it may take 500" in found["long"]["skipped"]
    assert found["short"]["ms"] == 2


def test_the_limit_counts_from_the_given_start() -> None:
    runner = SectionRunner({}, 60, started=time.perf_counter() - 59.5)
    assert "skipped" in runner.run([Section("late", lambda: {"ms": 1}, 2.0)])["sections"]["late"]
