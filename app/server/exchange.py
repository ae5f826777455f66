"""Annotations in and out of a server, and its decoders out."""

from __future__ import annotations

import io
import logging
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.app.annotations.formats import EXPORTS, IMPORTS
from livesam.app.annotations.values import AnnotatedImage, Dataset, Imported, Mask
from livesam.app.server.fields import check_label
from livesam.app.server.problems import NotFound
from livesam.export.decoder_export import FORMATS as DECODER_FORMATS

if TYPE_CHECKING:
    from livesam.app.server.gallery import Gallery, Picture
    from livesam.app.server.kept_decoder import KeptDecoder
    from livesam.app.server.store import Store
    from livesam.app.server.studio import Studio

__all__ = ["DECODER_FORMATS", "EXPORTS", "IMPORTS", "dataset", "decoder_file", "export", "take_in"]

log = logging.getLogger(__name__)

_writing = threading.Lock()  # one import or export at a time: some take a GB of memory


def dataset(store: Store, gallery: Gallery | None = None) -> Dataset:
    """Everything that was accepted; images are read from the database one by one."""

    def images() -> Iterator[AnnotatedImage]:
        for row in store.images():
            picture = None if gallery is None else gallery.named(row["name"])
            image = store.annotated(row, None if picture is None else picture.path)
            height, width = image.hw
            fitting = tuple(one for one in image.objects if one.box[2] <= width and one.box[3] <= height)
            if len(fitting) < len(image.objects):  # a file that another size had replaced, before that was refused
                left = len(image.objects) - len(fitting)
                log.warning("%s: %s objects are left out: they lie beyond its %s x %s", image.name, left, width, height)
            if fitting or row["done"]:
                yield replace(image, objects=fitting)

    return Dataset(tuple(label.name for label in store.labels()), images())


def export(studio: Studio, format: str) -> tuple[str, bytes]:
    """A file's name and content.

    Raises:
        NotFound: there is no such format.
    """
    if format not in EXPORTS:
        raise NotFound(f"there is no format {format!r}: choose one of {', '.join(EXPORTS)}")
    chosen = EXPORTS[format]
    buffer = io.BytesIO()
    with _writing:
        chosen.write(dataset(studio.store, studio.gallery), buffer)
    return f"{studio.gallery.folder.name or 'images'}-{format}{chosen.suffix}", buffer.getvalue()


def take_in(studio: Studio, format: str, data: bytes) -> Imported:
    """Take the objects of a file for the images of this folder that it names.

    Raises:
        NotFound: there is no such format.
        ValueError: the file cannot be read.
    """
    if format not in IMPORTS:
        raise NotFound(f"there is no format {format!r} to read: choose one of {', '.join(IMPORTS)}")
    with _writing:
        return _take_in(studio, format, data)


def _take_in(studio: Studio, format: str, data: bytes) -> Imported:
    found, done = IMPORTS[format](data), Imported()
    by_base: dict[str, list[Picture]] = {}
    for one in studio.gallery.pictures():
        by_base.setdefault(_base(one.name), []).append(one)
    named: Counter[str] | None = None
    for image in found.images:
        if image.hw == (0, 0):
            done.skipped += [f"{image.name}: {said}" for said in image.problems]
            continue
        picture, base = studio.gallery.named(image.name), _base(image.name)
        if picture is None:  # it lay elsewhere: its own name will do, where no other image has the same
            if named is None:  # the file once more, because its images come one by one
                named = Counter(_base(name) for name in {one.name for one in IMPORTS[format](data).images})
            alike = by_base.get(base, [])
            if len(alike) != 1 or named[base] != 1:
                many = f"several images are called {base}, and none in the folder has this path"
                done.skipped.append(f"{image.name}: {many if alike else 'there is no such image in the folder'}")
                continue
            picture = alike[0]
        try:
            _take_image(studio, picture.id, image, done)
        except Exception as error:  # one damaged image leaves the others
            done.skipped.append(f"{image.name}: {error}")
    return done


def _base(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _take_image(studio: Studio, image_id: str, image: AnnotatedImage, done: Imported) -> None:
    from livesam.engine.files.hashing import image_hash

    picture = studio.gallery.find(image_id)
    rgb = studio.pictures.load(picture.path).rgb
    if rgb.shape[:2] != image.hw:
        height, width = rgb.shape[:2]
        said = f"{image.hw[1]} x {image.hw[0]}"
        done.skipped.append(f"{image.name}: it has {width} x {height} pixels, the file says {said}")
        return
    digest, there = image_hash(rgb), studio.store.objects(picture.id)
    studio.store.check_size(picture.id, picture.name, image.hw)
    studio.store.add_image(picture.id, picture.name, digest, image.hw)
    done.images += 1
    done.skipped += [f"{image.name}: {said}" for said in image.problems]
    for one in image.objects:
        try:
            label = check_label(one.label or "object")
        except ValueError as error:
            done.skipped.append(f"{image.name}: {error}")
            continue
        mask = one.mask(image.hw)
        if any(_same(studio, old.id, old.box, one.box, mask) for old in there):
            done.skipped.append(f"{image.name}: {one.label!r} at {one.box} is there already")
            continue
        found = {
            "image": picture.id, "domain": "default", "label": label, "iou": 1.0, "version": 0, "clicks": 0,
            "source": "import",
        }  # fmt: skip
        studio.store.accept(found, mask, {"image_hash": digest, "hw": list(image.hw), "steps": []})
        done.objects += 1


def _same(studio: Studio, old: int, old_box: tuple[int, ...], box: tuple[int, ...], mask: Mask) -> bool:
    import numpy as np

    return old_box == box and np.array_equal(studio.store.mask(old), mask)


def decoder_file(decoder: KeptDecoder, studio: Studio, format: str) -> tuple[str, bytes]:
    """The decoder that serves, in another program's format: a file's name and content, a zip where there are several.

    Raises:
        NotFound: there is no such format.
        LivesamError: it cannot be written here.
    """
    from livesam.app.annotations.archive import zipped
    from livesam.export.decoder_export import export_sam

    if format not in DECODER_FORMATS:
        raise NotFound(f"there is no format {format!r}: choose one of {', '.join(DECODER_FORMATS)}")
    chosen, origin = DECODER_FORMATS[format], studio.engine.origin
    with _writing, tempfile.TemporaryDirectory(prefix="livesam-") as folder:
        out = Path(folder) / "out" / f"decoder{chosen.suffixes[0] if chosen.suffixes else ''}"
        out.parent.mkdir()
        weights = decoder.slot.weights(decoder.slot.current)
        export_sam(origin.sam(), origin.spec, format=format, out=out, weights=weights, info=decoder.info())
        files = sorted(path for path in out.parent.rglob("*") if path.is_file())
        if len([path for path in files if path.suffix != ".json"]) == 1 and chosen.suffixes:
            return f"{origin.spec.name}-{out.name}", out.read_bytes()
        content = ((str(path.relative_to(out.parent)), path.read_bytes()) for path in files)
        return f"{origin.spec.name}-{format}.zip", zipped(content)
