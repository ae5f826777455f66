"""TIFF in all its forms, written by tifffile and OpenCV, which share no code with the reader."""

from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import cv2
import numpy as np
import pytest
from livesam.engine.files.image import decode_image
from livesam.engine.files.tiff import Tiff
from livesam.engine.values.errors import ImageError

tifffile = pytest.importorskip("tifffile")

Y, X = np.mgrid[0:70, 0:90]
GREY = (np.sin(X / 9) * np.cos(Y / 7) + 1) / 2
RGB = np.stack([GREY, GREY.T[:70, :1] * X / 90, Y / 70], -1)


def tiff(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **{"photometric": "minisblack", "metadata": None, **options})
    return buffer.getvalue()


def bands(values: np.ndarray, planar: str, **options: Any) -> bytes:
    """Samples ``(H, W, C)`` as a file whose bands lie beside or behind each other."""
    moved = values if planar == "contig" else np.moveaxis(values, -1, 0)
    return tiff(moved, planarconfig=planar, **options)


def retagged(data: bytes, values: dict[int, int]) -> bytes:
    """A file whose tags of these numbers have other values."""
    changed = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for number, value in values.items():
            tag = file.pages[0].tags[number]
            size = {3: 2, 4: 4}[int(tag.dtype)]
            changed[tag.valueoffset : tag.valueoffset + size] = value.to_bytes(size, "little")
    return bytes(changed)


