"""What a registry asks of a place: names that appear whole, and names that only one of two writers gets."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from livesam.engine.files.atomic import atomic_write
from livesam.engine.values.errors import LivesamError


class Storage:
    """A folder on this machine, or in any other place that fsspec knows (``s3://``, ``gs://``, ``memory://``).

    Raises:
        LivesamError: fsspec is not installed, or does not know the place.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
            from fsspec.implementations.local import LocalFileSystem

            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise LivesamError(f"{url} cannot be used: {error}; pip install 'livesam[scale]'") from error
        self._local = isinstance(self._files, LocalFileSystem)
        self.url = url

    def where(self, name: str) -> str:
        """A name as a person finds it."""
        return f"{self._root.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes:
        """All of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        found: bytes = self._files.cat_file(self.where(name))
        return found

    def write(self, name: str, content: bytes) -> None:
        """A file, whole or not at all, in the place of an earlier one."""
        if self._local:
            self._folder(name)
            with atomic_write(self.where(name)) as file:
                file.write(content)
        else:
            self._files.pipe_file(self.where(name), content)

    def create(self, name: str, content: bytes) -> None:
        """A new file, whole or not at all; of two writers one gets the name.

        Raises:
            FileExistsError: the other did.
        """
        if not self._local:  # an object store keeps a whole object or none, and is asked for a new one
            self._files.pipe_file(self.where(name), content, mode="create")
            return
        target = self._folder(name)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, target)  # unlike a rename it leaves what is there alone
        finally:
            beside.unlink(missing_ok=True)

    def _folder(self, name: str) -> Path:
        target = Path(self.where(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
