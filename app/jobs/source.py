"""Which images a job is about."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from livesam.app.storage import absolute, opened, read, scheme_of
from livesam.embedding import is_image_name

LIST = ".txt"  # ends a file that names images, a line each: web servers tell no folders


@dataclass(frozen=True)
class Source:
    """Images by their names.

    Attributes:
        root: the folder that names are relative to; empty where each is a place of its own.
        names: each once, in the order in which they are taken.
    """

    root: str
    names: tuple[str, ...]

    def url(self, name: str) -> str:
        """Where an image is read from."""
        return f"{self.root}/{name}" if self.root else name


def find(given: Sequence[str]) -> Source:
    """The images of files, folders and lists (``.txt``, a path or URL a line), folders in sorted order.

    Names are relative to the folder, if one folder is all that is given; else they are whole. Below a folder images
    are told by their suffix, and hidden files are none, as for ``livesam embed`` of local folders.

    Raises:
        ValueError: a place does not exist, or there is no image at all.
        OSError: a folder or list cannot be read.
        LivesamError: what fsspec needs for one of them is not installed.
    """
    from livesam.engine.files.image import SUFFIXES

    if len(given) == 1 and not _is_file(given[0]):
        root = absolute(given[0]).rstrip("/")
        source = Source(root, tuple(_below(root)))
    else:
        names: dict[str, None] = {}
        for one in given:
            names.update(dict.fromkeys(_named(one)))
        source = Source("", tuple(names))
    if not source.names:
        raise ValueError(f"no images in {', '.join(given)}: {', '.join(SUFFIXES)} are looked for")
    return source


def _named(one: str) -> list[str]:
    """The images of one place, each by its whole name."""
    if not _is_file(one):
        root = absolute(one).rstrip("/")
        return [f"{root}/{name}" for name in _below(root)]
    if not one.endswith(LIST):
        return [absolute(one)]
    lines = (line.strip() for line in read(one).decode().splitlines())
    return [absolute(line) for line in lines if line and not line.startswith("#")]


def _is_file(url: str) -> bool:
    """Whether it is one file, a list or an image; a web server is not asked, as it has no better answer."""
    if scheme_of(url) in ("http", "https"):
        return url.endswith(LIST) or is_image_name(PurePosixPath(posixpath.basename(url)))
    files, path = opened(url)
    if files.isfile(path):
        return True
    if not files.isdir(path):
        raise ValueError(f"no such file or folder: {url!r}")
    return False


def _below(root: str) -> list[str]:
    files, path = opened(root)
    found = (posixpath.relpath(one, path) for one in files.find(path))
    return sorted(name for name in found if is_image_name(PurePosixPath(name)))
