"""Whether a database is whole, looked at when it is opened: what is damaged is named, and the rest goes on."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import struct
from pathlib import Path

from livesam.app.server.schema import SEALED, sum_of
from livesam.engine.files.atomic import atomic_write

log = logging.getLogger(__name__)

OF_INDEXES = ("missing from index", "in index", "non-unique entry")  # what SQLite says of them alone


class Damaged(ValueError):
    """Pages of the database are no pages of a database."""


def check(database: sqlite3.Connection) -> list[str]:
    """Look at every page and every object. Damaged objects are set aside, into the table ``damaged``.

    Returns:
        A sentence for each object that was.

    Raises:
        Damaged: pages are damaged; ``livesam.app.server.salvage`` reads what can be read.
        sqlite3.Error: as Damaged, or nothing can be read at all.
    """
    found = _problems(database)
    if found and all(any(said in one for said in OF_INDEXES) for one in found):
        log.warning("an index of the database was damaged and is made anew: %s", found[0])
        with database:
            database.execute("REINDEX")
        found = _problems(database)
    if found:
        raise Damaged(f"it is damaged ({found[0]})")
    return [_set_aside(database, number) for number in _damaged(database)]


def _problems(database: sqlite3.Connection) -> list[str]:
    return [line for (said,) in database.execute("PRAGMA integrity_check(20)") for line in _lines(str(said))]


def _lines(said: str) -> list[str]:
    return [one for one in said.splitlines() if one != "ok" and not one.startswith("***")]


def _damaged(database: sqlite3.Connection) -> list[object]:
    """The numbers of objects whose row has another sum."""
    before = database.text_factory
    database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        rows = database.execute(f"SELECT {SEALED}, sum FROM objects")
        return [row[0] for row in rows if row[-1] != sum_of(tuple(row)[:-1])]
    finally:
        database.text_factory = before


def _set_aside(database: sqlite3.Connection, number: object) -> str:
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS damaged AS SELECT * FROM objects WHERE 0")
        database.execute("INSERT INTO damaged SELECT * FROM objects WHERE id IS ?", (number,))
        database.execute("DELETE FROM objects WHERE id IS ?", (number,))
    return f"object {number} is damaged and was set aside, into the table 'damaged': click it anew"


def check_log(path: Path) -> str | None:
    """Before anybody opens a database: whether its write-ahead log has more than SQLite will read of it.

    SQLite reads a log up to the first damaged frame, and forgets the rest without a word. A copy of such a log is
    kept beside it. Wrong while another process writes: call it where none can.

    Returns:
        What is lost, as a sentence; None for a log that is whole, or none.
    """
    wal = path.with_name(path.name + "-wal")
    if not wal.is_file():
        return None
    data = wal.read_bytes()
    committed = _committed(data)
    if committed == 0:
        return None
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            _, valid, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return None  # the database itself is damaged, which ``check`` says
        if valid >= committed:
            return None
        kept = wal.with_name(wal.name + ".damaged")
        with atomic_write(kept) as file:  # before it is closed, which removes the log
            file.write(data)
    return f"{wal} is damaged: SQLite reads {max(valid, 0)} of its {committed} pages; {kept.name} is a copy of all"


def _committed(data: bytes) -> int:
    """Up to which frame a log was committed, by its frames' own words; at least 1 where its header is damaged."""
    if len(data) <= 32:
        return 0
    magic, _, page, _, salt, other, first, second = struct.unpack(">8I", data[:32])
    sound = magic in (0x377F0682, 0x377F0683) and _checksum(data[:24], big=bool(magic & 1)) == (first, second)
    if not sound or page < 512:
        return 1
    last = 0
    for number, start in enumerate(range(32, len(data) - page - 23, page + 24), 1):
        _, size, one, two = struct.unpack_from(">4I", data, start)
        if size and (one, two) == (salt, other):
            last = number
    return last


def _checksum(data: bytes, big: bool) -> tuple[int, int]:
    """As https://sqlite.org/fileformat2.html, section 4.2, says."""
    a = b = 0
    for x, y in struct.iter_unpack(">2I" if big else "<2I", data):
        a = (a + x + b) & 0xFFFFFFFF
        b = (b + y + a) & 0xFFFFFFFF
    return a, b
