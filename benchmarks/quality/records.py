"""The diary of an evaluation: one JSON line an object, so a run that was killed goes on where it stood."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from livesam.benchmarks.quality.protocol import ObjectRecord


class RecordStore:
    """Records of one run by set, in memory and, with a path, on disk.

    Every line is written through before the next object. The first line holds the run's settings; a file of other
    settings is refused, never mixed or overwritten. A last line that was cut off by a kill is dropped.

    Raises:
        ValueError: the file is not such a diary, or it belongs to a run with other settings.
    """

    def __init__(self, settings: Mapping[str, Any], path: Path | None = None) -> None:
        self.path = path
        self._settings = json.loads(json.dumps(settings))  # tuples become lists, as they do on disk
        self._records: dict[str, list[ObjectRecord]] = {}
        self._finished: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists() and path.stat().st_size:
            self._read(path)
        elif path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append({"settings": self._settings})

    def records(self, dataset: str) -> list[ObjectRecord]:
        """The set's objects so far, in their order."""
        return list(self._records.get(dataset, []))

    def finished(self, dataset: str) -> dict[str, Any] | None:
        """The stats that closed the set, None where it is not finished."""
        return self._finished.get(dataset)

    def add(self, dataset: str, record: ObjectRecord) -> None:
        self._records.setdefault(dataset, []).append(record)
        self._append({"set": dataset, **asdict(record)})

    def finish(self, dataset: str, stats: Mapping[str, Any]) -> None:
        """Close a set: it is not run again."""
        self._finished[dataset] = dict(stats)
        self._append({"finished": dataset, "stats": dict(stats)})

    def restart(self, dataset: str) -> None:
        """Forget an unfinished set: what an adapting method had learnt in it died with its process."""
        self._records.pop(dataset, None)
        self._rewrite()

    def _append(self, line: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self) -> None:
        if self.path is None:
            return
        lines: list[dict[str, Any]] = [{"settings": self._settings}]
        for dataset, records in self._records.items():
            lines += [{"set": dataset, **asdict(record)} for record in records]
        lines += [{"finished": dataset, "stats": stats} for dataset, stats in self._finished.items()]
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.write_text(
            "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines), encoding="utf-8"
        )
        os.replace(temporary, self.path)

    def _read(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        whole = text.endswith("\n")
        lines = text.splitlines()
        entries: list[dict[str, Any]] = []
        for number, line in enumerate(lines, 1):
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number == len(lines) and not whole:
                    break
                raise ValueError(
                    f"{path}, line {number} is damaged ({error}): remove the file to start anew"
                ) from error
        if not entries or "settings" not in entries[0]:
            raise ValueError(f"{path} is not a diary of an evaluation: name another file or remove it")
        differing = [
            f"{key} is {entries[0]['settings'].get(key)!r} there and {self._settings.get(key)!r} now"
            for key in sorted({*entries[0]["settings"], *self._settings})
            if entries[0]["settings"].get(key) != self._settings.get(key)
        ]
        if differing:
            raise ValueError(f"{path} belongs to another run ({'; '.join(differing)}): name another file or remove it")
        for entry in entries[1:]:
            if "finished" in entry:
                self._finished[entry["finished"]] = entry["stats"]
            else:
                self._records.setdefault(entry.pop("set"), []).append(record_from_json(entry))
        if not whole:
            self._rewrite()


def record_from_json(entry: Mapping[str, Any]) -> ObjectRecord:
    """The inverse of ``dataclasses.asdict`` after a trip through JSON."""
    return ObjectRecord(
        name=entry["name"],
        ious=tuple(entry["ious"]),
        reached=entry["reached"],
        clicks=tuple((x, y, positive) for x, y, positive in entry["clicks"]),
        click_ms=tuple(entry["click_ms"]),
        step_ms=tuple(entry["step_ms"]),
        encode_ms=entry["encode_ms"],
    )
