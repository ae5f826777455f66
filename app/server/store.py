"""What is accepted, on disk before the user is told so."""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.app.annotations.values import Annotated, AnnotatedImage
from livesam.app.server.accepted import COLUMNS, Accepted
from livesam.app.server.database import Database, now
from livesam.app.server.problems import NotFound
from livesam.app.server.schema import seal
from livesam.engine.values.errors import LivesamError, SessionError
from livesam.wire import bits_of, mask_of

log = logging.getLogger(__name__)


class Store(Database):
    """Images and objects. Thread-safe."""

    # Images

    def note_image(self, image: str, name: str, digest: str, hw: tuple[int, int]) -> None:
        """An image was opened: it is where a restarted server goes on."""
        with self._lock, self._quick as database:
            database.execute(
                "INSERT INTO images (id, name, hash, width, height) VALUES (?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE "
                "SET hash = excluded.hash, width = excluded.width, height = excluded.height "
                "WHERE NOT EXISTS (SELECT 1 FROM objects WHERE image = excluded.id)",
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

    def check_size(self, image: str, name: str, hw: tuple[int, ...]) -> None:
        """Before an image is opened or objects are added to it: whether the file still has the size of its objects.

        Raises:
            SessionError: a file of another size has replaced it.
        """
        with self._lock:
            self._check_size(image, name, hw)

    def _check_size(self, image: str, name: str, hw: tuple[int, ...]) -> None:
        sql = "SELECT i.height, i.width, count(o.id) FROM images i JOIN objects o ON o.image = i.id WHERE i.id = ?"
        height, width, count = self._safe.execute(sql, (image,)).fetchone()
        if count and (height, width) != hw:
            raise SessionError(
                f"{name} has {hw[1]} x {hw[0]} pixels now, and its {count} objects are of {width} x {height}: put the "
                "earlier file back, give this one another name, or delete the objects"
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
        self, found: Mapping[str, Any], mask: npt.NDArray[np.bool_], log: Mapping[str, Any],
        replaces: int | None = None, key: str | None = None,
    ) -> Accepted:  # fmt: skip
        """Keep an object; it is on disk when this returns.

        Args:
            found: ``image``, ``domain``, ``label``, ``iou``, ``version``, ``clicks`` and ``source``.
            mask: bool ``(H, W)`` of the image.
            log: how it came about, for a replay.
            replaces: the object whose place it takes; its clicks count on, and it stays as old as it is.
            key: of the client; the same one once more gives the object of then, as ``accepted_by``.

        Raises:
            ValueError: the mask is empty.
            NotFound: the object to replace is gone.
            SessionError: the mask is of another size than the image's objects.
        """
        box, bits = bits_of(mask)
        if box is None:
            raise ValueError("the mask is empty: there is nothing to accept")
        row = {
            **found, "area": int(mask.sum()), "created": now(), "bits": zlib.compress(bits, 1),
            "log": json.dumps(log, allow_nan=False), **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
        }  # fmt: skip
        with self._lock, self._safe as database:
            if key is not None and (old := self.accepted_by(key, row["image"])) is not None:
                return old
            self._check_size(row["image"], "the image", (mask.shape[0], mask.shape[1]))
            self.need_label(database, row["label"])
            if replaces is None:
                names = ", ".join(row)
                sql = f"INSERT INTO objects ({names}) VALUES ({', '.join(f':{name}' for name in row)})"
                number = database.execute(sql, row).lastrowid
            else:
                of_old = {"clicks": "clicks + :clicks", "created": "created"}  # both are of the whole object
                values = ", ".join(f"{name} = {of_old.get(name, f':{name}')}" for name in row)
                sql = f"UPDATE objects SET {values} WHERE id = :id"
                number = replaces
                if database.execute(sql, {**row, "id": replaces}).rowcount == 0:
                    raise NotFound("the object that was edited is gone: accept it as a new one")
            if key is not None:
                database.execute("INSERT INTO keys (key, object) VALUES (?, ?)", (key, number))
            seal(database, int(number or 0))
            return self._object(database, int(number or 0))

    def accepted_by(self, key: str, image: str) -> Accepted | None:
        """What was accepted with a key on an image; None where it is new.

        Raises:
            NotFound: the object was deleted since.
            ValueError: the key is of an object of another image.
        """
        with self._lock:
            row = self._safe.execute("SELECT object FROM keys WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            try:
                found = self._object(self._safe, row[0])
            except NotFound:
                raise NotFound("this object was accepted already, and was deleted since") from None
        if found.image != image:
            raise ValueError("this key was given with an object of another image: every object has a key of its own")
        return found

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
            rows = self._safe.execute(f"SELECT {COLUMNS} FROM objects WHERE image = ? ORDER BY id", (image,))
            return [Accepted.of(row) for row in rows]

    def history(self, domain: str, most: int = 500) -> tuple[int, int, list[Accepted]]:
        """A domain's objects without the imported ones: how many, how many clicks they took, and the last of them."""
        where = "FROM objects WHERE domain = ? AND source != 'import'"
        with self._lock:
            count, clicks = self._safe.execute(f"SELECT count(*), total(clicks) {where}", (domain,)).fetchone()
            rows = self._safe.execute(f"SELECT {COLUMNS} {where} ORDER BY id DESC LIMIT ?", (domain, most)).fetchall()
        return count, int(clicks), [Accepted.of(row) for row in reversed(rows)]

    def mask(self, number: int) -> npt.NDArray[np.bool_]:
        """An object's mask, bool ``(H, W)`` of the image.

        Raises:
            NotFound: there is no such object.
            LivesamError: it was damaged since the database was opened.
        """
        sql = (
            "SELECT o.x0, o.y0, o.x1, o.y1, o.bits, i.height, i.width FROM objects o JOIN images i ON i.id = o.image "
            "WHERE o.id = ?"
        )
        with self._lock:
            row = self._safe.execute(sql, (_small(number),)).fetchone()
        if row is None:
            raise NotFound(f"there is no object {number}")
        return _mask(number, list(row[:4]), row[4], (row[5], row[6]))

    def logs(self) -> Iterator[tuple[Accepted, dict[str, Any]]]:
        """Every object with its log."""
        with self._lock:
            rows = self._safe.execute(f"SELECT {COLUMNS}, log FROM objects ORDER BY id").fetchall()
        for row in rows:
            yield Accepted.of(row), json.loads(row["log"])

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
            self.need_label(database, label)
            if database.execute("UPDATE objects SET label = ? WHERE id = ?", (label, _small(number))).rowcount == 0:
                raise NotFound(f"there is no object {number}")
            seal(database, number)
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
            try:
                crop = _mask(row["id"], (0, 0, size[1], size[0]), row["bits"], size)
            except LivesamError as error:
                log.error("%s: %s", image["name"], error)
                continue
            objects.append(Annotated(row["label"], box, crop, row["id"]))
        return AnnotatedImage(image["name"], (image["height"], image["width"]), tuple(objects), path)

    def _object(self, database: sqlite3.Connection, number: int) -> Accepted:
        row = database.execute(f"SELECT {COLUMNS} FROM objects WHERE id = ?", (_small(number),)).fetchone()
        if row is None:
            raise NotFound(f"there is no object {number}")
        return Accepted.of(row)


def _mask(number: int, box: Sequence[int], bits: bytes, hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    try:
        return mask_of(box, zlib.decompress(bits), hw)
    except (zlib.error, ValueError) as error:
        raise LivesamError(f"object {number} is damaged on the disk: delete it, and click it anew") from error


def _small(number: int) -> int:
    """A number as SQLite holds it; what is beyond is nobody's."""
    return number if 0 <= number < 2**63 else -1
