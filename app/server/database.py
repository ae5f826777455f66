"""The database of an output folder: how it is opened, and all of it but images and objects.

Write-ahead logging, and for what was accepted ``synchronous=FULL``: it outlives a killed process and a power cut.
Single clicks are noted with ``NORMAL``: they outlive a killed process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from livesam.app.annotations.values import Label
from livesam.app.server.schema import prepare
from livesam.app.server.soundness import Damaged, check
from livesam.engine.values.errors import LivesamError

log = logging.getLogger(__name__)

FILE = "annotations.sqlite"
COLORS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#9a6324", "#469990")


class Database:
    """The database of an output folder. Thread-safe. In a folder that cannot be written to, a copy of it is read.

    Raises:
        LivesamError: it cannot be opened, is damaged, or of a later livesam.
    """

    def __init__(self, out: Path) -> None:
        self.path = self._place = out / FILE
        self._lock, self._block = threading.RLock(), contextlib.ExitStack()
        opened: list[sqlite3.Connection] = []
        try:
            if self.path.is_file() and not os.access(out, os.W_OK):
                self._place = self._block.enter_context(copied(self.path))
            for synchronous in ("FULL", "NORMAL"):
                opened.append(self._open(synchronous))
            self._safe, self._quick = opened
            prepare(self._safe)
            for said in check(self._safe):
                log.error("%s: %s", self.path, said)
        except (sqlite3.Error, ValueError) as error:
            for one in opened:
                one.close()
            self._block.close()
            whole = isinstance(error, sqlite3.OperationalError) or not isinstance(error, sqlite3.Error | Damaged)
            way = "give another folder with --out, or move the file away"
            way = way if whole else f"`livesam salvage {out}` saves the objects that can still be read"
            raise LivesamError(f"{self.path} cannot be used: {error}; {way}") from error

    def _open(self, synchronous: str) -> sqlite3.Connection:
        database = sqlite3.connect(self._place, check_same_thread=False, timeout=10.0)
        database.row_factory = sqlite3.Row
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {synchronous}")
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close it; everything is on disk already."""
        with self._lock:
            self._quick.close()
            self._safe.close()
            self._block.close()

    # Labels

    def labels(self) -> list[Label]:
        """All of them in their order."""
        with self._lock:
            return [Label(*row) for row in self._safe.execute("SELECT name, color FROM labels ORDER BY place, name")]

    def set_labels(self, labels: Sequence[Label]) -> None:
        """These in this order, and behind them those that objects have and that are left out."""
        with self._lock, self._safe as database:
            used = {row[0] for row in database.execute("SELECT DISTINCT label FROM objects")}
            kept = [one for one in self.labels() if one.name in used - {label.name for label in labels}]
            database.execute("DELETE FROM labels")
            rows = [(one.name, one.color, place) for place, one in enumerate((*labels, *kept))]
            database.executemany("INSERT INTO labels (name, color, place) VALUES (?, ?, ?)", rows)

    def need_label(self, database: sqlite3.Connection, name: str) -> None:
        (count,) = database.execute("SELECT count(*) FROM labels").fetchone()
        database.execute(
            "INSERT OR IGNORE INTO labels (name, color, place) VALUES (?, ?, ?)",
            (name, COLORS[count % len(COLORS)], count),
        )

    # Decoders

    def note_version(self, domain: str, number: int, digest: str) -> None:
        """A version serves: the newest is what a restarted server begins with."""
        with self._lock, self._safe as database:
            sql = "INSERT OR REPLACE INTO versions (domain, number, digest, created) VALUES (?, ?, ?, ?)"
            database.execute(sql, (domain, number, digest, now()))

    def versions(self, domain: str) -> list[tuple[int, str, str]]:
        """A domain's versions, the oldest first: number, digest of the weights, and when."""
        sql = "SELECT number, digest, created FROM versions WHERE domain = ? ORDER BY number"
        with self._lock:
            return [(row[0], row[1], row[2]) for row in self._safe.execute(sql, (domain,))]

    def learning(self, domain: str, usual: bool) -> bool:
        """Whether a domain learns: what a user has said of it, else as usual."""
        said = self.get(f"learning {domain}")
        return said == "on" if said else usual

    def set_learning(self, domain: str, enabled: bool, usual: bool) -> None:
        """A user has said it."""
        self.set(f"learning {domain}", "" if enabled == usual else "on" if enabled else "off")

    # Clicks, and what there is one of

    def note_click(self, session: str, image: str, said: Mapping[str, Any]) -> None:
        """What a user said."""
        with self._lock, self._quick as database:
            sql = "INSERT INTO clicks (session, image, said, at) VALUES (?, ?, ?, ?)"
            database.execute(sql, (session, image, json.dumps(said, allow_nan=False), now()))

    def get(self, key: str) -> str | None:
        """A single fact, e.g. ``image``: the one that was opened last."""
        with self._lock:
            row = self._safe.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        """Note a single fact."""
        with self._lock, self._safe as database:
            self._set(database, key, value)

    def _set(self, database: sqlite3.Connection, key: str, value: str) -> None:
        database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))


@contextlib.contextmanager
def copied(path: Path) -> Iterator[Path]:
    """A copy with its log, for as long as the block lasts: SQLite reads no write-ahead log where it cannot write."""
    with tempfile.TemporaryDirectory(prefix="livesam-") as folder:
        for end in ("-wal", ""):
            if path.with_name(path.name + end).exists():
                shutil.copyfile(path.with_name(path.name + end), Path(folder) / (path.name + end))
        yield Path(folder) / path.name


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
