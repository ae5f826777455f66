"""Hashes that identify weights files and sets of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


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
