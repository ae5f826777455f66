"""Embeddings in shards: Parquet or safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from livesam.app.jobs.shards import records
from livesam.app.jobs.tables import parquet
from livesam.app.jobs.worker import Made, Picture
from livesam.app.storage import Target
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    from livesam.engine.values.protocols import ImageEncoder
    from livesam.export.opening import Opening

FORMATS = ("parquet", "safetensors")
GPU_BATCH = 16  # images at once on a GPU; a CPU is no faster with more than one


@dataclass(frozen=True)
class Embed:
    """Encode each image.

    Attributes:
        opening: the model, and what runs it.
        format: of the shards.
    """

    opening: Opening
    format: str = "parquet"
    kind: ClassVar[str] = "embeddings"

    def open(self, threads: int) -> Embedder:
        """The encoder, in this process. Errors as ``open_encoder``."""
        from livesam.export.opening import open_encoder

        batch = GPU_BATCH if self.opening.choice("encoder").device.startswith("cuda") else 1
        return Embedder(open_encoder(replace(self.opening, threads=threads), batch=batch), batch, self.format)


class Embedder:
    """Encodes, and writes shards of ``format``."""

    def __init__(self, encoder: ImageEncoder, batch: int, format: str) -> None:
        self._encoder, self.batch = encoder, batch
        self._format = format
        self.made_by, self.runtime, self.suffix = encoder.key("").lstrip(":"), encoder.runtime, f".{format}"

    def make(self, pictures: Sequence[Picture]) -> list[Made]:
        """The embedding of each, as ``livesam embed`` makes them one by one; in batches equal but for the last bits.

        Raises:
            ValueError: one of them is too thin.
        """
        if len(pictures) == 1:
            found = [self._encoder.encode(pictures[0].pixels)]
        else:
            encode: Any = self._encoder  # an encoder that was opened for a batch has it
            found = encode.encode_batch([one.pixels for one in pictures])
        return [Made(one.name, {"key": it.key}, it) for one, it in zip(pictures, found, strict=True)]

    def write(self, made: Sequence[Made], path: Path) -> None:
        """Write a shard."""
        if self._format == "safetensors":
            _write_safetensors(made, path)
        else:
            _write_parquet(made, path)

    def close(self) -> None:
        """Free the encoder."""
        self._encoder.close()


def _write_safetensors(made: Sequence[Made], path: Path) -> None:
    from safetensors.numpy import save_file

    meta = [
        {
            "image": one.name,
            "key": one.content.key,
            "original_hw": one.content.original_hw,
            "resized_hw": one.content.resized_hw,
        }
        for one in made
    ]
    tensors = {str(i): np.ascontiguousarray(one.content.numpy()) for i, one in enumerate(made)}
    save_file(tensors, path, {"livesam": json.dumps(meta)})


def _write_parquet(made: Sequence[Made], path: Path) -> None:
    arrow, write = parquet()
    features = np.concatenate([one.content.numpy() for one in made])
    kind = arrow.fixed_shape_tensor(arrow.float32(), features.shape[1:])
    flat = arrow.FixedSizeListArray.from_arrays(arrow.array(features.reshape(-1)), features[0].size)
    sides = {
        name: arrow.array([getattr(one.content, hw)[axis] for one in made], arrow.int32())
        for name, hw, axis in (
            ("height", "original_hw", 0),
            ("width", "original_hw", 1),
            ("resized_height", "resized_hw", 0),
            ("resized_width", "resized_hw", 1),
        )
    }
    columns = {
        "image": arrow.array([one.name for one in made]),
        "key": arrow.array([one.content.key for one in made]),
        **sides,
        "features": arrow.ExtensionArray.from_storage(kind, flat),
    }
    # Features neither repeat nor compress (zstd leaves 0.92 of their size): stored as they are.
    write(arrow.table(columns), path, compression="none", use_dictionary=["image"])


def read_embeddings(target: Target) -> Iterator[tuple[str, ImageEmbedding]]:
    """Each image of a target with its embedding, shard by shard.

    Raises:
        LivesamError: a shard is missing, or pyarrow is.
    """
    for one in records(target):
        if one.file:
            data = target.read(one.file)
            if data is None:
                raise LivesamError(f"{target.url} has no {one.file}, which its record names: do the job again")
            yield from (_of_safetensors if one.file.endswith(".safetensors") else _of_parquet)(data)


def _of_safetensors(data: bytes) -> Iterator[tuple[str, ImageEmbedding]]:
    from safetensors.numpy import load

    size = int.from_bytes(data[:8], "little")
    meta = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["livesam"])
    tensors = load(data)
    for i, one in enumerate(meta):
        original, resized = tuple(one["original_hw"]), tuple(one["resized_hw"])
        yield one["image"], ImageEmbedding(tensors[str(i)], original, resized, one["key"])


def _of_parquet(data: bytes) -> Iterator[tuple[str, ImageEmbedding]]:
    import io

    parquet()  # says what is missing
    from pyarrow import parquet as files

    table = files.read_table(io.BytesIO(data))
    features = table["features"].combine_chunks().to_numpy_ndarray()
    for i, row in enumerate(table.drop_columns("features").to_pylist()):
        original, resized = (row["height"], row["width"]), (row["resized_height"], row["resized_width"])
        yield row["image"], ImageEmbedding(features[i : i + 1], original, resized, row["key"])
