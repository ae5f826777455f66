"""What is accepted, on disk before the user is told so: one SQLite database in the output folder.

Write-ahead logging, and for what was accepted ``synchronous=FULL``: it outlives a killed process and a power cut.
Single clicks are noted with ``NORMAL``: they outlive a killed process.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.app.annotations.values import Annotated, AnnotatedImage, Label
from livesam.app.server.problems import NotFound
from livesam.app.server.schema import prepare
from livesam.engine.values.errors import LivesamError
from livesam.wire import bits_of, mask_of

FILE = "annotations.sqlite"
COLORS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#9a6324", "#469990")
_COLUMNS = "id, image, domain, label, x0, y0, x1, y1, area, iou, version, clicks, source, created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An object as it is kept, without its mask.

    Attributes:
        box: x0, y0, x1, y1 in whole pixels; x1 and y1 are the first beside it.
        version: the decoder's that gave the mask.
        clicks: clicks and boxes that it took.
        source: ``click``, ``paint``, ``proposal`` or ``import``.
        created: UTC, ISO 8601.
    """

    id: int
    image: str
    domain: str
    label: str
    box: tuple[int, int, int, int]
    area: int
    iou: float
    version: int
    clicks: int
    source: str
    created: str

    def public(self) -> dict[str, Any]:
        """As clients get it."""
        return {key: value for key, value in asdict(self).items() if key not in ("image", "domain")}


