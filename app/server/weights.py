"""Decoder weights that have served, by the hash of their content: what a restart and a replay take up again.

A file holds the tensors that differ from the base's, float32 and bit for bit; what learns are the late layers, so that
is 1 to 2 MB a version. Equal weights share one file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.files.hashing import weights_hash
from livesam.engine.values.errors import CheckpointError

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights

FORMAT = "livesam-served-weights-1"
FOLDER = "decoders"  # in an output folder


class WeightFiles:
    """Reads and writes them. Thread-safe.

    Args:
        folder: made when something is written.
        base: the decoder that all of them were learned on.
    """

    def __init__(self, folder: Path, base: DecoderWeights) -> None:
        self.folder, self._base = folder, base
        self.base_digest = weights_hash(base)

    def path(self, digest: str) -> Path:
        """Where weights with this hash lie."""
        return self.folder / f"{digest}.safetensors"

    def write(self, weights: DecoderWeights) -> str:
        """Keep weights; their hash.

        Raises:
            OSError: the file cannot be written.
        """
        digest = weights_hash(weights)
        if digest == self.base_digest or self.path(digest).exists():
            return digest
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path(digest)) as file:
            file.write(self.pack(weights))
        return digest

    def pack(self, weights: DecoderWeights) -> bytes:
        """What ``unpack`` makes the same weights of."""
        from safetensors.numpy import save

        changed = {
            name: np.ascontiguousarray(value)
            for name, value in weights.items()
            if value.tobytes() != self._base[name].tobytes()
        }
        head = {"format": FORMAT, "base_sha256": self.base_digest}
        return bytes(save(changed, {"livesam": json.dumps(head)}))

    def read(self, digest: str) -> dict[str, npt.NDArray[np.float32]]:
        """The weights with this hash, float32.

        Raises:
            CheckpointError: they are not here, were learned on another base, or are damaged.
        """
        if digest == self.base_digest:
            return dict(self._base)
        path = self.path(digest)
        if not path.is_file():
            raise CheckpointError(f"the decoder {path} is missing: it served when an object was accepted")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"the decoder {path} is damaged: {error}") from error
        weights = self.unpack(content, str(path))
        if weights_hash(weights) != digest:
            raise CheckpointError(f"the decoder {path} is damaged: its tensors do not match its name")
        return weights

    def unpack(self, content: bytes, where: str) -> dict[str, npt.NDArray[np.float32]]:
        """Weights, float32, of what ``pack`` has made; ``where`` it lies is for the message.

        Raises:
            CheckpointError: they were learned on another base, or are damaged.
        """
        from safetensors.numpy import load

        try:
            changed = load(content)
            size = int.from_bytes(content[:8], "little")
            head = json.loads(json.loads(content[8 : 8 + size]).get("__metadata__", {}).get("livesam", "{}"))
        except Exception as error:  # safetensors raises its own types for damage
            raise CheckpointError(f"the decoder {where} is damaged: {error}") from error
        if head.get("format") != FORMAT or head.get("base_sha256") != self.base_digest:
            raise CheckpointError(
                f"the decoder {where} was learned on another model: give the --model and --checkpoint of then"
            )
        return {**self._base, **changed}
