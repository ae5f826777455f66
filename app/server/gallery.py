"""The images of a folder, by opaque ids: no name that a client sends ever becomes a path."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from livesam.app.server.problems import NotFound
from livesam.engine.files.image import SUFFIXES

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file.

    Attributes:
        id: opaque, the same for the same name.
        name: its path in the folder, with slashes.
        path: where it lies.
    """

    id: str
    name: str
    path: Path


class Gallery:
    """Finds the images of a folder and below it. Thread-safe.

    Links are not followed, and files and folders that begin with a dot are left out.

    Args:
        folder: of images.
        out: left out where it lies in the folder.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        self.folder, self._out = folder, out.resolve()
        self._lock = threading.Lock()
        self._found: dict[str, Picture] = {}
        self._looked = float("-inf")
        self._unreadable: set[str] = set()

    def pictures(self) -> list[Picture]:
        """All of them by name; the folder is looked at again when 5 s have passed.

        Raises:
            OSError: the folder is gone or cannot be read.
        """
        with self._lock:
            if time.monotonic() - self._looked > LOOK_AGAIN_S:
                names = sorted(self._names(self.folder, ""))
                self._found = {one.id: one for one in (self._picture(name) for name in names)}
                self._looked = time.monotonic()
            return list(self._found.values())

    def find(self, image: str) -> Picture:
        """The image with this id.

        Raises:
            NotFound: there is none.
        """
        if image not in self._found:
            self.pictures()
        found = self._found.get(image)
        if found is None:
            raise NotFound("there is no image with this id: ask for the list of images again")
        return found

    def named(self, name: str) -> Picture | None:
        """The image of this path in the folder, if there is one."""
        self.pictures()
        return self._found.get(image_id(name))

    def after(self, image: str, count: int) -> list[Picture]:
        """The next images in the list."""
        found = list(self._found.values())
        at = next((i for i, one in enumerate(found) if one.id == image), len(found))
        return found[at + 1 : at + 1 + count]

    def _picture(self, name: str) -> Picture:
        return Picture(image_id(name), name, self.folder / name)

    def _names(self, folder: Path, prefix: str) -> list[str]:
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below = Path(entry.path)
                    if below.resolve() != self._out:
                        names += self._below(below, f"{prefix}{entry.name}/")
                elif entry.name.lower().endswith(SUFFIXES) and _is_text(entry.name):
                    names.append(prefix + entry.name)
        return names

    def _below(self, folder: Path, prefix: str) -> list[str]:
        """As ``_names``; a folder that may not be read, as a disk's lost+found, leaves the others."""
        try:
            return self._names(folder, prefix)
        except OSError as error:
            if prefix not in self._unreadable:  # once, not every 5 s
                log.warning("the folder %s is left out: %s", folder, error.strerror)
                self._unreadable.add(prefix)
            return []


def image_id(name: str) -> str:
    """The id of an image by its path in the folder."""
    return hashlib.sha256(name.encode()).hexdigest()[:20]


def _is_text(name: str) -> bool:
    """Whether a file's name can be said in JSON and SQL: one of bytes that are no UTF-8 cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)
