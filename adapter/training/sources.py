"""Images with instance masks for training: from the folder of sets, or from packs (``pack.py``)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Ids: TypeAlias = npt.NDArray[np.uint8]  # (H, W), 0 = background or not labelled

# The permissive sets, and how much one image of each counts: many pictures of one thing teach less than varied scenes.
TRAINING_SETS: dict[str, float] = {
    "src_ccp": 1.0, "src_facades": 1.0, "src_cats": 1.0, "src2_animals": 1.4, "src2_animals_coco": 1.4,
    "src2_reef": 1.0, "src2_railway": 1.0, "src2_eggplants": 1.0, "src2_food": 1.0, "src3_trash_bags": 1.0,
    "src3_env_walk": 1.0, "src3_nails": 0.6, "src3_documents": 0.4, "src3_kuih": 0.5, "src3_thai_food": 1.0,
    "src3_retail_products": 0.4, "src3_books_shelves": 1.0, "src3_turtle_heads": 1.0, "src3_fire_trucks": 1.0,
    "src3_coco_by": 3.0, "src3_glasses": 0.4, "src3_eggs": 0.5, "src3_station": 1.5,
}  # fmt: skip
WHOLE_FOREGROUND_SETS = ("src_ccp",)  # ids are pieces of clothing; their union is the person
PROCEDURAL = "procedural"
MOST_IDS = 254  # an id is one byte, and 255 is a pasted object


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One image with its instance ids, and the set that it is from."""

    image: Image
    ids: Ids
    set_name: str


def set_files(data: Path, sets: Sequence[str] = tuple(TRAINING_SETS)) -> list[tuple[str, Path, Path]]:
    """Set, image and mask of every image of the sets below ``data``, in a fixed order.

    Raises:
        ValueError: a set is missing below ``data``.
    """
    found = []
    for name in sets:
        folder = data / name / "images"
        if not folder.is_dir():
            raise ValueError(f"{folder} is missing: --data must be the folder that holds {', '.join(sets)}")
        found += [(name, path, data / name / "masks" / f"{path.stem}.png") for path in sorted(folder.iterdir())]
    return found


def read_sets(data: Path, sets: Sequence[str] = tuple(TRAINING_SETS), threads: int = 4) -> list[Source]:
    """Every image of the sets below ``data``, in a fixed order.

    Raises:
        ValueError: a set is missing, or a file is none that OpenCV reads.
    """

    def read(file: tuple[str, Path, Path]) -> Source:
        name, image, mask = file
        return Source(*decoded(image.read_bytes(), mask.read_bytes(), str(image)), name)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read, set_files(data, sets)))


def read_pack(path: Path, threads: int = 16) -> list[Source]:
    """Every image of a pack.

    Raises:
        ValueError: the file is no pack.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read("index.json"))
            files = [(e["set"], archive.read(f"{e['name']}.webp"), archive.read(f"{e['name']}.png")) for e in index]
    except (OSError, KeyError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is no pack of training images ({error}): make one with python -m livesam.adapter.training.pack"
        ) from error
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda f: Source(*decoded(f[1], f[2], f"{path}: {f[0]}"), f[0]), files))


def write_pack(path: Path, sources: Iterator[Source] | Sequence[Source], quality: int, limit: int | None = None) -> int:
    """Write sources as one zip of WebP images and PNG ids until ``limit`` bytes are reached; returns how many."""

    def files(source: Source) -> tuple[str, bytes, bytes]:
        image = encoded(".webp", source.image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
        return source.set_name, image, encoded(".png", source.ids, [cv2.IMWRITE_PNG_COMPRESSION, 9])

    index: list[dict[str, str]] = []
    used = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive, ThreadPoolExecutor() as pool:
        for set_name, image, ids in pool.map(files, sources):
            used += len(image) + len(ids) + 256  # and their places in the archive's directory
            if limit is not None and used > limit:
                break
            name = f"{len(index):05}"
            archive.writestr(f"{name}.webp", image)
            archive.writestr(f"{name}.png", ids)
            index.append({"name": name, "set": set_name})
        archive.writestr("index.json", json.dumps(index))
    return len(index)


def decoded(image: bytes, mask: bytes, name: str) -> tuple[Image, Ids]:
    """Image and ids from files' bytes; of more than 254 ids the largest keep one."""
    colours = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB)
    ids: Any = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_UNCHANGED)
    if colours is None or ids is None or colours.shape[:2] != ids.shape[:2]:
        raise ValueError(f"{name}: the image or its mask cannot be read, or their sizes differ")
    return np.ascontiguousarray(colours, np.uint8), few_ids(ids)


def few_ids(ids: npt.NDArray[Any]) -> Ids:
    """The same regions with ids of one byte, larger regions first."""
    values, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    rank = np.zeros(len(values), np.uint8)
    order = [i for i in np.argsort(-counts, kind="stable") if values[i] != 0][:MOST_IDS]
    rank[order] = np.arange(1, len(order) + 1)
    return rank[inverse].reshape(ids.shape)


def encoded(suffix: str, pixels: npt.NDArray[np.uint8], options: list[int]) -> bytes:
    """The bytes of an image file."""
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    if not done:
        raise ValueError(f"OpenCV could not write {suffix}")
    return io.BytesIO(data.tobytes()).getvalue()
