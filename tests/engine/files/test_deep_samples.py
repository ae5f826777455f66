from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from livesam.engine.files.deep_samples import DeepImage, read_deep
from livesam.engine.files.image import read_image
from PIL import Image


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_grey_of_16_bits(tmp_path: Path, rng, suffix) -> None:
    samples = rng.integers(100, 60_000, (20, 30)).astype(np.uint16)
    Image.fromarray(samples).save(tmp_path / f"deep{suffix}")
    found = read_deep(tmp_path / f"deep{suffix}")
    assert found is not None
    assert np.array_equal(found.samples[..., 0], samples)
    assert (found.low, found.high) == (samples.min(), samples.max())


def test_turned_as_the_image_is(tmp_path: Path, rng) -> None:
    tifffile = pytest.importorskip("tifffile")
    samples = rng.normal(size=(20, 30)).astype(np.float32)
    samples[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "float.tif", samples, extratags=[(274, "H", 1, 6, True)])
    found = read_deep(tmp_path / "float.tif")
    assert found is not None
    assert found.samples.shape[:2] == read_image(tmp_path / "float.tif").shape[:2] == (30, 20)
    assert found.low == np.nanmin(samples)
    assert (found.levels(None, None)[np.isnan(found.samples[..., 0])] == 0).all()


def test_what_has_eight_bits_or_is_no_image_has_none(tmp_path: Path, rng) -> None:
    Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(tmp_path / "plain.png")
    (tmp_path / "text.tif").write_text("II*")
    assert read_deep(tmp_path / "plain.png") is None
    assert read_deep(tmp_path / "text.tif") is None
    assert read_deep(tmp_path / "missing.tif") is None


def test_levels() -> None:
    image = DeepImage(np.array([[[0], [10], [20], [30]]], np.int32), 0.0, 30.0)
    assert image.levels(10, 20)[0, :, 0].tolist() == [0, 0, 255, 255]
    assert image.levels(None, None)[0, :, 0].tolist() == [0, 85, 170, 255]
    for low, high in ((20, 10), (5, 5), (float("nan"), 1), (0, float("inf"))):
        with pytest.raises(ValueError, match="low below high"):
            image.levels(low, high)
