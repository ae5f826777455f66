"""Places that fsspec knows: a local path, ``s3://``, ``gs://``, ``https://``, ``memory://``."""

from __future__ import annotations

import contextlib
import os
import posixpath
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livesam.engine.files.atomic import atomic_write
from livesam.engine.values.errors import LivesamError

# What fsspec's own message does not say: which package, by the scheme that the user wrote.
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}


def scheme_of(url: str) -> str:
    """``s3`` of ``s3://bucket/photos``; empty for a local path."""
    return url.partition("://")[0] if "://" in url else ""


def absolute(url: str) -> str:
    """The same place for a process with another working directory."""
    return url if scheme_of(url) else str(Path(url).absolute())


def opened(url: str) -> tuple[Any, str]:
    """The file system of a place, and the path there.

    Raises:
        LivesamError: fsspec, or what it needs for this scheme, is not installed.
        ValueError: no such scheme.
    """
    try:
        import fsspec
    except ImportError:
        raise LivesamError("fsspec is wanted, and not installed: pip install 'livesam[scale]'") from None
    scheme = scheme_of(url)
    try:
        found: tuple[Any, str] = fsspec.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(scheme, "what it names")
        raise LivesamError(f"{scheme}:// is not readable here ({error}): pip install {package}") from error
    except ValueError as error:
        raise ValueError(f"{url!r} is no place that fsspec knows: {error}") from error
    return found


@dataclass(frozen=True)
class Target:
    """A folder to write to. A file in it appears whole or not at all.

    Attributes:
        url: of the folder; made when missing.
    """

    url: str

    def write(self, name: str, data: bytes) -> None:
        """Write one file, over what was there.

        Raises:
            OSError: it cannot be written.
        """
        files, path = self._at(name)
        if not _is_local(files):
            files.pipe_file(path, data)  # an object store shows an object when all of it is there
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)

    def create(self, name: str, data: bytes) -> None:
        """Write one file that is not there; of two writers one gets the name.

        Raises:
            FileExistsError: the other did.
            OSError: it cannot be written.
        """
        files, path = self._at(name)
        if not _is_local(files):
            files.pipe_file(path, data, mode="create")
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, target)  # unlike a rename it leaves what is there alone
        finally:
            beside.unlink(missing_ok=True)

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return _is_local(opened(self.url)[0])

    def where(self, name: str) -> str:
        """A file as a person finds it."""
        return str(self._at(name)[1])

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local path to fill; when the block ends well the file has its name in the folder.

        Raises:
            OSError: it cannot be written.
        """
        files, path = self._at(name)
        if _is_local(files):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                yield Path(file.__fspath__())
            return
        with tempfile.TemporaryDirectory(prefix="livesam-") as folder:
            local = Path(folder) / posixpath.basename(name)
            yield local
            files.put_file(str(local), path)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none.

        Raises:
            OSError: it is there, and cannot be read.
        """
        files, path = self._at(name)
        try:
            data: bytes = files.cat_file(path)
        except FileNotFoundError:
            return None
        return data

    def names(self, folder: str) -> list[str]:
        """The files of a folder in it, hidden ones too, in the order of their names; none where it is missing."""
        files, path = self._at(folder)
        files.invalidate_cache(path)  # fsspec's memory of s3's listings knows nothing of what other processes wrote
        try:
            found = files.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(one) for one in found)

    def read_all(self, folder: str, suffix: str) -> list[bytes]:
        """Every file of a folder in it whose name ends so, in the order of their names; at once where that is faster.

        Raises:
            OSError: one of them cannot be read.
        """
        files, path = self._at(folder)
        names = [one for one in self.names(folder) if one.endswith(suffix) and not one.startswith(".")]
        paths = [posixpath.join(path, one) for one in names]
        if len(paths) < 2:  # of one path cat gives the bytes, of more a mapping
            return [files.cat_file(one) for one in paths]
        found: Mapping[str, bytes] = files.cat(paths)
        return [found[one] for one in found]

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises:
            OSError: it cannot be removed.
        """
        files, path = self._at(name)
        files.rm_file(path)

    def check(self) -> None:
        """Refuse a place that cannot be written to, before any work is done.

        Raises:
            ValueError: it is a file, or of a kind that is only read.
        """
        if scheme_of(self.url) in ("http", "https"):
            raise ValueError(f"{self.url!r} can be read only: give a folder, s3:// or gs://")
        files, path = opened(self.url)
        files.invalidate_cache(path)
        if files.isfile(path):
            raise ValueError(f"a folder is wanted, {self.url!r} is a file")

    def _at(self, name: str) -> tuple[Any, str]:
        files, path = opened(self.url)
        return files, posixpath.join(path, name)


def read(url: str) -> bytes:
    """A file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    files, path = opened(url)
    data: bytes = files.cat_file(path)
    return data


def _is_local(files: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(files, LocalFileSystem)