class Store:
    """The database of an output folder. Thread-safe.

    Raises:
        LivesamError: it cannot be opened, is damaged, or of a later livesam.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / FILE
        self._lock = threading.RLock()
        try:
            self._safe, self._quick = self._open("FULL"), self._open("NORMAL")
            prepare(self._safe)
        except (sqlite3.Error, ValueError) as error:
            raise LivesamError(
                f"{self.path} cannot be used: {error}; give another folder with --out, or move the file away"
            ) from error

    def _open(self, synchronous: str) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, check_same_thread=False, timeout=10.0)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        return database

    def close(self) -> None:
        """Close it; everything is on disk already."""
        with self._lock:
            self._quick.close()
            self._safe.close()

    # Images

    def note_image(self, image: str, name: str, digest: str, hw: tuple[int, int]) -> None:
        """An image was opened: it is where a restarted server goes on."""
        with self._lock, self._quick as database:
            database.execute(
                "INSERT INTO images (id, name, hash, width, height) VALUES (?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE "
                "SET hash = excluded.hash, width = excluded.width, height = excluded.height",
                (image, name, digest, hw[1], hw[0]),
            )
            self._set(database, "image", image)

    def add_image(self, image: str, name: str, digest: str, hw: tuple[int, int]) -> None:
        """An image that objects are imported for; what is known of it stays."""
        with self._lock, self._safe as database:
            database.execute(
                "INSERT OR IGNORE INTO images (id, name, hash, width, height) VALUES (?, ?, ?, ?, ?)",
                (image, name, digest, hw[1], hw[0]),
            )

    def set_done(self, image: str, done: bool) -> None:
        """Whether the user is through with an image.

        Raises:
            NotFound: it was never opened.
        """
        with self._lock, self._safe as database:
            if database.execute("UPDATE images SET done = ? WHERE id = ?", (int(done), image)).rowcount == 0:
                raise NotFound("this image was never opened: open it first")

    def states(self) -> dict[str, tuple[bool, int]]:
        """Of each image that was opened: whether it is done, and how many objects it has."""
        query = "SELECT i.id, i.done, count(o.id) FROM images i LEFT JOIN objects o ON o.image = i.id GROUP BY i.id"
        with self._lock:
            return {row[0]: (bool(row[1]), row[2]) for row in self._safe.execute(query)}

    def images(self) -> list[sqlite3.Row]:
        """Every image that was opened, by name: ``id``, ``name``, ``hash``, ``width``, ``height``, ``done``."""
        with self._lock:
            return self._safe.execute("SELECT * FROM images ORDER BY name").fetchall()

    # Objects

    def accept(
        self, found: Mapping[str, Any], mask: npt.NDArray[np.bool_], log: Mapping[str, Any], replaces: int | None = None
    ) -> Accepted:
        """Keep an object; it is on disk when this returns.

        Args:
            found: ``image``, ``domain``, ``label``, ``iou``, ``version``, ``clicks`` and ``source``.
            mask: bool ``(H, W)`` of the image.
            log: how it came about, for a replay.
            replaces: the object whose place it takes.

        Raises:
            ValueError: the mask is empty.
            NotFound: the object to replace is gone.
        """
        box, bits = bits_of(mask)
        if box is None:
            raise ValueError("the mask is empty: there is nothing to accept")
        row = {
            **found, "area": int(mask.sum()), "created": _now(), "bits": zlib.compress(bits, 1),
            "log": json.dumps(log, allow_nan=False), **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
        }  # fmt: skip
        with self._lock, self._safe as database:
            self._need_label(database, row["label"])
            if replaces is None:
                names = ", ".join(row)
                sql = f"INSERT INTO objects ({names}) VALUES ({', '.join(f':{name}' for name in row)})"
                number = database.execute(sql, row).lastrowid
            else:
                sql = f"UPDATE objects SET {', '.join(f'{name} = :{name}' for name in row)} WHERE id = :id"
                number = replaces
                if database.execute(sql, {**row, "id": replaces}).rowcount == 0:
                    raise NotFound("the object that was edited is gone: accept it as a new one")
            return self._object(database, int(number or 0))

    def object(self, number: int) -> Accepted:
        """One object.

        Raises:
            NotFound: there is none.
        """
        with self._lock:
            return self._object(self._safe, number)

    def objects(self, image: str) -> list[Accepted]:
        """An image's objects in the order in which they were accepted."""
        with self._lock:
            rows = self._safe.execute(f"SELECT {_COLUMNS} FROM objects WHERE image = ? ORDER BY id", (image,))
            return [_accepted(row) for row in rows]

    def history(self, domain: str) -> list[Accepted]:
        """A domain's objects in the order in which they were accepted, without the imported ones."""
        sql = f"SELECT {_COLUMNS} FROM objects WHERE domain = ? AND source != 'import' ORDER BY id"
        with self._lock:
            return [_accepted(row) for row in self._safe.execute(sql, (domain,))]

    def mask(self, number: int) -> npt.NDArray[np.bool_]:
        """An object's mask, bool ``(H, W)`` of the image.

        Raises:
            NotFound: there is no such object.
        """
        sql = (
            "SELECT o.x0, o.y0, o.x1, o.y1, o.bits, i.height, i.width FROM objects o JOIN images i ON i.id = o.image "
            "WHERE o.id = ?"
        )
        with self._lock:
            row = self._safe.execute(sql, (_small(number),)).fetchone()
        if row is None:
            raise NotFound(f"there is no object {number}")
        return mask_of(list(row[:4]), zlib.decompress(row[4]), (row[5], row[6]))

    def logs(self) -> Iterator[tuple[Accepted, dict[str, Any]]]:
        """Every object with its log."""
        with self._lock:
            rows = self._safe.execute(f"SELECT {_COLUMNS}, log FROM objects ORDER BY id").fetchall()
        for row in rows:
            yield _accepted(row), json.loads(row["log"])

    def delete(self, number: int) -> None:
        """Forget an object.

        Raises:
            NotFound: there is none.
        """
        with self._lock, self._safe as database:
            if database.execute("DELETE FROM objects WHERE id = ?", (_small(number),)).rowcount == 0:
                raise NotFound(f"there is no object {number}")

    def relabel(self, number: int, label: str) -> Accepted:
        """Call an object something else.

        Raises:
            NotFound: there is none.
        """
        with self._lock, self._safe as database:
            self._need_label(database, label)
            if database.execute("UPDATE objects SET label = ? WHERE id = ?", (label, _small(number))).rowcount == 0:
                raise NotFound(f"there is no object {number}")
            return self._object(database, number)

    def annotated(self, image: sqlite3.Row, path: Path | None = None) -> AnnotatedImage:
        """An image of ``images`` with its masks."""
        sql = "SELECT id, label, x0, y0, x1, y1, bits FROM objects WHERE image = ? ORDER BY id"
        with self._lock:
            rows = self._safe.execute(sql, (image["id"],)).fetchall()
        objects = []
        for row in rows:
            box = (row["x0"], row["y0"], row["x1"], row["y1"])
            size = (box[3] - box[1], box[2] - box[0])
            crop = mask_of((0, 0, size[1], size[0]), zlib.decompress(row["bits"]), size)
            objects.append(Annotated(row["label"], box, crop, row["id"]))
        return AnnotatedImage(image["name"], (image["height"], image["width"]), tuple(objects), path)

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

    def _need_label(self, database: sqlite3.Connection, name: str) -> None:
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
            database.execute(sql, (domain, number, digest, _now()))

    def versions(self, domain: str) -> list[tuple[int, str, str]]:
        """A domain's versions, the oldest first: number, digest of the weights, and when."""
        sql = "SELECT number, digest, created FROM versions WHERE domain = ? ORDER BY number"
        with self._lock:
            return [(row[0], row[1], row[2]) for row in self._safe.execute(sql, (domain,))]

    # Clicks, and what there is one of

    def note_click(self, session: str, image: str, said: Mapping[str, Any]) -> None:
        """What a user said."""
        with self._lock, self._quick as database:
            sql = "INSERT INTO clicks (session, image, said, at) VALUES (?, ?, ?, ?)"
            database.execute(sql, (session, image, json.dumps(said, allow_nan=False), _now()))

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

    def _object(self, database: sqlite3.Connection, number: int) -> Accepted:
        row = database.execute(f"SELECT {_COLUMNS} FROM objects WHERE id = ?", (_small(number),)).fetchone()
        if row is None:
            raise NotFound(f"there is no object {number}")
        return _accepted(row)


def _accepted(row: Iterable[Any]) -> Accepted:
    number, image, domain, label, x0, y0, x1, y1, area, iou, version, clicks, source, created = tuple(row)[:14]
    return Accepted(
        id=number, image=image, domain=domain, label=label, box=(x0, y0, x1, y1), area=area, iou=iou,
        version=version, clicks=clicks, source=source, created=created,
    )  # fmt: skip


def _small(number: int) -> int:
    """A number as SQLite holds it; what is beyond is nobody's."""
    return number if 0 <= number < 2**63 else -1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
