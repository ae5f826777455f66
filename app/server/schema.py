"""The tables of an output folder's database."""

from __future__ import annotations

import sqlite3
import zlib

VERSION = 3  # 1 had no sums, 2 no keys

KEYS = """
CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, object INTEGER NOT NULL) WITHOUT ROWID;
"""
TABLES = f"""
{KEYS}
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT NOT NULL REFERENCES images(id), domain TEXT NOT NULL,
    label TEXT NOT NULL, x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL, y1 INTEGER NOT NULL,
    area INTEGER NOT NULL, iou REAL NOT NULL, version INTEGER NOT NULL, clicks INTEGER NOT NULL,
    source TEXT NOT NULL, created TEXT NOT NULL, bits BLOB NOT NULL, log TEXT NOT NULL, sum INTEGER
);
CREATE INDEX objects_of_image ON objects(image);
CREATE INDEX objects_of_domain ON objects(domain);
CREATE TABLE labels (name TEXT PRIMARY KEY, color TEXT NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE versions (
    domain TEXT NOT NULL, number INTEGER NOT NULL, digest TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (domain, number)
) WITHOUT ROWID;
CREATE TABLE clicks (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, image TEXT NOT NULL, said TEXT NOT NULL, at TEXT NOT NULL
);
"""
# objects.bits is zlib over the bits of the box, each row padded to whole bytes; objects.log the object's steps as JSON;
# objects.sum a CRC-32 over all the rest, because SQLite finds a page that is no page, and not a value that is another.
# keys are what clients gave with their accepts: the same one twice is one object, also where that was deleted since.
SEALED = (
    "id, image, domain, label, x0, y0, x1, y1, area, iou, version, clicks, source, created, bits, log"  # in this order
)


def prepare(database: sqlite3.Connection) -> None:
    """Make the tables where there are none, and those of earlier versions into today's.

    Raises:
        ValueError: they are those of a later livesam.
    """
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise ValueError(f"the database has format {found}, and this livesam reads up to {VERSION}: update livesam")
    if found == 0:
        with database:
            database.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    if found in (1, 2):
        with database:
            database.execute("BEGIN IMMEDIATE")
            if found == 1:
                database.execute("ALTER TABLE objects ADD COLUMN sum INTEGER")
                for (number,) in database.execute("SELECT id FROM objects").fetchall():
                    seal(database, number)
            database.execute(KEYS)
            database.execute(f"PRAGMA user_version = {VERSION}")


def seal(database: sqlite3.Connection, number: int) -> None:
    """Note the sum of an object's row, in the transaction that changed it."""
    row = database.execute(f"SELECT {SEALED} FROM objects WHERE id = ?", (number,)).fetchone()
    if row is not None:
        database.execute("UPDATE objects SET sum = ? WHERE id = ?", (sum_of(row), number))


def sum_of(row: sqlite3.Row | tuple[object, ...]) -> int:
    """The sum of a row of ``SEALED``."""
    return zlib.crc32(repr(tuple(row)).encode("utf-8", "surrogatepass"))
