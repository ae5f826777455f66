from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.files.number_format import as_rgb, choose_bands, to_rgb

RAMP = np.linspace(0, 1, 4096).reshape(64, 64)
WANT = np.rint(RAMP * 255).astype(np.uint8)


def of_kind(kind: str) -> np.ndarray:
    """The ramp over some range that numbers of this kind have."""
    low, high = {"i1": (-100, 90), "u2": (300, 4095), "i2": (-1000, 400), "f2": (-2, 3)}.get(kind, (-0.5, 1e5))
    low = max(low, 0) if kind[0] == "u" else low
    values = low + RAMP * (high - low)
    return (values if kind[0] == "f" else np.rint(values)).astype(kind)


@pytest.mark.parametrize("kind", ["i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_every_number_format_gives_the_same_picture(kind: str) -> None:
    values = of_kind(kind)
    image = as_rgb(values)
    assert image.dtype == np.uint8
    assert image.shape == (64, 64, 3)
    assert (image.min(), image.max()) == (0, 255)
    assert np.abs(image[..., 0].astype(int) - WANT).max() <= (2 if kind == "i1" else 1)


def test_8_bits_stay_as_they_are(rng: np.random.Generator) -> None:
    pixels = rng.integers(50, 99, (8, 9, 3), dtype=np.uint8)
    assert as_rgb(pixels) is pixels
    np.testing.assert_array_equal(as_rgb(pixels[..., 0]), np.stack([pixels[..., 0]] * 3, -1))
    np.testing.assert_array_equal(as_rgb(pixels[..., :1]), as_rgb(pixels[..., 0]))
    assert set(np.unique(as_rgb(pixels[..., 0] > 70))) == {0, 255}
    opaque = np.concatenate([pixels, np.full((8, 9, 1), 255, np.uint8)], 2)
    np.testing.assert_array_equal(as_rgb(opaque), pixels)
    opaque[:4, :, 3] = 0
    assert (as_rgb(opaque)[:4] == 255).all()


def test_bands_are_scaled_alike() -> None:
    values = np.stack([RAMP * 1000, RAMP * 500, RAMP * 0 + 250], -1).astype(np.float32)
    image = as_rgb(values)
    np.testing.assert_array_equal(image[..., 0], WANT)
    assert image[..., 1].max() == 128
    assert (image[..., 2] == 64).all()


@pytest.mark.parametrize("fill", [-9999, -3.4028234663852886e38, 1e20, np.nan, np.inf, -np.inf])
def test_fill_values_do_not_turn_the_rest_black(fill: float) -> None:
    values = (RAMP * 500).astype(np.float32)
    values[:20] = fill
    rest = as_rgb(values)[20:, :, 0].astype(float)
    assert np.unique(rest).size > 110  # of the 175 that these rows would have alone
    assert np.corrcoef(rest.ravel(), RAMP[20:].ravel())[0, 1] > 0.999


def test_declared_no_data_is_black_and_does_not_count() -> None:
    for kind in ("u2", "i2", "f4"):
        values = (RAMP * 500 + 100).astype(kind)
        values[:20] = 0
        image = to_rgb(values[..., None], no_data=0)
        assert (image[:20] == 0).all()
        np.testing.assert_array_equal(image[20:], as_rgb(values[20:]))
        inverted = to_rgb(values[..., None], no_data=0, white_is_zero=True)
        assert (inverted[:20] == 0).all()
        np.testing.assert_allclose(inverted[20:], 255 - image[20:].astype(int), atol=1)
    with_text = (RAMP * 500).astype(np.float32)
    with_text[:20] = np.float32(0.1)
    assert (to_rgb(with_text[..., None], no_data=0.1)[:20] == 0).all()  # 0.1 as a float32, not as a float64


def test_a_few_dead_pixels_do_not_turn_the_rest_black(rng: np.random.Generator) -> None:
    values = (np.linspace(0, 4095, 40_000).reshape(200, 200)).astype(np.uint16)
    want = as_rgb(values)
    values[3, 3], values[90, 90], values[20, 20] = 65535, 65000, 60001
    image = as_rgb(values)
    assert np.unique(image).size > 165
    assert abs(np.corrcoef(image.ravel(), want.ravel())[0, 1]) > 0.99


def test_small_and_even_images() -> None:
    assert as_rgb(np.array([[0, 10], [20, 40]], np.uint16))[..., 0].tolist() == [[0, 64], [128, 255]]
    assert (as_rgb(np.full((5, 5), 1000, np.uint16)) == 128).all()
    assert as_rgb(np.array([[1.5, np.nan]]))[0, :, 0].tolist() == [128, 0]


def test_arrays_that_are_no_image_are_refused() -> None:
    for array, words in (
        ([[1, 2]], "NumPy array, got list"),
        (np.zeros((4, 4), complex), "got complex128"),
        (np.zeros((4, 4), object), "got object"),
        (np.full((4, 4), "a"), "got <U1"),
        (np.zeros((3, 40, 50), np.uint8), "moveaxis"),
        (np.zeros((40, 50, 5), np.uint8), "choose bands"),
        (np.zeros((40, 50, 4), np.float32), "RGBA and uint8"),
        (np.zeros(9, np.uint8), "shape"),
        (np.zeros((0, 9, 3), np.uint8), "at least one pixel"),
        (np.full((4, 4), np.nan), "no pixel of the image has a value"),
    ):
        with pytest.raises(ValueError, match=words):
            as_rgb(array)  # type: ignore[arg-type]


def test_bands_are_chosen_from_1_on() -> None:
    samples = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(choose_bands(samples, (4, 1, 1)), samples[..., [3, 0, 0]])
    with pytest.raises(ValueError, match="no band 5: the image has 4"):
        choose_bands(samples, (1, 2, 5))
