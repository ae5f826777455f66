"""Objects to click on, from a folder of images and id masks.

A data set is a folder ``NAME/images/*.{jpg,jpeg,png}`` with ``NAME/masks/*.png`` of the same stem: 8- or 16-bit ids,
0 = background or not labelled, one id an object. Three kinds of set need another reading, known by the set's name:
in ``nov_wbc`` the ids are classes of one cell, in ``src_voc07`` 255 is the border without a label.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.files.image import read_image
from livesam.engine.values.errors import ImageError

Mask: TypeAlias = npt.NDArray[np.bool_]
Image: TypeAlias = npt.NDArray[np.uint8]

MIN_AREA = 0.005
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class MaskRule:
    """How ids become objects.

    Attributes:
        named: object name to the ids that it unites; None: every id but 0 and ``ignore`` is an object.
        ignore: the id of pixels without a label.
    """

    named: Mapping[str, tuple[int, ...]] | None = None
    ignore: int | None = None


RULES: dict[str, MaskRule] = {
    "nov_wbc": MaskRule(named={"cell": (1, 2), "nucleus": (2,)}),
    "src_voc07": MaskRule(ignore=255),
}


class LabelledObject(NamedTuple):
    """Image uint8 ``(H, W, 3)`` RGB; truth and ignore bool ``(H, W)``; ignore is None where every pixel has a label."""

    image: Image
    truth: Mask
    ignore: Mask | None


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object of a set, not yet read.

    Attributes:
        dataset: the set's name.
        name: ``stem#id``, unique in the set; what results record.
        image_path: the image.
        mask_path: the id mask.
        ids: the mask ids that make up the object.
        ignore_id: the id of pixels without a label.
        area: share of the image, 0 to 1.
    """

    dataset: str
    name: str
    image_path: Path
    mask_path: Path
    ids: tuple[int, ...]
    ignore_id: int | None
    area: float

    def load(self) -> LabelledObject:
        """Read the image and the object's mask.

        Raises:
            ImageError: a file cannot be read, or the two differ in size.
        """
        ids = read_ids(self.mask_path)
        image = read_image(self.image_path)
        if image.shape[:2] != ids.shape:
            raise ImageError(f"{self.image_path} is {image.shape[:2]} but its mask is {ids.shape} (height, width)")
        truth = np.isin(ids, self.ids) if len(self.ids) > 1 else ids == self.ids[0]
        if self.ignore_id is None:
            return LabelledObject(image, truth, None)
        ignore = ids == self.ignore_id
        return LabelledObject(image, truth, ignore if ignore.any() else None)


def objects(
    folder: Path,
    min_area: float = MIN_AREA,
    limit: int | None = None,
    seed: int = 0,
    rule: MaskRule | None = None,
    only: str = "",
) -> list[ObjectRef]:
    """The objects of a set that cover at least ``min_area`` of their image, in an order that only the seed decides.

    The order sorts by a hash of seed and name, so it is the same on every machine and a lower limit gives a prefix.

    Args:
        only: the class whose objects are wanted, in a set that names its classes (``RULES``).

    Raises:
        ValueError: the folder is no such set or has no such class, an image has no mask, or ``limit`` or ``min_area``
            is out of range.
        ImageError: a mask cannot be read.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 object, got {limit}")
    if not 0 <= min_area <= 1:
        raise ValueError(f"min_area is a share of the image, 0 to 1, got {min_area}")
    rule = rule if rule is not None else RULES.get(folder.name, MaskRule())
    if only and only not in (rule.named or {}):
        known = ", ".join(rule.named or ()) or "none"
        raise ValueError(f"{folder.name} has no class {only!r}: its classes are {known}")
    found = [reference for pair in image_mask_pairs(folder) for reference in _objects_of(folder.name, *pair, rule)]
    kept = [
        reference
        for reference in found
        if reference.area >= max(min_area, 1e-12) and (not only or reference.name.endswith(f"#{only}"))
    ]
    kept.sort(key=lambda reference: (hashlib.sha256(f"{seed}:{reference.name}".encode()).digest(), reference.name))
    return kept[:limit]


def image_mask_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Every image of a set with its mask, by name.

    Raises:
        ValueError: there is no ``images`` folder with images, or an image has no mask.
    """
    images = folder / "images"
    paths = sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if images.is_dir() else []
    if not paths:
        raise ValueError(
            f"{folder} is not a data set: it needs images/*.jpg or *.png and masks/*.png of the same names"
        )
    pairs = [(path, folder / "masks" / f"{path.stem}.png") for path in paths]
    missing = [mask.name for _, mask in pairs if not mask.is_file()]
    if missing:
        raise ValueError(f"{folder / 'masks'} lacks {len(missing)} masks, the first is {missing[0]}")
    return pairs


def read_ids(path: Path) -> npt.NDArray[np.integer]:
    """An id mask, uint8 or uint16 ``(H, W)``.

    Raises:
        ImageError: it cannot be read or has colour channels.
    """
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2 or ids.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path} is not an id mask: it must be a PNG with one channel of 8 or 16 bits")
    return cast("npt.NDArray[np.integer]", ids)


def resolve_sets(names: Sequence[str], data: Path) -> list[Path]:
    """Folders for set names, patterns and paths, in the order given and each once.

    Raises:
        ValueError: a name or a pattern matches no folder.
    """
    present = sorted(p.name for p in data.iterdir() if (p / "images").is_dir()) if data.is_dir() else []
    folders: list[Path] = []
    for name in names:
        matches = fnmatch.filter(present, name)
        if matches:
            folders += [data / match for match in matches]
        elif (Path(name) / "images").is_dir():
            folders.append(Path(name))
        else:
            known = ", ".join(present) if present else "no set at all"
            raise ValueError(f"no set {name!r} below {str(data)!r} (--data), which holds {known}")
    return list(dict.fromkeys(folders))


def _objects_of(dataset: str, image_path: Path, mask_path: Path, rule: MaskRule) -> Sequence[ObjectRef]:
    ids = read_ids(mask_path)
    pixels = np.bincount(ids.ravel())  # by id
    if rule.named is not None:
        groups = [(name, members) for name, members in rule.named.items()]
    else:
        groups = [(str(i), (int(i),)) for i in np.flatnonzero(pixels) if i != 0 and i != rule.ignore]
    return [
        ObjectRef(
            dataset,
            f"{image_path.stem}#{name}",
            image_path,
            mask_path,
            members,
            rule.ignore,
            sum(int(pixels[i]) for i in members if i < len(pixels)) / ids.size,
        )
        for name, members in groups
    ]