def samples(data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    found = Tiff.read(file, "a.tif")
    assert found is not None
    return found.storage.samples(file, "a.tif")


def shown(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return np.rint((values.astype(float) - low) * (255 / (high - low))).astype(np.uint8)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_samples_come_back_as_they_were_written(kind: str, rng: np.random.Generator) -> None:
    values = (rng.random((70, 90, 5)) * 100).astype(kind)
    layouts = itertools.product(
        ("contig", "separate"), (None, (32, 48)), ("<", ">"), (None, "zlib"), (False, True), (False, True)
    )
    for planar, tile, order, compression, predictor, big in layouts:
        if predictor and (compression != "zlib" or kind not in ("u1", "i1", "u2", "i2", "u4", "i4")):
            continue
        rows = None if tile else 13
        options = {"compression": compression, "predictor": predictor, "bigtiff": big}
        data = bands(values, planar, tile=tile, byteorder=order, rowsperstrip=rows, **options)
        found = samples(data)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("compression", [5, 8, 32773])
@pytest.mark.parametrize(("kind", "predictor"), [*itertools.product(("u2", "i2", "u4", "f4"), (1, 2)), ("f4", 3)])
def test_lzw_and_every_predictor(kind: str, compression: int, predictor: int, rng: np.random.Generator) -> None:
    values = (rng.random((70, 90, 3)) * 100).astype(kind)
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    _, data = cv2.imencode(".tiff", np.ascontiguousarray(values[..., ::-1]), options)
    np.testing.assert_array_equal(samples(bytes(data)), values)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_without_gaps(bits: int, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2**bits, (70, 91), dtype=np.uint16)
    ones = (values[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint16)) & 1
    packed = np.packbits(ones.reshape(70, -1).astype(np.uint8), axis=1)
    data = retagged(tiff(packed), {256: 91, 258: bits})  # the same bytes, called other numbers
    np.testing.assert_array_equal(samples(data)[..., 0], values)


def test_a_float_picture_is_the_same_in_any_range() -> None:
    want = decode_image(tiff(GREY.astype(np.float32)))
    np.testing.assert_array_equal(want[..., 0], shown(GREY.astype(np.float32)))
    for scale, shift in ((1.001, 0), (255, 0), (1e5, -3e4), (1e-4, 7)):
        image = decode_image(tiff((GREY * scale + shift).astype(np.float64)))
        assert np.abs(image.astype(int) - want).max() <= 1


def test_hounsfield_units_keep_their_order() -> None:
    values = np.rint(GREY * 1400 - 1000).astype(np.int16)
    np.testing.assert_array_equal(decode_image(tiff(values))[..., 2], shown(values))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_colours_by_the_photometric_tag(planar: str, kind: str) -> None:
    values = (RGB * 4095).astype(kind)
    np.testing.assert_array_equal(decode_image(bands(values, planar, photometric="rgb")), shown(values))
    # Programs for satellites write three bands of 16 bits without calling them colours.
    np.testing.assert_array_equal(decode_image(bands(values, planar)), shown(values))


def test_white_is_zero_at_every_depth() -> None:
    want = np.rint(GREY * 255)
    for kind, top in (("u1", 255), ("u2", 4095), ("f4", 1.0)):
        values = (top - GREY * top).astype(kind)
        image = decode_image(tiff(values, photometric="miniswhite"))
        assert np.abs(image[..., 0] - want).max() <= 1.5
    assert (decode_image(tiff(np.ones((8, 8), bool), photometric="miniswhite")) == 0).all()


def test_no_data_by_gdals_tag() -> None:
    values = (GREY * 500 + 100).astype(np.float32)
    values[:30] = -9999
    image = decode_image(tiff(values, extratags=[(42113, 2, 0, "-9999", True)]))
    assert (image[:30] == 0).all()
    np.testing.assert_array_equal(image[30:, :, 0], shown(values[30:]))
    for text in ("nan", "none of it", "1e999"):  # says nothing
        decode_image(tiff(values, extratags=[(42113, 2, 0, text, True)]))


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_bands_that_are_no_colours_are_named_and_can_be_chosen(kind: str) -> None:
    values = np.stack([GREY, X / 90, Y / 70, GREY * 0, 1 - GREY], -1)
    values = (values * 255).astype(kind)
    for planar in ("contig", "separate"):
        data = bands(values, planar)
        with pytest.raises(ImageError, match=r"photo\.tif has 5 bands of \d+-bit .*--bands 3,2,1") as caught:
            decode_image(data, "photo.tif")
        assert "damaged" not in str(caught.value)
        want = values[..., [2, 1, 0]] if kind == "u1" else shown(values[..., [2, 1, 0]])
        np.testing.assert_array_equal(decode_image(data, bands=(3, 2, 1)), want)
        with pytest.raises(ImageError, match="no band 6: the image has 5"):
            decode_image(data, bands=(6,))
    with pytest.raises(ImageError, match=r"has 2 bands .*--bands 1 "):
        decode_image(bands(values[..., :2], "contig"))


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_near_infrared_is_no_opacity_and_opacity_no_colour(kind: str) -> None:
    top = np.iinfo(kind).max
    colours, fourth = (RGB / RGB.max() * top).astype(kind), np.zeros((70, 90), kind)
    fourth[30:] = top
    want = colours if kind == "u1" else shown(colours)
    four = np.dstack([colours, fourth])
    np.testing.assert_array_equal(
        decode_image(bands(four, "contig", photometric="rgb", extrasamples=["unspecified"])), want
    )
    over = decode_image(bands(four, "contig", photometric="rgb", extrasamples=["unassalpha"]))
    assert (over[:30] == 255).all()
    part = colours[30:] if kind == "u1" else shown(colours[30:])
    np.testing.assert_array_equal(over[30:], part)
    four[:30] = 0  # multiplied by its opacity
    np.testing.assert_array_equal(
        decode_image(bands(four, "contig", photometric="rgb", extrasamples=["assocalpha"])), over
    )
    grey = np.dstack([colours[..., 0], fourth])
    image = decode_image(bands(grey, "contig", extrasamples=["unassalpha"]))
    assert (image[:30] == 255).all()
    assert (image[..., 0] == image[..., 2]).all()


def test_the_first_page_is_taken() -> None:
    values = (GREY * 4095).astype(np.uint16)
    np.testing.assert_array_equal(decode_image(tiff(np.stack([values, values[::-1]])))[..., 0], shown(values))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_images_are_turned_upright_as_others(orientation: int) -> None:
    tags = [(274, 3, 1, orientation, True)]
    pixels = (RGB / RGB.max() * 255).astype(np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255
    want = decode_image(tiff(pixels, photometric="rgb", extratags=tags))
    image = decode_image(tiff(pixels.astype(np.uint16) * 16, photometric="rgb", extratags=tags))
    np.testing.assert_array_equal(image, want)


def test_what_is_not_read_is_said() -> None:
    with pytest.raises(ImageError, match="64-bit complex numbers, which are not read"):
        decode_image(tiff((GREY + 1j).astype(np.complex64)))
    data = retagged(tiff(RGB.astype(np.float32), photometric="rgb", compression="zlib"), {259: 34887})
    with pytest.raises(ImageError, match="3 bands of 32-bit floating point numbers, compressed with LERC"):
        decode_image(data)
    with pytest.raises(ImageError, match="no pixel of the image has a value"):
        decode_image(tiff(np.full((9, 9), np.nan, np.float32)))


def test_damage_is_an_image_error_and_nothing_else(rng: np.random.Generator) -> None:
    whole = [
        bands((RGB * 4095).astype(np.uint16), "contig", photometric="rgb"),
        tiff(GREY, compression="zlib", rowsperstrip=9),
        bands(np.zeros((70, 90, 5), np.int16), "separate", tile=(32, 48), bigtiff=True),
    ]
    for data in whole:
        for cut in range(1, len(data) - 1, len(data) // 40):
            with pytest.raises(ImageError):
                decode_image(data[:cut], bands=(1,))
        for _ in range(100):
            noisy = bytearray(data)
            for place in rng.integers(0, min(len(data), 600), 3):
                noisy[place] = rng.integers(0, 256)
            with contextlib.suppress(ImageError):  # a change that does no harm is fine, too
                decode_image(bytes(noisy), bands=(1,))


def test_more_bytes_than_are_allowed_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livesam.engine.files.tiff_storage.MAX_BYTES", 70 * 90 * 5 * 4 - 1)
    monkeypatch.setattr("livesam.engine.files.tiff_storage.Storage._unpacked", lambda *_: pytest.fail("unpacked"))
    data = bands(np.zeros((70, 90, 5), np.float32), "contig", compression="zlib")
    with pytest.raises(ImageError, match="at most 1 GiB is read"):
        decode_image(data, bands=(1,))


def test_a_strip_cannot_unpack_to_more_than_its_rows() -> None:
    """A deflate bomb: 200 kB that stand for 200 MB, in a strip of 3.6 MB."""
    bomb = tiff(np.zeros((20_000, 10_000), np.uint8), compression="zlib", rowsperstrip=20_000)
    small = tiff(np.zeros((20_000, 90), np.int16), compression="zlib", rowsperstrip=20_000)
    with tifffile.TiffFile(io.BytesIO(bomb)) as file:
        page = file.pages[0]
        strip = bomb[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]]
    assert samples(retagged(small, {273: len(small), 279: len(strip)}) + strip).nbytes == 20_000 * 90 * 2
