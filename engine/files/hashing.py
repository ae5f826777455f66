"""Hashes that identify weights files, sets of weights, and images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.threads import threads

LARGE, PIECE = 4 << 20, 1 << 20  # bytes: images of more are hashed in pieces
TREE = "tree-"  # begins the hash of such an image


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, hex.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_hash(weights: Mapping[str, npt.NDArray[Any]]) -> str:
    """A SHA-256 over names, shapes, dtypes and bytes, hex; the order of the mapping does not matter."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.asarray(weights[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        # The header ends in a newline and fixes the number of bytes that follow, so no two sets share one stream.
        digest.update(f"{name!r}|{little.dtype.str}|{array.shape}\n".encode())
        digest.update(np.ascontiguousarray(little).tobytes())
    return digest.hexdigest()


def image_hash(image: npt.NDArray[np.uint8]) -> str:
    """A SHA-256 over shape and pixels, hex.

    One core hashes a 12-Mpx image in 20 to 36 ms, more than a GPU needs to encode it: larger ones than 4 MiB are hashed
    a MiB at a time by several threads, and then the hashes of the pieces are.
    """
    pixels = np.ascontiguousarray(image)
    if pixels.nbytes <= LARGE:
        return _hash_at_once(pixels)
    data = pixels.reshape(-1).data
    pieces = threads("hash-pieces").map(_digest, [data[start : start + PIECE] for start in range(0, len(data), PIECE)])
    return TREE + hashlib.sha256(f"{image.shape}\n".encode() + b"".join(pieces)).hexdigest()


def hashes_begun(images: Sequence[npt.NDArray[np.uint8]]) -> Iterator[str]:
    """The ``image_hash`` of each image, in order: begun now on other threads, and waited for when asked for.

    Those threads are not those of pieces, which an image waits for.
    """
    return threads("hash-images").map(image_hash, images)


def is_hash_of(digest: str, image: npt.NDArray[np.uint8]) -> bool:
    """Whether this is the image's ``image_hash``, also as it was once made of large images, in old sessions' logs."""
    if digest.startswith(TREE):
        return digest == image_hash(image)
    return digest == _hash_at_once(np.ascontiguousarray(image))


def _hash_at_once(pixels: npt.NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(f"{pixels.shape}\n".encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def _digest(piece: memoryview) -> bytes:
    return hashlib.sha256(piece).digest()
