"""Somebody who annotates: clicks, corrections, accepted objects, other images, with pauses to think."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import livesam
import numpy as np
from livesam.engine.files.hashing import weights_hash

if TYPE_CHECKING:
    from livesam.engine.values.result import MaskResult
    from livesam.remote import RemoteSession


@dataclass(frozen=True, slots=True)
class Photo:
    """An image of the server's folder."""

    name: str
    height: int
    width: int


@dataclass(slots=True)
class Seen:
    """What clickers saw; several write to one.

    Attributes:
        ms: of the clicks since somebody took them, from the click to the mask.
        accepted: hash of the mask of each object that the server said to have kept, by its number.
        version: the newest that answered.
        errors: what was refused or broke, a sentence each.
    """

    ms: list[float] = field(default_factory=list)
    clicks: int = 0
    opened: int = 0
    accepted: dict[int, str] = field(default_factory=dict)
    version: int = 0
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take_ms(self) -> list[float]:
        """The times since the last call."""
        with self.lock:
            taken, self.ms = self.ms, []
        return taken


@dataclass(frozen=True, slots=True)
class Clicker:
    """How somebody works.

    Attributes:
        url: of the server.
        domain: whose decoder answers.
        photos: to choose from.
        think_s: median of the pause before each click.
        seed: of all choices.
        objects: so many on an image, before the next one.
        visits: images in one session, before the browser is opened anew.
    """

    url: str
    domain: str
    photos: Sequence[Photo]
    think_s: float
    seed: int
    objects: int = 4
    visits: int = 5

    def work(self, seen: Seen, over: Callable[[], bool]) -> None:
        """Annotate until it is ``over``; what breaks is noted, and ends it."""
        rng = np.random.default_rng(self.seed)
        try:
            while not over():
                with livesam.connect(self.url, domain=self.domain) as session:
                    for _ in range(self.visits):
                        if not over():
                            self._visit(session, rng, seen, over)
        except Exception as error:
            with seen.lock:
                seen.errors.append(f"clicker {self.seed}: {type(error).__name__}: {error}")

    def _visit(self, session: RemoteSession, rng: np.random.Generator, seen: Seen, over: Callable[[], bool]) -> None:
        photo = self.photos[int(rng.integers(len(self.photos)))]
        session.set_image(photo.name)
        with seen.lock:
            seen.opened += 1
        for _ in range(self.objects):
            if over():
                return
            mask = None
            for turn in range(int(rng.integers(1, 5))):
                self._think(rng)
                mask = self._click(session, rng, photo, turn, seen)
            if mask is None or not mask.mask.any():
                session.reset()
            elif rng.random() < 0.2:
                session.undo()
                session.reset()
            else:
                kept = session.accept(label=f"label {rng.integers(4)}")
                with seen.lock:
                    seen.accepted[kept.id] = mask_hash(kept.accepted_mask)

    def _click(
        self, session: RemoteSession, rng: np.random.Generator, photo: Photo, turn: int, seen: Seen
    ) -> MaskResult:
        x, y = float(rng.integers(photo.width)), float(rng.integers(photo.height))
        began = time.perf_counter()
        result = session.click(x, y, positive=turn == 0 or bool(rng.random() < 0.6))
        took = (time.perf_counter() - began) * 1e3
        with seen.lock:
            seen.ms.append(took)
            seen.clicks += 1
            seen.version = max(seen.version, result.decoder_version)
        return result

    def _think(self, rng: np.random.Generator) -> None:
        if self.think_s:
            time.sleep(float(rng.lognormal(np.log(self.think_s), 0.6)))


def mask_hash(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> str:
    """A mask's hash."""
    return weights_hash({"mask": np.asarray(mask, np.bool_)})
