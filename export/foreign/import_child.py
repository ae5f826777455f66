"""The process in which ``import_weights`` opens a foreign file.

Limits first, then ``inspect``'s look, then the checkpoint's own checks; what passes all of them is written to a fresh
safetensors file with official names and float32 tensors. The caller reads that file alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.values.errors import CheckpointError
from livesam.export.foreign.child import answer
from livesam.export.foreign.inspect_child import PREFIXES, look

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("model", "state_dict", "model_state_dict", "sam", "model_state", "net")
IGNORED = ("pixel_mean", "pixel_std")  # buffers that some programs save; they are constants


def take(path: Path, model: str, target: Path) -> bool:
    """Check ``path`` and write its tensors to ``target``; True where they are a mask decoder's alone.

    Raises:
        CheckpointError, ExportError: damaged, unsafe, or not weights of this model.
        OSError: ``target`` cannot be written.
    """
    from livesam.engine.models import loading as models
    from livesam.engine.models.checkpoints import read_checkpoint
    from safetensors.torch import save_file

    kind = look(path).kind
    if kind == "adapted decoder":
        raise CheckpointError(f"{path} is an adapted decoder of livesam already: give it with --adapted")
    if kind not in ("checkpoint", "mask decoder"):
        article = "an" if kind[0] in "aeiouAEIOU" else "a"
        raise CheckpointError(f"{path} is {article} {kind}: import takes a checkpoint or the weights of a mask decoder")
    shapes = models.state_shapes(model)
    bare = target.with_name(f"bare-{target.name}")
    plain, decoder_only = _plain(path, bare)
    if decoder_only:
        shapes = {key: shape for key, shape in shapes.items() if key.startswith("mask_decoder.")}
    try:
        state = read_checkpoint(plain, shapes, model)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(plain), str(path))) from error
    save_file(state, target)
    bare.unlink(missing_ok=True)
    return decoder_only


def _plain(path: Path, bare: Path) -> tuple[Path, bool]:
    """A file with the bare tensors, and whether they are a mask decoder's alone; ``path`` itself where it is plain."""
    import torch
    from safetensors.torch import load_file, save_file

    if path.is_dir():
        return path, False
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        from livesam.engine.models.torch_file import load_torch_file

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
        save_file(fresh, bare)
        return bare, decoder_only
    return path, decoder_only


def _without_prefix(key: str, names: Any) -> str:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in names):
            return key.removeprefix(prefix)
    return key


def main() -> None:
    path, model, target = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    answer(path, lambda: {"decoder_only": take(path, model, target)})


if __name__ == "__main__":
    main()
