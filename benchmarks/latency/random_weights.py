"""Checkpoints of random weights: official files are not shipped, and how long a model takes does not depend on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def checkpoint_or_random(model: str, checkpoint: Path | None, random: bool) -> Iterator[Path | None]:
    """The given checkpoint, or where ``random`` asks for it, a temporary one of the official layout; always the same.

    Raises:
        ValueError: both are asked for, or there is no such model.
    """
    if not random:
        yield checkpoint
        return
    if checkpoint is not None:
        raise ValueError(f"--random-weights takes the place of --checkpoint {checkpoint}: give one of the two")
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="livesam-random-") as folder:
        yield write_random(model, Path(folder))


def write_random(model: str, folder: Path) -> Path:
    """Write such a checkpoint into the folder.

    Raises:
        ValueError: there is no such model.
    """
    import torch
    from livesam.engine.models.loading import build

    path = folder / f"{model}.pth"
    torch.save(build(model).state_dict(), path)
    return path
