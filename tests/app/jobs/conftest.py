"""An encoder that costs nothing, and a folder of small images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from livesam.engine.runtimes.base import PreparedEncoder
from PIL import Image

ENCODED: list[int] = []  # how many images each run of the toy had


class Toy(PreparedEncoder):
    """The mean colour of each image as its embedding."""

    def __init__(self, identity: str = "toy", batch: int = 1) -> None:
        super().__init__(64, identity, "toy:cpu:fp32", batch)

    def _run(self, prepared: np.ndarray) -> np.ndarray:
        ENCODED.append(len(prepared))
        means = prepared.mean(axis=(1, 2, 3))
        return np.repeat(means, 256 * 4 * 4).reshape(-1, 256, 4, 4).astype(np.float32)

    def _free(self) -> None:
        pass


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """``open_encoder`` gives the toy; what is returned tells what it ran."""
    import livesam.export.opening

    monkeypatch.setattr(livesam.export.opening, "open_encoder", lambda *_, batch=1, **__: Toy(batch=batch))
    ENCODED.clear()
    return ENCODED


@pytest.fixture
def other_toy(toy: list[int], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Calling it makes ``open_encoder`` give an encoder with other weights."""
    import livesam.export.opening

    return lambda: monkeypatch.setattr(livesam.export.opening, "open_encoder", lambda *_, **__: Toy("other"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine images in a folder and one below it, beside what is none."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    for i in range(9):
        name = f"below/{i}.png" if i == 4 else f"{i}.png"
        Image.new("RGB", (20 + i, 10), (20 * i, 9, 9)).save(folder / name)
    Image.new("RGB", (5, 5)).save(folder / ".thumbnails" / "0.png")
    (folder / "notes.txt").write_text("no image")
    return folder
