"""The file of an adapted decoder: what was learned, on top of which base. Reading and writing only; no torch.

One safetensors file, format version 1. Its tensors are the 120 of SAM's mask decoder by their official names, without
the ``mask_decoder.`` prefix, all float16 or all float32. Depending on ``kind`` they are

* ``difference``: adapted minus base, to be added to the base's float32 tensors (float16 by default, 8 MB: the rounding
  error is 0.05 % of what was learned), or
* ``weights``: the adapted tensors themselves.

Its metadata are these strings:

===================  =================================================================================================
``format``           always ``livesam-adapted-decoder``
``format_version``   ``1``; a reader refuses a higher one
``kind``             ``difference`` or ``weights``
``model``            ``nano``, ``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``
``image_size``       side of the model's input while it learned; missing in older files. No bar to another size of the
                     same model, whose base is the same
``base_sha256``      ``livesam.engine.files.hashing.weights_hash`` of the base's 120 float32 tensors
``tensors_sha256``   ``weights_hash`` of the tensors as stored; a file that was damaged does not load
``method``           the adaptation method's name, e.g. ``live``
``settings``         its settings, a JSON object
``domain``           the name under which it was learned
``counts``           JSON object of integers: interactions, accepted objects, steps, rejects...
``metrics``          JSON object of numbers, e.g. the replay gate's IoU
``versions``         JSON object of integers: the decoder slot's versions, e.g. ``{"stable": 7}``
``livesam``          version of the program that wrote it
``saved_at``         UTC, ISO 8601
===================  =================================================================================================

A decoder is only of use with the encoder that it was trained with; the base's hash stands for both.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.files.hashing import weights_hash
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights

FORMAT = "livesam-adapted-decoder"
FORMAT_VERSION = 1
MAX_FILE_BYTES = 64 << 20  # four times a float32 decoder
MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 1000

Kind: TypeAlias = Literal["difference", "weights"]
Precision: TypeAlias = Literal["float16", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptedDecoder:
    """An adapted decoder as read from its file.

    Attributes:
        path: of the file.
        info: what it says of itself.
        kind: what the tensors are.
        base_sha256: hash of the base decoder that it belongs to.
        tensors: as stored, float16 or float32.
        livesam: version of the program that wrote it.
        saved_at: when, UTC, ISO 8601.
    """

    path: Path
    info: AdaptedInfo
    kind: Kind
    base_sha256: str
    tensors: Mapping[str, npt.NDArray[Any]]
    livesam: str
    saved_at: str

    def resolve(self, base: DecoderWeights) -> dict[str, npt.NDArray[np.float32]]:
        """The adapted weights, float32.

        Raises:
            CheckpointError: ``base`` is not the decoder that this was learned on.
        """
        found = base_hash(base)
        if found != self.base_sha256:
            model = self.info.model
            how = f"give the checkpoint of {model} that it was learned on"
            if model == "nano":  # its bundled weights are other ones in other versions
                how = "open it with the livesam, or the nano checkpoint, that it was learned with"
            raise CheckpointError(
                f"{self.path}: this adapted decoder belongs to another base: it was learned on the {model} whose "
                f"decoder has the hash {self.base_sha256[:16]}, by livesam {self.livesam[:20]} of "
                f"{self.saved_at[:10]}, and the one at hand has {found[:16]}; {how}, or learn it anew on this one"
            )
        if {k: v.shape for k, v in self.tensors.items()} != {k: v.shape for k, v in base.items()}:
            raise CheckpointError(f"{self.path}: its tensors have other names or shapes than its base's")
        resolved = {}
        for key, value in self.tensors.items():
            stored = value.astype(np.float32)
            resolved[key] = stored if self.kind == "weights" else np.asarray(base[key], np.float32) + stored
        return resolved


def base_hash(base: DecoderWeights) -> str:
    """The hash by which a file names its base: over the float32 tensors, whatever precision ``base`` has."""
    return weights_hash({key: np.asarray(value, np.float32) for key, value in base.items()})


def write_adapted(
    path: Path,
    weights: DecoderWeights,
    base: DecoderWeights,
    info: AdaptedInfo,
    *,
    kind: Kind = "difference",
    precision: Precision = "float16",
) -> None:
    """Write an adapted decoder, atomically: an earlier file stays whole until the new one is on the disk.

    Raises:
        ValueError: names or shapes differ from the base's, a value is not finite in ``precision``, or an option is
            unknown.
        OSError: the file cannot be written.
    """
    from safetensors.numpy import save

    if kind not in ("difference", "weights") or precision not in ("float16", "float32"):
        raise ValueError(f"kind is difference or weights and precision float16 or float32, got {kind}, {precision}")
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in base.items()}:
        raise ValueError("weights and base must have the same names and shapes: give decoders of one model")
    tensors: dict[str, npt.NDArray[Any]] = {}
    for key in sorted(weights):
        value = np.asarray(weights[key], np.float32)
        if kind == "difference":
            value = value - np.asarray(base[key], np.float32)
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(value.astype(precision))
        if not np.isfinite(stored).all():
            raise ValueError(f"{key} is not finite as {precision}: store float32, or go back to an earlier version")
        tensors[key] = stored
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "kind": kind,
        "model": info.model,
        "base_sha256": base_hash(base),
        "tensors_sha256": weights_hash(tensors),
        "method": info.method,
        "settings": json.dumps(dict(info.settings), sort_keys=True),
        "domain": info.domain,
        "counts": json.dumps(dict(info.counts), sort_keys=True),
        "metrics": json.dumps(dict(info.metrics), sort_keys=True),
        "versions": json.dumps(dict(info.versions), sort_keys=True),
        "livesam": program_version(),
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if info.image_size is not None:
        header["image_size"] = str(info.image_size)
    with atomic_write(path) as file:
        file.write(save(tensors, header))


def read_adapted(path: Path) -> AdaptedDecoder:
    """Read and check an adapted decoder: size, header, format version, dtypes, finiteness, checksum.

    Raises:
        CheckpointError: it is missing, damaged, of another format or of a later format version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CheckpointError(f"{path} has {size} bytes; an adapted decoder has at most {MAX_FILE_BYTES}")
        blob = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    header = _header(blob, path)
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no adapted decoder of livesam (format {header.get('format')!r})")
    if header.get("format_version") != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{path} has format version {header.get('format_version')!r}, this livesam reads {FORMAT_VERSION}: update"
        )
    try:
        tensors: dict[str, npt.NDArray[Any]] = load(blob)
        kind = header["kind"]
        if kind not in ("difference", "weights"):
            raise CheckpointError(f"{path} has kind {kind!r}; difference and weights are known")
        if len({v.dtype for v in tensors.values()} | {np.dtype(np.float16), np.dtype(np.float32)}) > 2:
            raise CheckpointError(f"{path} holds other tensors than float16 or float32 ones")
        if not all(bool(np.isfinite(v).all()) for v in tensors.values()):
            raise CheckpointError(f"{path} holds values that are not finite")
        if weights_hash(tensors) != header["tensors_sha256"]:
            raise CheckpointError(f"{path} is damaged: its tensors do not match their checksum")
        return AdaptedDecoder(
            path=path,
            info=AdaptedInfo(
                model=header["model"],
                method=header["method"],
                domain=header["domain"],
                image_size=int(header["image_size"]) if "image_size" in header else None,
                **{name: _json_object(header[name]) for name in ("settings", "counts", "metrics", "versions")},
            ),
            kind="difference" if kind == "difference" else "weights",
            base_sha256=header["base_sha256"],
            tensors=tensors,
            livesam=header["livesam"],
            saved_at=header["saved_at"],
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def load_adapted(path: Path, base: DecoderWeights) -> dict[str, npt.NDArray[np.float32]]:
    """The float32 weights of an adapted decoder file.

    Raises:
        CheckpointError: the file is missing or damaged, or belongs to another base.
    """
    return read_adapted(path).resolve(base)


def program_version() -> str:
    """The installed livesam's version."""
    try:
        return metadata.version("livesam")
    except metadata.PackageNotFoundError:
        return "unknown"


def _header(blob: bytes, path: Path) -> dict[str, str]:
    """The metadata, read before the library sees the file: a header of 100 MB is legal safetensors."""
    if len(blob) < 8:
        raise CheckpointError(f"{path} is damaged: {len(blob)} bytes are no safetensors file")
    (length,) = struct.unpack("<Q", blob[:8])
    if length > min(MAX_HEADER_BYTES, len(blob) - 8):
        raise CheckpointError(f"{path} is damaged or no adapted decoder: its header claims {length} bytes")
    try:
        parsed = json.loads(blob[8 : 8 + length])
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its header is not JSON") from error
    if not isinstance(parsed, dict) or len(parsed) > MAX_TENSORS:
        raise CheckpointError(f"{path} is no adapted decoder: its header is not an object of at most {MAX_TENSORS}")
    found = parsed.get("__metadata__", {})
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise CheckpointError(f"{path} is damaged: its metadata are not strings")
    return found


def _json_object(text: str) -> dict[str, Any]:
    parsed = json.loads(text)
    if not isinstance(parsed, dict):
        raise ValueError(f"expected a JSON object in the metadata, got {text[:40]!r}")
    return parsed
