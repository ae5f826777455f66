"""COCO instances, written and read through pycocotools."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, Any

import numpy as np
from livesam.app.annotations.outline import rings
from livesam.app.annotations.reading import MAX_PIXELS, gathered, parsed, sized, whole
from livesam.app.annotations.values import Annotated, AnnotatedImage, Dataset, Mask
from livesam.engine.values.errors import LivesamError


def write(dataset: Dataset, out: IO[bytes], *, polygons: bool = True) -> None:
    """Write one JSON file.

    Args:
        polygons: where pycocotools makes the very same mask of them; RLE where not (holes), or always.

    Raises:
        LivesamError: pycocotools is not installed.
    """
    number = {label: i + 1 for i, label in enumerate(dataset.labels)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in dataset.images:
        height, width = image.hw
        images.append({"id": len(images) + 1, "file_name": image.name, "width": width, "height": height})
        for one in image.objects:
            category = number.setdefault(one.label, len(number) + 1)
            x0, y0, x1, y1 = one.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": category,
                    "segmentation": _segmentation(one, image.hw, polygons),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": one.area,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name, "supercategory": ""} for name, i in number.items()]
    content = {
        "info": {"description": "livesam", "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    out.write(json.dumps(content, allow_nan=False).encode())


def write_rle(dataset: Dataset, out: IO[bytes]) -> None:
    """The same with RLE for every object."""
    write(dataset, out, polygons=False)


def _tools() -> Any:
    try:
        from pycocotools import mask
    except ImportError:
        raise LivesamError("COCO needs pycocotools, which is not installed: pip install 'livesam[scale]'") from None
    return mask


def _segmentation(one: Annotated, hw: tuple[int, int], polygons: bool) -> Any:
    counts = counts_of(one.mask(hw))
    if polygons:
        tools = _tools()
        outer, holes = rings(one.crop)
        parts = [(ring + one.box[:2]).astype(float).ravel().tolist() for ring in outer]
        if not holes and tools.merge(tools.frPyObjects(parts, *hw))["counts"].decode("ascii") == counts:
            return parts
    return {"size": list(hw), "counts": counts}


def counts_of(mask: Mask) -> str:
    """COCO's compressed RLE of a mask, bool ``(H, W)``.

    Raises:
        LivesamError: pycocotools is not installed.
    """
    counts: bytes = _tools().encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return counts.decode("ascii")


def mask_of(counts: str, hw: tuple[int, int]) -> Mask:
    """The mask, bool ``(H, W)``, of compressed RLE.

    Raises:
        ValueError: it is none, or of another size.
    """
    return _filled(_runs(counts), hw)


def read(data: bytes) -> Dataset:
    """The objects of a file. Crowds are left out: they are no single objects.

    Raises:
        ValueError: it is no COCO file.
    """
    content = parsed(data, "a COCO file")
    try:
        names = {int(one["id"]): str(one["name"]) for one in content["categories"]}
        images = {int(one["id"]): (str(one["file_name"]), sized(one)) for one in content["images"]}
        by_image: dict[int, list[dict[str, Any]]] = {key: [] for key in images}
        for one in content["annotations"]:
            if not one.get("iscrowd"):
                by_image[int(one["image_id"])].append(one)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no COCO file of instances: {type(error).__name__} {error}") from error

    def found() -> Iterator[AnnotatedImage]:
        for key, (name, hw) in images.items():
            objects, problems = gathered(by_image[key], partial(_object, names=names, hw=hw))
            yield AnnotatedImage(name, hw, objects, problems=problems)

    return Dataset(tuple(names.values()), found())


def _object(one: dict[str, Any], names: dict[int, str], hw: tuple[int, int]) -> Annotated | None:
    return Annotated.of(names.get(whole(one["category_id"]), "object"), _mask(one, hw))


def _mask(annotation: dict[str, Any], hw: tuple[int, int]) -> Mask:
    said = annotation.get("segmentation")
    if isinstance(said, list):
        return _drawn(said, hw)
    if not isinstance(said, dict):
        raise ValueError("an object has neither polygons nor RLE")
    if tuple(whole(side) for side in said["size"]) != hw:
        raise ValueError(f"an object's RLE has the size {said['size']}, its image {list(hw)}")
    counts = said["counts"]
    return _filled(_runs(counts) if isinstance(counts, str) else [whole(count) for count in counts], hw)


def _filled(runs: Sequence[int], hw: tuple[int, int]) -> Mask:
    """Not by pycocotools: a file is not to be trusted, and its decoder is written in C."""
    if sum(runs) != hw[0] * hw[1] or min(runs, default=0) < 0 or hw[0] * hw[1] > MAX_PIXELS:
        raise ValueError(f"an object's RLE has {sum(runs)} pixels, its image {hw[0] * hw[1]}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(hw[1], hw[0]).T)


def _drawn(polygons: Sequence[Any], hw: tuple[int, int]) -> Mask:
    parts = []
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2)
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise ValueError("a polygon needs at least three corners with finite coordinates")
        parts.append(np.clip(corners, 0, (hw[1], hw[0])).ravel().tolist())
    if not parts:
        return np.zeros(hw, np.bool_)
    tools = _tools()
    return _filled(_runs(tools.merge(tools.frPyObjects(parts, *hw))["counts"].decode("ascii")), hw)


def _runs(text: str) -> list[int]:
    """The runs of COCO's compressed counts: 5 bits a letter, and from the third run on the change to the one before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise ValueError("an object's RLE has letters that no RLE has")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
