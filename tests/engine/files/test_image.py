from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from livesam.engine.files.image import MAX_PIXELS, decode_image, read_image, write_mask
from livesam.engine.values.errors import ImageError
from PIL import Image, ImageOps

RNG = np.random.default_rng(0)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width: int = 40, height: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def header_only_png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    data = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    pixels = photo()
    path = tmp_path / "a"  # the content says what it is, not the name
    path.write_bytes(encoded(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(read_image(path), pixels)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture = Image.new("RGB", (40, 30), "black")
    picture.paste("white", (0, 0, 20, 30))
    image = decode_image(encoded(picture, "JPEG", exif=exif, quality=95))
    assert image.shape == (40, 30, 3)
    assert image[:18].min() > 200
    assert image[22:].max() < 50


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_spoil_a_sound_image() -> None:
    data = encoded(Image.fromarray(photo()), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode_image(data).shape == (30, 40, 3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK"])
def test_other_colour_models_become_rgb(mode: str) -> None:
    picture = Image.fromarray(photo()).convert(mode)
    data = encoded(picture, "TIFF" if mode == "CMYK" else "PNG")
    np.testing.assert_array_equal(decode_image(data), np.asarray(picture.convert("RGB")))


def test_cmyk_jpeg_is_read_in_the_right_sense() -> None:
    image = decode_image(encoded(Image.new("CMYK", (32, 32), (0, 0, 0, 0)), "JPEG"))
    assert image.min() > 245  # no ink is white


def test_transparency_lies_over_white() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (10, 20, 30, 255)
    image = decode_image(encoded(Image.fromarray(pixels)))
    np.testing.assert_array_equal(image[:4], np.broadcast_to(np.uint8([10, 20, 30]), (4, 8, 3)))
    assert (image[4:] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
@pytest.mark.parametrize(("low", "high"), [(0, 65535), (0, 4000), (30000, 30300), (7, 100)])
def test_deep_grey_is_scaled_by_its_lowest_and_highest_value(kind: str, low: int, high: int) -> None:
    values = np.linspace(low, high, 2048).astype(np.uint16).reshape(32, 64)
    image = decode_image(encoded(Image.fromarray(values), kind))
    np.testing.assert_array_equal(image[..., 1], np.rint((values - low) * (255 / (high - low))).astype(np.uint8))


def deep_colours() -> tuple[np.ndarray, np.ndarray]:
    """RGB of 12 bits in use, and how it is shown."""
    y, x = np.mgrid[0:96, 0:128]
    values = np.stack([x * 32, y * 43, (x + y) * 18], -1).astype(np.uint16)
    values[-1, -1, 0] = 4095
    return values, np.rint(values * (255 / 4095)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jp2", ".ppm", ".tiff"])
def test_colours_of_more_than_8_bits_keep_them_all(suffix: str) -> None:
    values, want = deep_colours()
    _, data = cv2.imencode(suffix, np.ascontiguousarray(values[..., ::-1]))
    np.testing.assert_array_equal(decode_image(bytes(data)), want)
    np.testing.assert_array_equal(decode_image(bytes(data), bands=(3, 2, 1)), want[..., ::-1])


def test_a_ppm_as_text_keeps_its_bits_too() -> None:
    values, want = deep_colours()
    data = b"P3\n# a comment\n128 96\n4095\n" + " ".join(map(str, values.ravel())).encode()
    np.testing.assert_array_equal(decode_image(data), want)


@pytest.mark.parametrize("suffix", [".png", ".jp2"])
def test_deep_transparency_lies_over_white_and_does_not_count(suffix: str) -> None:
    values, want = deep_colours()
    opacity = np.full((96, 128, 1), 65535, np.uint16)
    opacity[:32] = 0
    hidden = np.where(opacity > 0, values[..., ::-1], 65535).astype(np.uint16)
    _, data = cv2.imencode(suffix, np.concatenate([hidden, opacity], 2))
    image = decode_image(bytes(data))
    assert (image[:32] == 255).all()
    assert np.abs(image[32:].astype(int) - want[32:]).max() <= 1


def test_grey_png_with_a_transparent_value() -> None:
    values = np.linspace(0, 1000, 2048).astype(np.uint16).reshape(32, 64)
    values[:4] = 65535
    image = decode_image(encoded(Image.fromarray(values), "PNG", transparency=65535))
    assert (image[:4] == 255).all()
    assert image[4:].min() == 0
    assert np.unique(image[4:]).size > 200


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "JPEG2000", "PPM"])
def test_more_formats_of_8_bits(kind: str) -> None:
    y, x = np.mgrid[0:60, 0:80]
    pixels = np.stack([x * 3, y * 4, x + y], -1).astype(np.uint8)
    image = decode_image(encoded(Image.fromarray(pixels), kind, **({"quality": 90} if kind == "AVIF" else {})))
    assert np.abs(image.astype(int) - pixels).mean() < 8


def test_bands_of_8_bits_stay_as_they_are() -> None:
    pixels = photo()
    data = encoded(Image.fromarray(pixels))
    np.testing.assert_array_equal(decode_image(data, bands=(3, 2, 1)), pixels[..., ::-1])
    np.testing.assert_array_equal(decode_image(data, bands=[2]), np.stack([pixels[..., 1]] * 3, -1))
    with pytest.raises(ImageError, match="no band 4: the image has 3"):
        decode_image(data, bands=(4,))
    for bad in ((), (1, 2), (0,), (1, 2, -1), ("1",)):
        with pytest.raises(ValueError, match="one or three numbers"):
            decode_image(data, bands=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG"])
def test_every_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(photo(21, 34)), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        want = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    np.testing.assert_array_equal(decode_image(data), want)


def test_a_pixel_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(self: Image.Image) -> None:
        raise AssertionError("the bomb was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    for side in (int(MAX_PIXELS**0.5) + 1, 12_000, 60_000):  # PIL itself warns at 89 Mpx and raises at 179 Mpx
        with pytest.raises(ImageError, match="at most 64 million"):
            decode_image(header_only_png(side, side))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF"])
def test_a_file_cut_anywhere_is_an_image_error(kind: str) -> None:
    data = encoded(Image.fromarray(photo(64, 64)), kind)
    for cut in range(1, int(len(data) * 0.9), max(1, len(data) // 40)):
        with pytest.raises(ImageError):
            decode_image(data[:cut])


def test_noise_behind_every_magic_number_is_an_image_error() -> None:
    heads = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"BM", b"II*\x00", b"MM\x00*")
    heads += (
        b"GIF89a",
        b"\x00\x00\x00\x1cftypavif",
        b"\xff\x4f\xff\x51",
        b"P5 99 9 999 ",
        b"P6 99 9 999 ",
        b"II+\x00\x08\x00\x00\x00",
    )
    for head in heads:
        for _ in range(10):
            with pytest.raises(ImageError):
                decode_image(head + RNG.bytes(200))


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "a.ico").write_bytes(encoded(Image.new("L", (16, 16)), "ICO"))
    with pytest.raises(ImageError, match="is empty"):
        read_image(tmp_path / "empty.png")
    for name in ("text.png", "a.ico"):
        with pytest.raises(ImageError, match="give one of JPEG, PNG"):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)


def test_a_mask_is_written_as_0_and_255(tmp_path: Path) -> None:
    mask = RNG.random((9, 7)) > 0.5
    write_mask(tmp_path / "m.png", mask)
    picture = Image.open(tmp_path / "m.png")
    assert picture.mode == "L"
    np.testing.assert_array_equal(np.asarray(picture), mask * np.uint8(255))
    with pytest.raises(ValueError, match="two axes"):
        write_mask(tmp_path / "m.png", mask[None])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_a_damaged_tiff_is_told_once(
    compression: str, tmp_path: Path, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scan.tif"
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path, compression=compression)
    data = bytearray(path.read_bytes())
    data[2000:6000] = bytes(value ^ 0x5A for value in data[2000:6000])
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"scan\.tif is damaged or truncated"):
        read_image(path)
    assert capfd.readouterr().err == ""  # libtiff's own words
