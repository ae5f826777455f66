"""The process in which ``import_weights`` opens a foreign file.

Limits first, then ``inspect``'s look, then the checkpoint's own checks; what passes all of them is written to a fresh
safetensors file with official names and float32 tensors. The caller reads that file alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from livesam.engine.values.errors import CheckpointError
from livesam.export.foreign.child import answer
from livesam.export.foreign.inspect_child import look


def take(path: Path, model: str, target: Path) -> tuple[str, ...]:
    """Check ``path`` and write its tensors to ``target``; which of SAM's parts they are.

    Raises:
        CheckpointError, ExportError: damaged, unsafe, or not weights of this model.
        OSError: ``target`` cannot be written.
    """
    from livesam.engine.models import loading as models
    from livesam.engine.models.checkpoints import read_parts
    from safetensors.torch import save_file

    kind = look(path).kind
    if kind == "adapted decoder":
        raise CheckpointError(f"{path} is an adapted decoder of livesam already: give it with --adapted")
    if kind not in ("checkpoint", "mask decoder"):
        article = "an" if kind[0] in "aeiouAEIOU" else "a"
        raise CheckpointError(f"{path} is {article} {kind}: import takes a checkpoint or the weights of a mask decoder")
    state, parts = read_parts(path, models.state_shapes(model), model)
    save_file(state, target)
    return parts


def main() -> None:
    path, model, target = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    answer(path, lambda: {"parts": take(path, model, target)})


if __name__ == "__main__":
    main()
