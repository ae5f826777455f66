from __future__ import annotations

import numpy as np
import pytest
import torch
from livesam.engine.view.geometry import ResizeGeometry, drawn, postprocess, prepare, resize
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide

SIZES = [(480, 640), (640, 427), (64, 64), (7, 5), (333, 1000), (129, 65)]


class _Pad(torch.nn.Module):
    """The encoder that gives back what it gets: what ``SamPredictor`` would feed a real one."""

    def __init__(self, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size


def reference(size: int) -> Sam:
    return Sam(_Pad(size), torch.nn.Identity(), torch.nn.Identity())


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("size", [64, 512])
def test_prepare_gives_the_bits_of_the_reference(hw: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8)
    resized = ResizeLongestSide(size).apply_image(image)
    expected = reference(size).preprocess(torch.from_numpy(resized).permute(2, 0, 1)[None])
    np.testing.assert_array_equal(prepare(image, size), expected.numpy())
    assert ResizeGeometry.of(hw, size).resized_hw == resized.shape[:2]


@pytest.mark.parametrize("hw", SIZES)
def test_coordinates_follow_the_reference(hw: tuple[int, int]) -> None:
    xy = np.random.default_rng(1).random((5, 2)) * (hw[1], hw[0])
    expected = torch.as_tensor(ResizeLongestSide(512).apply_coords(xy, hw), dtype=torch.float).numpy()
    np.testing.assert_array_equal(ResizeGeometry.of(hw, 512).to_input_frame(xy), expected)


@pytest.mark.parametrize("hw", SIZES)
def test_masks_at_the_original_size_equal_the_reference(hw: tuple[int, int]) -> None:
    low = np.random.default_rng(2).standard_normal((128, 128)).astype(np.float32) * 8
    geometry = ResizeGeometry.of(hw, 512)
    expected = (
        reference(512).postprocess_masks(torch.from_numpy(low)[None, None], geometry.resized_hw, hw)[0, 0].numpy()
    )
    np.testing.assert_allclose(postprocess(low, geometry), expected, rtol=0, atol=1e-4 * np.abs(low).max())


@pytest.mark.parametrize("hw", [(2500, 3000), (3001, 2999), (200, 40000), (480, 640)])
@pytest.mark.parametrize("where", ["inside", "at two borders", "everywhere", "nowhere", "two pixels"])
def test_a_large_mask_is_drawn_as_all_of_its_logits_are(hw: tuple[int, int], where: str) -> None:
    noise = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    logits = np.full((128, 128), -8, np.float32) + noise
    part = {
        "inside": np.s_[10:50, 20:90],
        "at two borders": np.s_[:40, 100:],
        "everywhere": np.s_[:],
        "two pixels": np.s_[0:1, 60:62],
    }
    if where != "nowhere":
        logits[part[where]] = 3 * noise[part[where]] + 4
    geometry = ResizeGeometry.of(hw, 512)
    full = postprocess(logits, geometry)
    mask = drawn(logits, geometry)
    assert mask.dtype == np.bool_
    other = mask != (full > 0)
    assert (np.abs(full[other]) < 1e-5).all()
    assert other.sum() <= 3
    assert mask.any() == (full > 0).any()


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, 64), image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image"):
        prepare(image, 64)


def test_an_image_too_thin_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="too thin"):
        ResizeGeometry.of((1, 3000), 1024)
