"""Examples of what to look for: objects of a COCO file, and the images that they are on."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from livesam.app.annotations.values import Annotated
from livesam.app.jobs.source import Source
from livesam.app.storage import absolute, read
from livesam.engine.values.errors import ImageError

if TYPE_CHECKING:
    from livesam.engine.session.kind import Kind, Mask
    from livesam.engine.session.session import Session
    from livesam.engine.view.view import View


@dataclass(frozen=True)
class Example:
    """An image and the objects on it.

    Attributes:
        name: the image's.
        data: its file's bytes, so that workers need not find it again.
        objects: what is to be looked for.
    """

    name: str
    data: bytes
    objects: tuple[Annotated, ...]

    def digest(self) -> str:
        """A hash of all of it."""
        parts = [(one.label, one.box, sha256(one.crop.tobytes()).hexdigest()) for one in self.objects]
        return sha256(self.data + repr(parts).encode()).hexdigest()


def read_examples(url: str, root: str, bands: tuple[int, ...] | None = None) -> tuple[Example, ...]:
    """The images of a COCO file that have objects, from the folder of the file or the source, where they are first.

    Args:
        url: of the COCO file, as ``livesam export annotations --format coco-rle`` writes it.
        root: the source's folder.

    Raises:
        ValueError: it is no COCO file, or has no object, or one of another size than its image.
        ImageError: an image is in neither folder, or cannot be read.
        OSError: the file cannot be read.
    """
    from livesam.app.annotations.coco import read as read_coco
    from livesam.engine.files.image import decode_image

    found = []
    for image in read_coco(read(url)).images:
        if not image.objects:
            continue
        data = _bytes_of(image.name, [posixpath.dirname(absolute(url)), root])
        hw = decode_image(data, image.name, bands=bands).shape[:2]
        if hw != image.hw:
            raise ValueError(f"{url} says that {image.name} has {image.hw} pixels, it has {hw}")
        found.append(Example(image.name, data, image.objects))
    if not found:
        raise ValueError(f"{url} has no object that could be an example: accept some first")
    return tuple(found)


def kinds_of(session: Session, examples: Sequence[Example], bands: tuple[int, ...] | None = None) -> dict[str, Kind]:
    """What each label's objects look like to the session's encoder."""
    from livesam.engine.files.image import decode_image
    from livesam.engine.session.kind import Kind
    from livesam.engine.view.view import View

    seen: dict[str, list[tuple[View, Sequence[Mask]]]] = {}
    for example in examples:
        pixels = decode_image(example.data, example.name, bands=bands)
        view = View.whole(session.encoder.encode(pixels).embedding, None)
        for label in dict.fromkeys(one.label for one in example.objects):
            masks = [one.mask(view.hw) for one in example.objects if one.label == label]
            seen.setdefault(label, []).append((view, masks))
    return {label: Kind.of(views) for label, views in seen.items()}


def _bytes_of(name: str, folders: Sequence[str]) -> bytes:
    for folder in folders:
        try:
            return read(Source(folder, ()).url(name))
        except FileNotFoundError:
            continue
    raise ImageError(f"the examples' image {name} is in none of {', '.join(folders)}: put it beside their file")
