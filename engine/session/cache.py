"""Embeddings that need not be computed again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.values.embedding import ImageEmbedding

log = logging.getLogger(__name__)

_FORMAT = "livesam-embedding-2"
_EARLIER = "livesam-embedding-1"  # without a sum


class EmbeddingCache:
    """The embeddings used last in memory, up to a number of bytes, and all of them in a folder if one is given.

    The cache may only ever save time: a damaged, foreign or unreadable file counts as absent, and a folder that cannot
    be written to is reported once (logging) and otherwise ignored, unless it is ``required``. May be used by several
    threads.

    Args:
        ram_bytes: at most so much memory; 0 keeps nothing there. One embedding of a 1024-px model is 4 MiB.
        folder: where embeddings outlive the process, made when missing; None for nowhere.
        required: an embedding that cannot be written to the folder is an ``OSError`` of ``put``.

    Raises:
        ValueError: ``ram_bytes`` is negative.
    """

    def __init__(self, ram_bytes: int, folder: Path | None = None, *, required: bool = False) -> None:
        if ram_bytes < 0:
            raise ValueError(f"ram_bytes must not be negative, got {ram_bytes}")
        self._limit = ram_bytes
        self._folder = folder
        self._required = required
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._used = 0
        self._warned = False

    @property
    def ram_used(self) -> int:
        """Bytes of embeddings in memory."""
        return self._used

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> ImageEmbedding | None:
        """The embedding of this key, from memory, else from disk, else None."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        found = self._read(key)
        if found is not None:
            self._remember(found)
        return found

    def put(self, embedding: ImageEmbedding) -> None:
        """Keep an embedding; the ones that were not used for longest make room.

        Raises:
            OSError: the folder is ``required``, and the disk is full or read-only.
        """
        self._remember(embedding)
        path = self._path(embedding.key)
        if path is not None and not path.exists():
            self._write(embedding, path)

    def clear(self) -> None:
        """Forget what is in memory; files stay."""
        with self._lock:
            self._kept.clear()
            self._used = 0

    def _remember(self, embedding: ImageEmbedding) -> None:
        size = _bytes(embedding)
        with self._lock:
            old = self._kept.pop(embedding.key, None)
            self._used -= _bytes(old) if old is not None else 0
            if size > self._limit:
                return
            self._kept[embedding.key] = embedding
            self._used += size
            while self._used > self._limit:
                _, evicted = self._kept.popitem(last=False)
                self._used -= _bytes(evicted)

    def _path(self, key: str) -> Path | None:
        # Hashed, because a key is free text; the file carries the key itself, so a collision cannot deceive.
        return (
            None if self._folder is None else self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
        )

    def _read(self, key: str) -> ImageEmbedding | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        from safetensors import safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                head = file.metadata() or {}
                meta = json.loads(head.get("livesam", "{}"))
                features = file.get_tensor("features")
            if meta.get("format") not in (_FORMAT, _EARLIER) or meta.get("key") != key:
                raise ValueError("it is of another format or image")
            if meta["format"] == _FORMAT and head.get("sum") != _sum(features, head["livesam"]):
                raise ValueError("its values are others than were written")
            original_hw, resized_hw = tuple(meta["original_hw"]), tuple(meta["resized_hw"])
            if len(original_hw) != 2 or len(resized_hw) != 2 or features.ndim != 4 or features.dtype != np.float32:
                raise ValueError("its shapes are wrong")
            if not np.isfinite(features).all():
                raise ValueError("it holds values that are not finite")
        except Exception as error:  # safetensors raises its own types for damage
            log.warning("ignoring the cached embedding %s: %s", path, error)
            with contextlib.suppress(OSError):
                path.unlink()  # so that the next put writes it anew
            return None
        return ImageEmbedding(features, original_hw, resized_hw, key)

    def _write(self, embedding: ImageEmbedding, path: Path) -> None:
        from safetensors.numpy import save

        meta = {
            "format": _FORMAT,
            "key": embedding.key,
            "original_hw": embedding.original_hw,
            "resized_hw": embedding.resized_hw,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            features, text = np.ascontiguousarray(embedding.numpy()), json.dumps(meta)
            data = save({"features": features}, {"livesam": text, "sum": _sum(features, text)})
            with atomic_write(path) as file:
                file.write(data)
        except OSError as error:
            if self._required:
                raise
            if not self._warned:
                log.warning("embeddings cannot be kept in %s: %s", self._folder, error.strerror or error)
            self._warned = True


def _sum(features: npt.NDArray[np.float32], meta: str) -> str:
    """Against damage, not against people: a CRC-32 takes 0.4 ms for a MiB, and a SHA-256 2 ms."""
    return f"{zlib.crc32(np.ascontiguousarray(features).data.cast('B'), zlib.crc32(meta.encode())):08x}"


def _bytes(embedding: ImageEmbedding) -> int:
    return int(embedding.features.nbytes)
