"""Everything that was accepted, once more: the recorded clicks to the recorded decoders, and the same masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.app.server.accepted import Accepted
from livesam.app.server.journal import DRAWING, answer_hash, painted_of
from livesam.app.server.store import Store
from livesam.app.server.weights import WeightFiles
from livesam.engine.files.hashing import image_hash
from livesam.engine.files.image import read_image
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.cached_encoder import CachedEncoder
from livesam.engine.session.question import Question, corrects, moved, show
from livesam.engine.values.errors import LivesamError
from livesam.engine.values.painted import Painted
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.look import Look
from livesam.engine.view.selection import select_token
from livesam.engine.view.view import View, logits_of

if TYPE_CHECKING:
    from livesam.engine.session.engine import Engine
    from livesam.engine.values.protocols import ImageEncoder, MaskDecoder

CACHE_BYTES = 256 << 20

Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Replayed:
    """What came of it.

    Attributes:
        objects, answers: how many were given again.
        left_out: objects that no clicks made: proposals and imports.
        earlier: objects that an earlier livesam drew, in another way: they are not compared.
        differences: a sentence for each object whose masks are others now.
    """

    objects: int = 0
    answers: int = 0
    left_out: int = 0
    earlier: int = 0
    differences: list[str] = field(default_factory=list)


class Replay:
    """Answers logs again.

    Args:
        engine: of the model that the server served.
        store: of its output folder.
        files: the weights that it kept.
        images: where the images lie.
        encoder: opens one for a ``batch``, where a log was made with such a one.
    """

    def __init__(
        self, engine: Engine, store: Store, files: WeightFiles, images: Path, encoder: Callable[..., ImageEncoder]
    ) -> None:
        self._engine, self._store, self._files, self._images = engine, store, files, images
        self._open_encoder, self._encoders = encoder, {1: engine.encoder}
        self._encoder = engine.encoder
        self._names = {row["id"]: row["name"] for row in store.images()}
        self._versions: dict[str, dict[int, str]] = {}
        self._decoder: MaskDecoder | None = None
        self._loaded = ""
        self._last: tuple[tuple[str, int], View, str] | None = None  # image and encoder, its view and its hash

    def run(self, tell: Callable[[int], object] = lambda done: None) -> Replayed:
        """All objects in the order in which they were accepted; ``tell`` gets how many are done.

        Raises:
            ImageError: an image is gone or damaged.
            CheckpointError: a decoder is missing or damaged.
        """
        found = Replayed()
        for object_, log in self._store.logs():
            if not log["steps"]:
                found.left_out += 1
                continue
            if log.get("drawing", 1) != DRAWING:
                found.earlier += 1
                continue
            difference = self._object(object_, log, found)
            if difference is not None:
                found.differences.append(f"object {object_.id} ({self._names[object_.image]}): {difference}")
            found.objects += 1
            tell(found.objects)
        return found

    def close(self) -> None:
        """Free the decoder, and what encoders were opened."""
        for batch, encoder in self._encoders.items():
            if batch > 1:
                encoder.close()
        if self._decoder is not None:
            self._decoder.close()

    def _object(self, object_: Accepted, log: Mapping[str, Any], found: Replayed) -> str | None:
        whole, digest = self._view(object_.image, int(log.get("batch", 1)))
        if digest != log["image_hash"]:
            return "its image has changed since it was accepted"
        last: Step | None = None
        mask: Mask | None = None
        look = Look(**log["look"])
        for i, said in enumerate(log["steps"]):
            last, mask = self._step(said, whole, last, look, object_.domain)
            found.answers += 1
            if answer_hash(last.low_res_logits) != said["answer"]:
                other = "" if log["runtime"] == self._runtime else f" (answered by {log['runtime']})"
                return f"answer {i + 1} differs on {self._runtime}{other}"
        if mask is None or not np.array_equal(mask, self._store.mask(object_.id)):
            return "its mask differs"
        return None

    @property
    def _runtime(self) -> str:
        decoder = "" if self._decoder is None else self._decoder.runtime
        return decoder if decoder == self._engine.encoder.runtime else f"{self._engine.encoder.runtime}, {decoder}"

    def _step(
        self, said: Mapping[str, Any], whole: View, last: Step | None, look: Look, domain: str
    ) -> tuple[Step, Mask]:
        version, window = int(said["version"]), Window(*said["window"])
        if "painted" in said:
            painted = painted_of(said, whole.hw)
            logits = logits_of(painted, whole.image_size, whole.low_res_hw)
            return Step(Prompt(mask_logits=logits), logits, 1.0, version, window, painted=Painted.of(painted)), painted
        view = whole if window == whole.window else whole.part(window, self._encoder.window)
        clicks = tuple(Click(*click) for click in said["clicks"])
        prompt = Prompt(clicks, None if said["box"] is None else Box(*said["box"]))
        if said["fed_back"] and last is not None:
            prompt = prompt.with_mask(view.fed_back(last))
        seen = view.inside(prompt)
        if said["token"] is None and last is not None and corrects(view, prompt, last, look):
            shown = moved(Question(view, prompt, corrects=True), last, look)
        else:
            output = self._serving(domain, version).decode(view.embedding, [seen])
            token = select_token(output.ious[0], seen) if said["token"] is None else int(said["token"])
            shown = show(view, prompt.clicks, output, 0, token, look)
        return Step(prompt, shown.low_res_logits, shown.iou, version, window), shown.mask

    def _view(self, image: str, batch: int) -> tuple[View, str]:
        if batch not in self._encoders:
            # A cache of its own: the engine's has the same keys for embeddings that differ in their last bits.
            self._encoders[batch] = CachedEncoder(self._open_encoder(batch=batch), EmbeddingCache(CACHE_BYTES))
        self._encoder = self._encoders[batch]
        if self._last is None or self._last[0] != (image, batch):
            rgb = read_image(self._images / self._names[image])
            embedding = self._encoder.encode(rgb).embedding
            self._last = ((image, batch), View.whole(embedding, rgb), image_hash(rgb))
        return self._last[1], self._last[2]

    def _serving(self, domain: str, version: int) -> MaskDecoder:
        """A decoder with the weights of a version."""
        if domain not in self._versions:
            self._versions[domain] = {number: digest for number, digest, _ in self._store.versions(domain)}
        digest = self._files.base_digest if version == 0 else self._versions[domain].get(version)
        if digest is None:
            raise LivesamError(f"version {version} of domain {domain!r} was not kept: its objects cannot be replayed")
        if self._decoder is None:
            self._decoder = self._engine.slots.decoder(self._files.read(digest))
        elif self._loaded != digest:
            self._decoder.load_weights(self._files.read(digest))
        self._loaded = digest
        return self._decoder
