"""labelme: of each image a JSON file."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import cv2
import numpy as np
from livesam.app.annotations.archive import write_zip
from livesam.app.annotations.reading import gathered, parsed, sized
from livesam.app.annotations.values import Annotated, AnnotatedImage, Dataset, Mask
from livesam.engine.files.image import decode_image
from PIL import Image

VERSION = "5.5.0"
MAX_FILES = 100_000
MAX_JSON = 64 << 20
SHAPES = ("mask", "polygon", "rectangle", "circle")


def write(dataset: Dataset, out: IO[bytes]) -> None:
    """Write a zip with a JSON file beside each image's place; objects are labelme's masks, which lose nothing."""
    taken: set[str] = set()
    write_zip(((_name(image.name, taken), _json(image)) for image in dataset.images), out)


def _name(image: str, taken: set[str]) -> str:
    """``a.json`` for a.jpg, and ``a.png.json`` for an a.png beside it."""
    folder, slash, file = image.rpartition("/")
    name = f"{folder}{slash}{file.rpartition('.')[0] or file}.json"
    if name in taken:
        name = f"{image}.json"
    taken.add(name)
    return name


def _json(image: AnnotatedImage) -> bytes:
    shapes: list[dict[str, Any]] = []
    for one in image.objects:
        x0, y0, x1, y1 = one.box
        buffer = io.BytesIO()
        Image.fromarray(one.crop).save(buffer, format="PNG")
        shapes.append(
            {
                "label": one.label,
                "points": [[x0, y0], [x1 - 1, y1 - 1]],  # the last pixel, as labelme has it
                "group_id": None,
                "description": "",
                "shape_type": "mask",
                "flags": {},
                "mask": base64.b64encode(buffer.getvalue()).decode(),
            }
        )
    content: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image.name.rpartition("/")[2],
        "imageData": None,
        "imageHeight": image.hw[0],
        "imageWidth": image.hw[1],
    }
    return json.dumps(content, indent=1).encode()


def read(data: bytes) -> Dataset:
    """The objects of one JSON file, or of a zip of them: masks, polygons, rectangles and circles.

    Raises:
        ValueError: it is neither.
    """
    if not data.startswith(b"PK"):
        return Dataset((), [_image(data, "")])
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        files = [one for one in archive.infolist() if one.filename.endswith(".json") and not one.is_dir()]
    except Exception as error:  # beside BadZipFile, NotImplementedError, struct.error, UnicodeDecodeError...
        raise ValueError(f"this zip is damaged: {error}") from error
    if not files or len(files) > MAX_FILES:
        raise ValueError(f"a zip of labelme has 1 to {MAX_FILES} JSON files, got {len(files)}")
    if any(one.file_size > MAX_JSON for one in files):
        raise ValueError(f"a labelme file has at most {MAX_JSON >> 20} MiB")

    def found() -> Iterator[AnnotatedImage]:
        with archive:
            for one in files:
                try:
                    with archive.open(one) as file:
                        content = file.read(MAX_JSON + 1)  # what the header says need not be so
                    image = _image(content[:MAX_JSON], one.filename.rpartition("/")[0])
                except Exception as error:  # one damaged file leaves the others
                    image = AnnotatedImage.unread(one.filename, str(error) or type(error).__name__)
                yield image

    return Dataset((), found())


def _image(data: bytes, folder: str) -> AnnotatedImage:
    content = parsed(data, "a labelme file")
    try:
        hw = sized(content, "imageHeight", "imageWidth")
        name = str(content["imagePath"]).replace("\\", "/").rpartition("/")[2]
        shapes = [shape for shape in content["shapes"] if shape.get("shape_type") in SHAPES]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no labelme file: {type(error).__name__} {error}") from error
    objects, problems = gathered(shapes, lambda shape: _object(shape, hw))
    return AnnotatedImage(f"{folder}/{name}" if folder else name, hw, objects, problems=problems)


def _object(shape: dict[str, Any], hw: tuple[int, int]) -> Annotated | None:
    corners = np.asarray(shape["points"], np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise ValueError("a shape's points are pairs of finite numbers")
    corners = np.clip(corners, -1, (hw[1], hw[0]))
    return Annotated.of(str(shape["label"]) or "object", _mask(shape, corners, hw))


def _mask(shape: dict[str, Any], corners: np.ndarray[Any, np.dtype[np.float64]], hw: tuple[int, int]) -> Mask:
    kind, canvas = shape["shape_type"], np.zeros(hw, np.uint8)
    if kind != "polygon" and len(corners) != 2:
        raise ValueError(f"a {kind} has two points, got {len(corners)}")
    if kind == "mask":
        crop = decode_image(base64.b64decode(shape["mask"]), "a mask")[..., 0] > 0
        x0, y0 = (int(side) for side in corners[0])
        if min(x0, y0) < 0 or y0 + crop.shape[0] > hw[0] or x0 + crop.shape[1] > hw[1]:
            raise ValueError("a mask reaches beyond its image")
        canvas[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = crop
    elif kind == "polygon":
        if len(corners) < 3:
            raise ValueError(f"a polygon has at least three points, got {len(corners)}")
        cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], 1)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = np.sort(np.rint(corners).astype(int), axis=0)
        canvas[max(y0, 0) : y1, max(x0, 0) : x1] = 1
    else:
        (x, y), edge = np.rint(corners[0]).astype(int), corners[1] - corners[0]
        cv2.circle(canvas, (int(x), int(y)), round(float(np.hypot(*edge))), 1, -1)
    return canvas.astype(bool)
