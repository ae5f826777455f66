"""One model on one device, opened once for all sections: its weights, images and session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from livesam.benchmarks.latency.random_weights import write_random
from livesam.engine.files.sample_photos import SAMPLE_PHOTOS, sample_photo
from livesam.engine.models.loading import assemble, build, load, randomise_constants, vit_encoder
from livesam.engine.models.spec import VIT_SHAPES, ModelSpec, spec

if TYPE_CHECKING:
    from livesam.engine.session.session import Session
    from livesam.export.opening import Opening
    from segment_anything.modeling import Sam

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        seconds: of one timing.
        batches: images at once.
        prompts: prompts in one call.
        swaps: weights published under clicks.
        objects: of four clicks each, with zoom, obey and edges.
        events: clicks of each side, with learning and without.
        megapixels: of the large picture.
    """

    seconds: float = 0.6
    batches: tuple[int, ...] = (1, 8, 16, 32)
    prompts: tuple[int, ...] = (1, 8, 64)
    swaps: int = 4
    objects: int = 12
    events: int = 24
    megapixels: int = 12


QUICK = Effort(seconds=0.02, batches=(1, 2), prompts=(1, 2), swaps=2, objects=1, events=4, megapixels=1)


class ModelBench:
    """A model's session on PyTorch and what its sections share; each part is made when it is first needed.

    Only nano has trained weights here; the others draw theirs, which costs as much time and says nothing about masks.
    """

    def __init__(self, model: str, device: str, folder: Path, effort: Effort, *, quick: bool = False) -> None:
        self.model, self.device, self.folder = model, device, folder
        self.effort, self.quick = effort, quick
        self.precision = "bf16" if device.startswith("cuda") else "fp32"  # the peers'; PyTorch's on CPUs is fp32 only

    @property
    def spec(self) -> ModelSpec:
        return spec(self.model)

    @cached_property
    def checkpoint(self) -> Path | None:
        """None for nano's own weights; else random ones as an official file, so that every runtime loads the same."""
        return None if self.model == "nano" else write_random(self.model, self.folder)

    def opening(self, runtime: str = "torch", precision: str | None = None, device: str | None = None) -> Opening:
        """A runtime's opening on this device, or on another."""
        from livesam.export.opening import Opening

        return Opening(
            self.model, self.checkpoint, runtime, precision, device or self.device, self.folder / f"cache-{self.model}"
        )

    @property
    def encoder_precision(self) -> str:
        """In which a session's encoder runs here."""
        from livesam.export.opening import Opening

        return Opening(self.model, runtime="torch", device=self.device).choice("encoder").precision

    @cached_property
    def session(self) -> Session:
        """On PyTorch in its usual precision, all looks off."""
        from livesam.export.opening import open_session

        return open_session(self.opening())

    def fresh_sam(self) -> Sam:
        """The official modules on the device, float32, with the session's weights."""
        return load(self.model, self.checkpoint).to(self.device)

    @property
    def pictures(self) -> dict[str, Image]:
        """Both photos by size, or the small one where the large one is no larger."""
        return ({"12_mpx": self.large} if self.effort.megapixels == 12 else {}) | {"1_mpx": self.small}

    @cached_property
    def large(self) -> Image:
        """A photo of 12 Mpx (4000x3000), as a phone takes it."""
        side = {12: (4000, 3000), 1: (1152, 864)}[self.effort.megapixels]
        return photo("astronaut", side)

    @cached_property
    def small(self) -> Image:
        """A photo of 1 Mpx (1152x864)."""
        return photo("coffee", (1152, 864))

    def close(self) -> None:
        """Free the session, if there is one."""
        if "session" in self.__dict__:
            self.session.close()
            del self.__dict__["session"]


def photo(name: str, size_wh: tuple[int, int] | None = None) -> Image:
    """A real photo where scikit-image is installed, enlarged if asked; else a synthetic picture."""
    from livesam.benchmarks.latency.stream import picture
    from livesam.engine.values.errors import LivesamError

    try:
        found = sample_photo(name)
    except LivesamError:
        found = picture(seed=SAMPLE_PHOTOS.index(name))
    if size_wh is None:
        return found
    return np.ascontiguousarray(cv2.resize(found, size_wh, interpolation=cv2.INTER_CUBIC).astype(np.uint8))


def random_sam(model: str, device: str) -> Sam:
    """A model with random weights that are drawn on the device: vit_h takes 10 s on a CPU core, here none."""
    import torch

    if model not in VIT_SHAPES:
        return build(model).to(device)
    with torch.device(device):
        sam = assemble(vit_encoder(*VIT_SHAPES[model]), spec(model).image_size)
    randomise_constants(sam)
    return sam
