"""``import_weights``: weights that were adapted or fine-tuned elsewhere become a base, or an adapted decoder, here."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from livesam.engine.models.adapted import write_adapted
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError, ExportError
from livesam.export.foreign.child import ask
from livesam.export.foreign.inspect import MAX_FILE_BYTES

if TYPE_CHECKING:
    from torch import Tensor

As = Literal["auto", "base", "decoder"]
TIMEOUT_S = 600.0  # a vit_h is read and written once
MAX_HEADER_BYTES = 2**20


def import_weights(
    path: Path, model: str, out: Path, *, checkpoint: Path | None = None, into: As = "auto"
) -> Literal["base", "decoder"]:
    """Take over weights from a ``.pth``/``.pt``, safetensors file or Hugging Face folder.

    A file whose image encoder and prompt encoder are the base's, bit for bit, becomes an adapted decoder (``--adapted``
    takes it); one with an encoder of its own becomes a base, a flat checkpoint with official names (``--checkpoint``
    takes it). Where in the file they are is ``engine/models/contents.py``'s rule. A lone mask decoder, or one with its
    prompt encoder, is fine too.

    The file is opened in a process with limits on memory and time (``livesam.export.foreign.import_child``); this one
    reads only the checked copy that it hands over.

    Args:
        path: the foreign file.
        model: whose architecture it has.
        out: the file to write; a base ends in ``.safetensors`` or ``.pth``.
        checkpoint: the base to compare with; ``nano``'s own needs none. Without a base the file becomes one itself.
        into: ``auto``, or insist on ``base`` or ``decoder``.

    Returns:
        What it became.

    Raises:
        ValueError: unknown model or suffix.
        CheckpointError: damaged, unsafe, of another model, or not what was insisted on.
        ExportError: ``out`` could not be written.
    """
    from livesam.engine.models import loading as models
    from livesam.engine.models.spec import spec

    if into not in ("auto", "base", "decoder"):
        raise ValueError(f"an import becomes auto, base or decoder, got {into!r}")
    spec(model)  # refuses an unknown name
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside the result: where that fits, so does the copy.
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as work:
            target = Path(work) / "checked.safetensors"
            parts = checked_copy(path, model, target)
            shapes = models.state_shapes(model)
            shapes = {key: shape for key, shape in shapes.items() if key.partition(".")[0] in parts}
            state = _read(target, shapes, model)
            return _write(path, state, model, out, checkpoint, into)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error


def _write(
    path: Path, state: dict[str, Tensor], model: str, out: Path, checkpoint: Path | None, into: As
) -> Literal["base", "decoder"]:
    """What the tensors are here, and the file."""
    from livesam.engine.models import loading as models

    decoder_only = not any(key.startswith("image_encoder.") for key in state)
    if decoder_only and into == "base":
        raise CheckpointError(f"{path} holds a mask decoder alone: a base needs the encoders too")
    has_base = checkpoint is not None or model == "nano"
    base = models.load(model, checkpoint) if has_base else None
    if base is None:
        if into == "decoder" or decoder_only:
            raise CheckpointError(f"a decoder belongs to a base: give the checkpoint of {model} that it was made from")
        return _write_base(state, out)
    frozen = {key: value for key, value in state.items() if not key.startswith("mask_decoder.")}
    other = _first_difference(frozen, base.state_dict())
    if not decoder_only and (into == "base" or (into == "auto" and other)):
        return _write_base(state, out)
    if other:
        what = "give the checkpoint that it was made from" if decoder_only else "import it as a base"
        raise CheckpointError(
            f"{path} was trained with other encoders than this base ({other} differs), so its decoder is of no use "
            f"with it: {what}"
        )
    weights = {
        key.removeprefix("mask_decoder."): value.numpy()
        for key, value in state.items()
        if key.startswith("mask_decoder.")
    }
    info = AdaptedInfo(model=model, method="imported", domain=path.stem[:100], settings={"file": path.name})
    write_adapted(out, weights, models.decoder_weights(base), info, kind="weights", precision="float32")
    return "decoder"


def checked_copy(path: Path, model: str, target: Path) -> tuple[str, ...]:
    """Have ``path`` opened and checked by a process with limits on memory and time, which writes it anew to ``target``.

    Returns:
        Which of SAM's parts it holds.

    Raises:
        CheckpointError, ExportError: the file was refused; one sentence.
    """
    if not path.exists():
        raise CheckpointError(f"there is no file {path}")
    if not (path.is_file() or path.is_dir()):
        raise CheckpointError(f"{path} is neither a file nor a folder")
    if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes, a SAM checkpoint has at most {MAX_FILE_BYTES}")
    return tuple(ask("livesam.export.foreign.import_child", path, [model, str(target)], timeout_s=TIMEOUT_S)["parts"])


def _read(target: Path, shapes: Mapping[str, tuple[int, ...]], model: str) -> dict[str, Tensor]:
    """The child's file, which is believed no more than any other: its size first, then a checkpoint's checks."""
    from livesam.engine.models.checkpoints import read_checkpoint

    most = sum(8 * math.prod(shape) for shape in shapes.values()) + MAX_HEADER_BYTES
    if target.stat().st_size > most:
        raise CheckpointError(f"the checked copy has {target.stat().st_size} bytes, {model} needs less than {most}")
    return read_checkpoint(target, shapes, model)


def _first_difference(state: dict[str, Tensor], base: dict[str, Tensor]) -> str:
    import torch

    for key, value in state.items():
        if not key.endswith("num_batches_tracked") and not torch.equal(value.float(), base[key].float()):
            return key
    return ""


def _write_base(state: dict[str, Tensor], out: Path) -> Literal["base"]:
    import torch
    from livesam.export.files.staging import staged
    from safetensors.torch import save_file

    if out.suffix not in (".safetensors", ".pth"):
        raise ValueError(f"a base is written as .safetensors or .pth, got {out.name!r}")
    with staged(out) as target:
        if out.suffix == ".pth":
            torch.save(state, target)
        else:
            save_file(state, target)
    return "base"
