"""A long measurement in sections: each is timed, may be skipped with a reason, and is on disk before the next one."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livesam.engine.files.atomic import write_json


class Skipped(Exception):
    """Raised by a section that cannot be measured here; the message is the reason that goes into the report."""


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        name: its key in the report.
        measure: the function that measures it, which returns a JSON object.
        budget_s: what it takes at most on the machine that it is meant for; it does not begin with less left.
    """

    name: str
    measure: Callable[[], Mapping[str, Any]]
    budget_s: float = 0.0


@dataclass
class SectionRunner:
    """Runs sections within a time limit and keeps the report file complete after each.

    Attributes:
        head: what the report starts with.
        limit_s: a section is skipped when its budget does not fit into what is left of so many seconds.
        out: the report's file; None keeps it in memory.
        progress: called with a section's name before it, and with a line about its outcome after it.
        span: a context manager around each section, e.g. an NVTX range.
        started: when the time began, by ``time.perf_counter``; None for the moment of ``run``.
    """

    head: Mapping[str, Any]
    limit_s: float
    out: Path | None = None
    progress: Callable[[str], None] | None = None
    span: Callable[[str], contextlib.AbstractContextManager[Any]] | None = None
    started: float | None = None
    results: dict[str, Any] = field(default_factory=dict)

    def run(self, sections: Sequence[Section]) -> dict[str, Any]:
        """Run all sections and return the report.

        A section that fails does not end the run: its error is what the report says of it, so that one missing library
        on a borrowed machine does not cost the other figures.
        """
        self.started = time.perf_counter() if self.started is None else self.started
        self._write()
        for section in sections:
            left = self.limit_s - self._elapsed()
            if left < max(section.budget_s, 0.0) or left <= 0:
                reason = f"{max(left, 0):.0f} of {self.limit_s:g} s were left, and it may take {section.budget_s:g}"
                self.results[section.name] = {"skipped": reason}
                self._say(_line(section.name, self.results[section.name]))
                continue
            self._say(section.name)
            begun = time.perf_counter()
            with (self.span or _nothing)(section.name):
                self.results[section.name] = _outcome(section)
            self.results[section.name]["section_s"] = round(time.perf_counter() - begun, 2)
            self._say(_line(section.name, self.results[section.name]))
            self._write()
        return self._write()

    def _elapsed(self) -> float:
        return time.perf_counter() - (self.started or 0.0)

    def _write(self) -> dict[str, Any]:
        report = {**self.head, "seconds": round(self._elapsed(), 1), "sections": self.results}
        if self.out is not None:
            write_json(self.out, report)
        return report

    def _say(self, line: str) -> None:
        if self.progress is not None:
            self.progress(line)


def _outcome(section: Section) -> dict[str, Any]:
    try:
        measured = dict(section.measure())
        json.dumps(measured, allow_nan=False)
    except Skipped as reason:
        return {"skipped": str(reason)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return measured


def _line(name: str, result: Mapping[str, Any]) -> str:
    for word in ("skipped", "error"):
        if word in result:
            return f"{name}: {word}: {result[word]}"
    return f"{name}: {result['section_s']} s"


@contextlib.contextmanager
def _nothing(_: str) -> Iterator[None]:
    yield
