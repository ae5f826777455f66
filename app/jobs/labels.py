"""Masks that the decoder proposes, in Parquet shards, and one COCO file of all of them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
from livesam.app.annotations.values import Annotated, AnnotatedImage, Dataset
from livesam.app.jobs.examples import Example, kinds_of
from livesam.app.jobs.shards import Record
from livesam.app.jobs.tables import parquet
from livesam.app.jobs.worker import Made, Picture
from livesam.app.storage import Target
from livesam.engine.session.everything import Sieve
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    from livesam.engine.session.kind import Kind, Mask
    from livesam.engine.session.proposals import Proposal
    from livesam.engine.session.session import Session
    from livesam.engine.view.look import Look
    from livesam.export.opening import Opening

COCO = "annotations.json"


@dataclass(frozen=True)
class Label:
    """Propose masks in each image: of everything, or of what looks like examples.

    Attributes:
        opening: the model, and what runs it.
        look: how masks are drawn.
        adapted: the bytes of an adapted decoder's file; None for the model's own.
        examples: what to look for; empty for everything.
        sieve: what is kept of everything; of ``overlap`` and ``most`` for examples, too.
        name: the label of everything.
        bands: of the examples' images, as in ``Job``.
    """

    opening: Opening
    look: Look
    adapted: bytes | None = None
    examples: tuple[Example, ...] = ()
    sieve: Sieve = field(default_factory=Sieve)
    name: str = "object"
    bands: tuple[int, ...] | None = None
    kind: ClassVar[str] = "labels"

    def open(self, threads: int) -> Labeller:
        """The session, in this process. Errors as ``open_session``."""
        from livesam.export.opening import open_session

        opening = replace(self.opening, threads=threads)
        with tempfile.TemporaryDirectory(prefix="livesam-") as folder:
            adapted = None
            if self.adapted is not None:
                adapted = Path(folder) / "adapted.safetensors"
                adapted.write_bytes(self.adapted)
            session = open_session(opening, adapted=adapted, look=self.look, ram_mib=0)
        return Labeller(session, self)

    def settings(self) -> str:
        """What changes the masks, beside encoder and decoder, as a short hash."""
        examples = [one.digest() for one in self.examples]
        return sha256(repr((self.look, self.sieve, self.name, self.bands, examples)).encode()).hexdigest()[:16]


class Labeller:
    """Proposes masks, and writes shards of them."""

    suffix, batch = ".parquet", 1

    def __init__(self, session: Session, work: Label) -> None:
        self._session, self._work = session, work
        slot = session.slot
        encoder = session.encoder.encoder.key("").lstrip(":")
        self.made_by = f"{encoder}:{slot.digest(slot.current)}:{work.settings()}"
        self.runtime = session.runtime
        self._kinds: dict[str, Kind] = kinds_of(session, work.examples, work.bands)

    def make(self, pictures: Sequence[Picture]) -> list[Made]:
        """The masks of each image.

        Raises:
            ValueError: one of them is too thin.
        """
        return [self._label(one) for one in pictures]

    def write(self, made: Sequence[Made], path: Path) -> None:
        """Write a shard: a row for each mask."""
        arrow, write = parquet()
        rows = [row for one in made for row in one.content]
        kinds = {
            **{"image": arrow.string(), "label": arrow.string()},
            **{name: arrow.int32() for name in ("height", "width", "x0", "y0", "x1", "y1", "area")},
            **{"iou": arrow.float32(), "likeness": arrow.float32(), "counts": arrow.string()},
        }
        write(arrow.Table.from_pylist(rows, arrow.schema(list(kinds.items()))), path, compression="zstd")

    def close(self) -> None:
        """Free encoder and decoder."""
        self._session.close()

    def _label(self, picture: Picture) -> Made:
        from livesam.app.annotations.coco import counts_of

        embedding = self._session.set_image(picture.pixels)
        height, width = embedding.original_hw
        rows: list[dict[str, Any]] = []
        for label, found in self._proposals():
            one = Annotated.of(label, found.mask)
            if one is None:
                continue
            x0, y0, x1, y1 = one.box
            place = {"image": picture.name, "label": label, "height": height, "width": width}
            box = {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "area": one.area}
            sure = {"iou": found.iou, "likeness": found.likeness, "counts": counts_of(found.mask)}
            rows.append({**place, **box, **sure})
        facts = {"key": embedding.key, "height": height, "width": width, "objects": len(rows)}
        return Made(picture.name, facts, rows)

    def _proposals(self) -> Iterable[tuple[str, Proposal]]:
        from livesam.engine.session.everything import propose_everything

        if not self._kinds:
            return ((self._work.name, one) for one in propose_everything(self._session, self._work.sieve))
        return self._alike()

    def _alike(self) -> list[tuple[str, Proposal]]:
        """What looks like one of the kinds; what two of them claim goes to the one that it looks more like."""
        from livesam.engine.session.everything import distinct
        from livesam.engine.session.proposals import propose_kind

        sieve, found = self._work.sieve, []
        for label, kind in self._kinds.items():
            found += [(label, one) for one in propose_kind(self._session, kind, most=sieve.most)]
        found.sort(key=lambda pair: -pair[1].likeness)
        kept = distinct([_small(one.mask) for _, one in found], sieve.overlap)
        return [found[i] for i in kept[: sieve.most]]


def _small(mask: Mask) -> Mask:
    """About 128 px a side, to be compared; not empty where the mask is not."""
    import cv2

    scale = max(1.0, max(mask.shape) / 128)
    size = (max(1, round(mask.shape[1] / scale)), max(1, round(mask.shape[0] / scale)))
    found: Mask = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    return found


def read_labels(target: Target, found: Sequence[Record]) -> Iterator[AnnotatedImage]:
    """Every image of shards, with what was proposed in it.

    Raises:
        LivesamError: a shard is missing, or pyarrow is.
    """
    from livesam.app.annotations.coco import mask_of

    parquet()  # says what is missing
    from pyarrow import parquet as files

    for record in found:
        data = target.read(record.file) if record.file else None
        if record.file and data is None:
            raise LivesamError(f"{target.url} has no {record.file}, which its record names: do the job again")
        objects: dict[str, list[Annotated]] = {name: [] for name in record.images}
        for row in files.read_table(io.BytesIO(data)).to_pylist() if data else []:
            one = Annotated.of(row["label"], mask_of(row["counts"], (row["height"], row["width"])))
            objects[row["image"]] += [] if one is None else [one]
        for name, facts in record.images.items():
            yield AnnotatedImage(name, (facts["height"], facts["width"]), tuple(objects[name]))


def write_coco(target: Target, found: Sequence[Record], labels: Sequence[str]) -> None:
    """One COCO file of all shards, masks as RLE, images in the order of their names.

    Raises:
        OSError: it cannot be written.
    """
    from livesam.app.annotations.coco import write_rle

    images = sorted(read_labels(target, found), key=lambda one: one.name)
    with target.writing(COCO) as path, open(path, "wb") as file:
        out: IO[bytes] = file
        write_rle(Dataset(tuple(labels), images), out)
