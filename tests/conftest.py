"""Fixtures that several folders share. Models are made once per run: a test that changes one copies it first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from livesam.engine.models.spec import ModelSpec

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    """What `small_sam` is: 256 px, 16x16 embedding."""
    return ModelSpec("vit_small", 256, None)


@pytest.fixture(scope="session")
def small_sam(small_spec: ModelSpec) -> Sam:
    """A random `Sam` with a small encoder of SAM's ViT class; both kinds of blocks, windows that need padding."""
    import torch
    from livesam.engine.models import loading as models

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = models.vit_encoder(96, depth=4, heads=3, global_blocks=(1, 3), image_size=256, window=7)
        sam = models.assemble(encoder, small_spec.image_size)
        models.randomise_constants(sam)
    return sam


@pytest.fixture(scope="session")
def nano_sam() -> Sam:
    """`nano` with random weights."""
    from livesam.engine.models import loading as models

    return models.build("nano")


@pytest.fixture(scope="session")
def photo() -> npt.NDArray[np.uint8]:
    """A real photo that scikit-image ships, RGB uint8 (512, 512, 3)."""
    skimage_data = pytest.importorskip("skimage.data")
    image: npt.NDArray[np.uint8] = skimage_data.astronaut()
    image.setflags(write=False)
    return image


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the evaluation data sets."""
    folder = Path(os.environ.get("LIVESAM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}: set LIVESAM_DATA to their folder")
    return folder
