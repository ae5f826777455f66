"""What can still be read of a damaged database, in a new one."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livesam.app.server.database import FILE, copied
from livesam.app.server.gallery import Gallery
from livesam.app.server.lock import only_here
from livesam.app.server.schema import SEALED, TABLES, VERSION, sum_of
from livesam.engine.values.errors import LivesamError

KEYS = {"meta": "key", "images": "id", "labels": "name", "versions": "domain, number", "keys": "key", "clicks": "id"}
COLUMNS = SEALED.split(", ")


@dataclass(slots=True)
class Salvaged:
    """What came of it.

    Attributes:
        objects: that are whole, and in the new database.
        lost: numbers of those that are not.
        aside: where the damaged database lies now.
    """

    objects: int
    lost: list[int]
    aside: Path


def salvage(out: Path) -> Salvaged:
    """Put what can be read of an output folder's database into a new one; the damaged one is kept beside it.

    Raises:
        LivesamError: a server is at work in the folder, or nothing can be read.
        OSError: the folder cannot be written to.
    """
    path = out / FILE
    new = path.with_name(f"{FILE}.new")
    with only_here(out):
        new.unlink(missing_ok=True)
        try:
            with _opened(path) as old, contextlib.closing(sqlite3.connect(new)) as made:
                made.executescript(TABLES + f"PRAGMA user_version = {VERSION};")
                with made:
                    found = _copy(old, made, out)
        except sqlite3.Error as error:
            new.unlink(missing_ok=True)
            raise LivesamError(f"nothing of {path} can be read: {error}; move it away, and begin anew") from error
        aside = next(name for name in _names(path) if not name.exists())
        for end in ("", "-wal", "-shm"):
            if path.with_name(FILE + end).exists():
                os.replace(path.with_name(FILE + end), aside.with_name(aside.name + end))
        os.replace(new, path)
    return Salvaged(found[0], found[1], aside)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the database, as long as its header says: one that was cut off SQLite does not open."""
    with copied(path) as copy:
        with copy.open("r+b") as file:
            head = file.read(32)
            if len(head) == 32:
                page, pages = struct.unpack(">H", head[16:18])[0], struct.unpack(">I", head[28:32])[0]
                size = file.seek(0, os.SEEK_END)
                file.truncate(max(size, min(page * pages, 16 * size)))
        with contextlib.closing(sqlite3.connect(copy)) as database:
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            database.execute("PRAGMA cell_size_check = ON")
            database.execute("SELECT * FROM sqlite_master").fetchall()  # what its tables are has to be known
            yield database


def _names(path: Path) -> Iterator[Path]:
    number = 1
    while True:
        yield path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        number += 1


def _copy(old: sqlite3.Connection, made: sqlite3.Connection, out: Path) -> tuple[int, list[int]]:
    for table, key in KEYS.items():
        for row in _readable(old, table, key):
            made.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    images = {row[0] for row in made.execute("SELECT id FROM images")}
    names = _names_of_images(made, out)
    whole = 0
    lost: list[int] = []
    for number in range(1, _last(old) + 1):
        found = _object(old, number)
        if found is None:
            continue
        image = found.get("image")
        if image in names and image not in images:  # its own row is lost
            values = (image, names[image], *_from_log(found["log"]))
            made.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, 0)", values)
            images.add(image)
        if image not in images:
            lost.append(number)
            continue
        sealed = tuple(found[name] for name in COLUMNS)
        marks = ", ".join("?" * (len(sealed) + 1))
        made.execute(f"INSERT INTO objects ({SEALED}, sum) VALUES ({marks})", (*sealed, sum_of(sealed)))
        whole += 1
    return whole, lost


def _readable(old: sqlite3.Connection, table: str, key: str) -> Iterator[tuple[Any, ...]]:
    """A table's rows from its beginning to the first damaged page, and from its end."""
    for order in ("", " DESC"):
        by = ", ".join(f"{one}{order}" for one in key.split(", "))
        with contextlib.suppress(sqlite3.Error):
            yield from old.execute(f"SELECT * FROM {table} ORDER BY {by}")


def _last(old: sqlite3.Connection) -> int:
    """The highest number of an object that was ever given, as far as one can be read."""
    found = 0
    for sql in ("SELECT seq FROM sqlite_sequence WHERE name = 'objects'", "SELECT max(id) FROM objects"):
        with contextlib.suppress(sqlite3.Error):
            found = max(found, int((old.execute(sql).fetchone() or (0,))[0] or 0))
    return min(found, 10_000_000)


def _object(old: sqlite3.Connection, number: int) -> dict[str, Any] | None:
    """An object's row; an empty one where it is damaged, None where there is none."""
    try:
        row = old.execute(f"SELECT {SEALED} FROM objects WHERE id = ?", (number,)).fetchone()
        if row is None:
            return None
        try:
            (total,) = old.execute("SELECT sum FROM objects WHERE id = ?", (number,)).fetchone()
        except sqlite3.OperationalError:  # version 1 had no sums
            total = sum_of(row)
        found = dict(zip(COLUMNS, row, strict=True))
        zlib.decompress(found["bits"])
        return found if total == sum_of(row) else {}
    except (sqlite3.Error, zlib.error, TypeError):
        return {}


def _names_of_images(made: sqlite3.Connection, out: Path) -> dict[str, str]:
    """Names by ids, of the images in the folder that was served."""
    row = made.execute("SELECT value FROM meta WHERE key = 'folder'").fetchone()
    folder = None if row is None else Path(row[0])
    return (
        {} if folder is None or not folder.is_dir() else {one.id: one.name for one in Gallery(folder, out).pictures()}
    )


def _from_log(text: str) -> tuple[str, int, int]:
    found = json.loads(text)
    return str(found["image_hash"]), int(found["hw"][1]), int(found["hw"][0])
