"""Exported graphs of a checkpoint, kept between processes: made once, found by the hash of the weights.

What is found needs no torch: graphs, manifests, and the decoder's base weights as safetensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.files.hashing import file_sha256
from livesam.engine.files.lock import exclusive
from livesam.engine.files.places import default_cache_dir
from livesam.engine.models import loading as models
from livesam.engine.models.adapted import program_version
from livesam.engine.models.checkpoints import check_file
from livesam.engine.models.spec import DECODER_TENSORS, spec
from livesam.engine.values.errors import CheckpointError, ExportError
from livesam.export.files.manifest import GRAPH_VERSION, Manifest, manifest_path
from livesam.export.graphs.memory import require_memory

if TYPE_CHECKING:
    from livesam.export.graphs.attention import RelPos
    from segment_anything.modeling import Sam

Progress = Callable[[str], None]
Weights = dict[str, npt.NDArray[np.float32]]

# Files up to this size are hashed at every start; for larger ones their existence and size have to do.
VERIFY_BYTES = 100_000_000


def quiet(stage: str) -> None:
    """No progress."""


class GraphCache:
    """The graphs of one model and checkpoint; the model itself is loaded only when something has to be exported.

    Without a checkpoint they are those of nano's bundled weights, or of the file that ``livesam download`` has fetched.

    Raises:
        ValueError: there is no such model, or not in this size.
        CheckpointError: the checkpoint is missing, or cannot be one.
    """

    def __init__(
        self,
        model: str,
        checkpoint: Path | None = None,
        cache_dir: Path | None = None,
        progress: Progress = quiet,
        *,
        size: int | None = None,
    ) -> None:
        self.spec = spec(model, size)
        self.root = default_cache_dir() if cache_dir is None else Path(cache_dir)
        self.progress = progress
        self._checkpoint = models.downloaded(model) if checkpoint is None else Path(checkpoint)
        self.used: set[Path] = set()  # graphs and plans that were asked for
        self._sam: Sam | None = None
        self.weights_key = self._hash_weights()
        name = f"{model}-{self.spec.image_size}-{self.weights_key[:20]}-g{GRAPH_VERSION}-{program_version()}"
        self.folder = self.root / "graphs" / name

    def sam(self) -> Sam:
        """The model in PyTorch, loaded once."""
        if self._sam is None:
            self.progress(f"loading {self.spec.name}")
            self._sam = models.load(self.spec.name, self._checkpoint, self.spec.image_size)
        return self._sam

    def encoder(self, precision: str = "fp32", rel_pos: RelPos = "bias", *, one: bool = True) -> Path:
        """The encoder graph in this precision, exported if it is not there.

        Args:
            rel_pos: as in ``export.attention``.
            one: for one image at a time; else with a dynamic batch.

        Raises:
            CheckpointError: the checkpoint cannot be used.
            ExportError: there is not enough memory, the graph could not be written, or differs from PyTorch.
        """
        path = self.folder / f"encoder-{precision}-{rel_pos}{'' if one else '-batch'}.onnx"
        with self._missing(path, f"encoder of {self.spec.name} ({precision})") as missing:
            if missing:
                from livesam.export.graphs.encoder import export_encoder

                require_memory(self.spec.name)
                export_encoder(self.sam(), self.spec, path, precision, rel_pos=rel_pos, batch=1 if one else None)
        return path

    def int8_encoder(self, photos: Path | None = None) -> Path:
        """The encoder in int8 for OpenVINO, made if it is not there, or made anew where ``photos`` are given.

        Args:
            photos: a folder of photos like those it is for, to calibrate with; None for what is there, or for
                scikit-image's.

        Raises:
            ParityError: masks on photos are not those of float32.
            RuntimeUnavailable: nncf or openvino is missing.
            ExportError, CheckpointError, ValueError, LivesamError: as ``encoder`` and ``calibration_photos``.
        """
        path = self.folder / "encoder-int8.xml"
        self.used.add(path)
        if photos is None and _complete(path):
            return path
        from livesam.export.graphs.int8 import calibration_photos, quantised_encoder

        found, origin = calibration_photos(photos)
        source = self.encoder("fp32")  # before the lock, which it takes too
        with exclusive(self.folder / "export.lock", lambda: self.progress(f"waiting for {path.name}")):
            if photos is not None or not _complete(path):
                self.progress(f"quantising the encoder of {self.spec.name} with {origin}")
                quantised_encoder(path, source, self.sam(), found, origin=origin)
        return path

    def decoder(self, precision: str = "fp32", weights_as_inputs: bool = True) -> Path:
        """The serving decoder graph in this precision, exported if it is not there. Raises as ``encoder`` does."""
        path = self.folder / f"decoder-{precision}{'' if weights_as_inputs else '-constant'}.onnx"
        with self._missing(path, f"decoder of {self.spec.name} ({precision})") as missing:
            if missing:
                from livesam.export.graphs.decoder_graph import export_serving_decoder

                export_serving_decoder(self.sam(), self.spec, path, weights_as_inputs, precision)
        return path

    @contextlib.contextmanager
    def _missing(self, path: Path, what: str) -> Iterator[bool]:
        """Whether a graph has to be exported in the block, by one process at a time."""
        self.used.add(path)
        if _complete(path):
            yield False
            return
        with exclusive(self.folder / "export.lock", lambda: self.progress(f"waiting for the {what}")):
            missing = not _complete(path)
            if missing:
                for left in self.folder.glob(".*.tmp/"):  # by a process that was killed: here it can be nobody else's
                    shutil.rmtree(left, ignore_errors=True)
                self.progress(f"exporting the {what}")
            yield missing

    def base_weights(self) -> Weights:
        """The checkpoint's own 120 decoder tensors, float32."""
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import save

        path = self.folder / "decoder-weights.safetensors"
        try:
            with safe_open(path, framework="numpy") as stored:
                found: Weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
                told = (stored.metadata() or {}).get("sum")
            if len(found) == DECODER_TENSORS and told == _sum(found):
                return found
        except (OSError, SafetensorError):
            pass  # not there yet, or damaged: made again
        weights = models.decoder_weights(self.sam())
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                plain = {name: np.ascontiguousarray(value) for name, value in weights.items()}
                file.write(save(plain, {"sum": _sum(plain)}))
        except OSError as error:
            raise ExportError(
                f"cannot write {path}: {error.strerror or error}; set LIVESAM_CACHE to a folder that can be written"
            ) from error
        return weights

    def _hash_weights(self) -> str:
        """SHA-256 of the checkpoint. Hashing 2.5 GB takes seconds, so it is remembered by path, size and time."""
        if self._checkpoint is None and self.spec.name == "nano":
            return file_sha256(models.bundled_nano())
        if self._checkpoint is None or not self._checkpoint.exists():
            models.load(self.spec.name, self._checkpoint)  # says what is missing and where to get it
            raise CheckpointError(f"{self._checkpoint} does not exist: pass the path of a checkpoint")
        files = sorted(self._checkpoint.glob("*")) if self._checkpoint.is_dir() else [self._checkpoint]
        stamp = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
        name = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()
        note = self.root / "hashes" / name
        with contextlib.suppress(OSError, UnicodeDecodeError):
            known = note.read_text()
            if len(known) == 64:
                return known
        check_file(self._checkpoint, self.spec.name)  # before gigabytes are hashed
        try:
            hashes = [file_sha256(f) for f in files if f.is_file()]
        except OSError as error:
            raise CheckpointError(f"cannot read {self._checkpoint}: {error.strerror or error}") from error
        key = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(note) as file:
                file.write(key.encode())
        return key


def _sum(weights: Weights) -> str:
    """A CRC-32 over names and values: 16 MB take 6 ms at every start, where a SHA-256 takes 30."""
    found = 0
    for name in sorted(weights):
        found = zlib.crc32(np.ascontiguousarray(weights[name]).data.cast("B"), zlib.crc32(name.encode(), found))
    return f"{found:08x}"


def _complete(path: Path) -> bool:
    """Whether a graph and its manifest are there and whole; a damaged one is exported again."""
    if not (path.is_file() and manifest_path(path).is_file()):
        return False
    try:
        manifest = Manifest.read(path)
        sizes = [(path.parent / name).stat().st_size for name in manifest.files]
        if sum(sizes) <= VERIFY_BYTES:
            manifest.verify(path.parent)
    except (ExportError, OSError):
        return False
    return all(sizes)
