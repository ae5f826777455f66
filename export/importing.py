"""``import_weights``: weights that were adapted or fine-tuned elsewhere become a base, or an adapted decoder, here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from livesam.engine.adapted import AdaptedInfo, write_adapted
from livesam.engine.errors import CheckpointError, ExportError
from livesam.export.inspect import inspect_file
from livesam.export.inspect_child import PREFIXES

if TYPE_CHECKING:
    from torch import Tensor

As = Literal["auto", "base", "decoder"]
WRAPPERS = ("model", "state_dict", "model_state_dict", "sam", "model_state", "net")
IGNORED = ("pixel_mean", "pixel_std")  # buffers that some programs save; they are constants


def import_weights(
    path: Path, model: str, out: Path, *, checkpoint: Path | None = None, into: As = "auto"
) -> Literal["base", "decoder"]:
    """Take over weights from a ``.pth``/``.pt``, safetensors file or Hugging Face folder.

    A file whose image encoder and prompt encoder are the base's, bit for bit, becomes an adapted decoder (``--adapted``
    takes it); one with an encoder of its own becomes a base, a flat checkpoint with official names (``--checkpoint``
    takes it). Wrapped dictionaries (``{"model": ...}``) and prefixes (``module.``) are taken off. A lone mask decoder
    is fine too.

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
    from livesam.engine import models
    from livesam.engine.checkpoints import read_checkpoint

    if into not in ("auto", "base", "decoder"):
        raise ValueError(f"an import becomes auto, base or decoder, got {into!r}")
    models.spec(model)
    kind = inspect_file(path).kind  # in a process of its own, before this one opens the file
    if kind not in ("checkpoint", "mask decoder", "adapted decoder"):
        raise CheckpointError(f"{path} is an {kind}: import takes a checkpoint or the weights of a mask decoder")
    shapes = models.state_shapes(model)
    has_base = checkpoint is not None or model == "nano"
    with tempfile.TemporaryDirectory(prefix="livesam-import-") as work:
        plain, decoder_only = _plain(path, Path(work))
        if decoder_only:
            shapes = {key: shape for key, shape in shapes.items() if key.startswith("mask_decoder.")}
        state = read_checkpoint(plain, shapes, model)
    if decoder_only and into == "base":
        raise CheckpointError(f"{path} holds a mask decoder alone: a base needs the encoders too")
    base = models.load(model, checkpoint) if has_base else None
    if base is None:
        if into == "decoder" or decoder_only:
            raise CheckpointError(f"a decoder belongs to a base: give the checkpoint of {model} that it was made from")
        return _write_base(state, out)
    frozen = {} if decoder_only else {k: v for k, v in state.items() if not k.startswith("mask_decoder.")}
    other = _first_difference(frozen, base.state_dict())
    if into == "base" or (into == "auto" and other):
        return _write_base(state, out)
    if other:
        raise CheckpointError(
            f"{path} was trained with other encoders than this base ({other} differs), so its decoder is of no use "
            "with it: import it as a base"
        )
    weights = {
        key.removeprefix("mask_decoder."): value.numpy()
        for key, value in state.items()
        if key.startswith("mask_decoder.")
    }
    info = AdaptedInfo(model=model, method="imported", domain=path.stem[:100], settings={"file": path.name})
    try:
        write_adapted(out, weights, models.decoder_weights(base), info, kind="weights", precision="float32")
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error
    return "decoder"


def _plain(path: Path, work: Path) -> tuple[Path, bool]:
    """A file with the bare tensors, and whether they are a mask decoder's alone; ``path`` itself where it is plain."""
    import torch
    from safetensors.torch import load_file, save_file

    if path.is_dir():
        return path, False
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        from livesam.engine.torch_file import load_torch_file

        loaded = load_torch_file(path)
    else:
        loaded = load_file(path)
    state: dict[Any, Any] = loaded if isinstance(loaded, dict) else {}
    for key in WRAPPERS:
        if isinstance(state.get(key), dict):
            state = state[key]
            break
    tensors = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
    tensors = {k: v for k, v in tensors.items() if k not in IGNORED}
    names = {key: _without_prefix(key, tensors) for key in tensors}
    if "iou_token.weight" in names.values():
        names = {key: f"mask_decoder.{name}" for key, name in names.items()}
    decoder_only = bool(names) and all(name.startswith("mask_decoder.") for name in names.values())
    changed = state is not loaded or len(tensors) != len(state) or list(names) != list(names.values())
    if tensors and changed and len(set(names.values())) == len(names):
        fresh: dict[str, Tensor] = {names[key]: value.detach().clone().contiguous() for key, value in tensors.items()}
        plain = work / "plain.safetensors"
        save_file(fresh, plain)
        return plain, decoder_only
    return path, decoder_only


def _without_prefix(key: str, names: Any) -> str:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in names):
            return key.removeprefix(prefix)
    return key


def _first_difference(state: dict[str, Tensor], base: dict[str, Tensor]) -> str:
    import torch

    for key, value in state.items():
        if not key.endswith("num_batches_tracked") and not torch.equal(value.float(), base[key].float()):
            return key
    return ""


def _write_base(state: dict[str, Tensor], out: Path) -> Literal["base"]:
    import torch
    from livesam.export.staging import staged
    from safetensors.torch import save_file

    if out.suffix not in (".safetensors", ".pth"):
        raise ValueError(f"a base is written as .safetensors or .pth, got {out.name!r}")
    with staged(out) as target:
        if out.suffix == ".pth":
            torch.save(state, target)
        else:
            save_file(state, target)
    return "base"
