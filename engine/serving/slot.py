"""The one place where serving weights change.

Two decoders: clicks lease the active one, new weights go into the other, and when it has proven itself the two change
places. The change is one assignment, and a click takes no lock that a publisher takes, so it never waits for a swap; a
click in flight finishes on the decoder that it leased, and that decoder is not touched before.

Why no click is answered by a decoder that is being filled: a click enters the place that it sees active, and then looks
whether that is still the active one; if not, it leaves and looks again. A publisher takes a place out of service first,
and fills it only after it has then seen nobody inside. So of a click and a publisher at one place at least one sees the
other: either the click was inside before the publisher looked, who waits for it, or it looks after the change, and
leaves. If the place was filled and became active again meanwhile, the click simply gets the new version. All of it
rests on attributes and lists being read and written in one order that all threads agree on, as they are with the GIL.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import weights_hash
from livesam.engine.serving.place import Lease, Place
from livesam.engine.serving.version import BASE, CANDIDATE, STABLE, Version, require_label
from livesam.engine.serving.weight_copies import WeightCopies
from livesam.engine.values.errors import SessionError, SwapError

if TYPE_CHECKING:
    from livesam.engine.serving.probe import Probe
    from livesam.engine.values.protocols import DecoderCompiler, DecoderWeights, MaskDecoder


def _go_on() -> None: ...


class DecoderSlot:
    """Serves one version of the decoder and takes new ones, for any runtime.

    Args:
        compile: makes a decoder of the runtime; called once at once, and once more at the first ``publish``.
        base: the weights of version 0, label ``base``; never dropped.
        probe: what each version is checked with before it serves; without one only names, shapes and finiteness are.
        history: how many versions are kept to go back to; the base, the current one and labelled ones always are.
        wait_s: how long a publish waits for the clicks that still run on the idle decoder.
        give_way: called before each part of a publish that needs the processor; it may wait while clicks are answered.
        first: the number of the first version that is published; an earlier process may have used those before it.
        on_publish: is told each version and its weights once it serves, on the publisher's thread; must not raise.

    Raises:
        ValueError: ``history`` or ``first`` is below 1.
        SwapError: the base weights are not those of a mask decoder.
    """

    def __init__(
        self,
        compile: DecoderCompiler,
        base: DecoderWeights,
        *,
        probe: Probe | None = None,
        history: int = 8,
        wait_s: float = 30.0,
        give_way: Callable[[], None] = _go_on,
        first: int = 1,
        on_publish: Callable[[int, DecoderWeights], object] = lambda version, weights: None,
    ) -> None:
        if min(history, first) < 1:
            raise ValueError(f"history and first must be at least 1, got {history} and {first}")
        self._compile, self._probe, self._history, self._wait_s = compile, probe, history, wait_s
        self._give_way, self._on_publish = give_way, on_publish
        self._lock = threading.Lock()  # guards what is kept and the labels; no click takes it
        self._swapping = threading.Lock()  # one publish or rollback at a time
        self._copies = WeightCopies(base)
        self._kept: dict[int, Mapping[str, npt.NDArray[np.float32]]] = {0: self._copies.base}
        self._digests: dict[int, str] = {}
        self._labels = {BASE: 0}
        self._next = first
        self._active = Place(compile(self._kept[0]), 0)
        self._idle: Place | None = None
        self._closed = False

    @property
    def runtime(self) -> str:
        """The runtime that really runs, with device and precision."""
        return self._active.decoder.runtime

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    @property
    def current(self) -> int:
        """The version that the next click gets."""
        return self._active.served

    def versions(self) -> tuple[Version, ...]:
        """The versions that ``rollback`` can go to, oldest first."""
        with self._lock:
            return tuple(
                Version(number, tuple(k for k, v in self._labels.items() if v == number), number == self.current)
                for number in sorted(self._kept)
            )

    def labels(self) -> dict[str, int]:
        """Where each label points."""
        with self._lock:
            return dict(self._labels)

    def weights(self, version: int) -> dict[str, npt.NDArray[np.float32]]:
        """A kept version's weights; the arrays are the slot's own and read-only.

        Raises:
            ValueError: this version is not kept.
        """
        with self._lock:
            return dict(self._find(version))

    def digest(self, version: int) -> str:
        """The hash of a kept version's weights, the same in every process.

        Raises:
            ValueError: this version is not kept.
        """
        weights = self.weights(version)
        if version not in self._digests:
            self._digests[version] = weights_hash(weights)
        return self._digests[version]

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        """The current decoder, unchanged for as long as the block lasts, whatever is published meanwhile.

        Where a decoder's instance answers one thread only, the block waits for the click before it; it never waits for
        a swap.

        Raises:
            SessionError: the slot is closed.
        """
        while True:
            place = self._active
            with place.turn:
                place.clicks.enter()
                try:
                    if self._closed:
                        raise SessionError("the decoder slot is closed: open a new session")
                    if self._active is place:  # else a swap came in between, and this place may be being filled
                        yield Lease(place.served, place.decoder)
                        return
                finally:
                    place.clicks.leave()

    def publish(self, weights: DecoderWeights, label: str | None = CANDIDATE, version: int | None = None) -> int:
        """Put new weights into service and return their version. Blocks the caller, never a click.

        Names, shapes and values are checked, the weights are copied into the idle decoder, compared with the reference
        on the probe, and the decoder is warm when it takes over. ``label`` moves to the new version; ``version`` is its
        number where somebody else counts, and may be that of no other weights.

        Raises:
            ValueError: there is no such label.
            SwapError: the weights were not taken; what served before still does, and the message says why not.
            SessionError: the slot is closed.
        """
        require_label(label)
        with self._swapping:
            kept = self._copies.take(weights)
            version = self._next if version is None else version
            self._next = max(self._next, version + 1)
            self._switch(version, kept)
            with self._lock:
                if label is not None:
                    self._labels[label] = version
                self._trim()
            self._on_publish(version, kept)
        return version

    def rollback(self, version: int) -> int:
        """Serve a kept version again, under its old number. At once if it is the one that served before.

        Raises:
            ValueError: this version is not kept; the message names those that are.
            SwapError: the version could not be put into service; what served before still does.
            SessionError: the slot is closed.
        """
        with self._swapping:
            with self._lock:
                weights = self._find(version)
            if version != self._active.version:
                self._switch(version, weights)
                with self._lock:
                    self._trim()
        return version

    def promote(self, version: int, label: str = STABLE) -> None:
        """Move a label to a kept version. Labelled versions are not dropped.

        Raises:
            ValueError: there is no such label, or this version is not kept.
        """
        require_label(label)
        with self._swapping, self._lock:
            self._find(version)
            self._labels[label] = version
            self._trim()

    def move(self, compile: DecoderCompiler, probe: Probe | None = None) -> None:
        """Serve the current version on another runtime, with its probe; the decoders that served so far are freed.

        Raises:
            SwapError: its decoder was not taken; what served before still does.
            SessionError: the slot is closed.
        """
        with self._swapping:
            self._require_open()
            before, version = (self._active, self._idle), self.current
            weights = self._kept[version]
            place = Place(self._made(compile, version, weights), version)
            try:
                self._prove(place, version, weights, probe)
            except SwapError:
                place.decoder.close()
                raise
            self._compile, self._probe, self._active, self._idle = compile, probe, place, None
            self._free(before)

    def close(self) -> None:
        """Free both decoders once the clicks in flight are answered; later leases raise ``SessionError``."""
        with contextlib.ExitStack() as stack:
            idle = self._swapping.acquire(timeout=self._wait_s)  # a publish that hangs keeps its decoders
            stack.callback(self._swapping.release if idle else _go_on)
            before, self._closed = self._closed, True
            self._free(() if before or not idle else (self._active, self._idle))

    def _switch(self, version: int, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Put weights into the idle decoder and let it take over; ``_swapping`` is held."""
        self._require_open()
        place = self._free_place(version, weights)
        if place.version != version:
            place.version = None  # whatever fails from here on, this decoder may not serve before it is filled anew
            self._prove(place, version, weights, self._probe)
        with self._lock:
            self._kept[version] = weights
            place.version = version
            self._active, self._idle = place, self._active

    def _free_place(self, version: int, weights: DecoderWeights) -> Place:
        """The idle decoder with no click left on it."""
        if self._idle is None:
            self._idle = Place(self._made(self._compile, version, weights), None)
        if not self._idle.clicks.wait_empty(self._wait_s):
            raise self._refused(version, f"a click has held the idle decoder for more than {self._wait_s:g} s")
        return self._idle

    def _made(self, compile: DecoderCompiler, version: int, weights: DecoderWeights) -> MaskDecoder:
        try:
            return compile(weights)
        except Exception as error:  # runtimes' exceptions have no common base but Exception
            raise self._refused(version, f"no decoder was made: {error}") from error

    def _prove(self, place: Place, version: int, weights: DecoderWeights, probe: Probe | None) -> None:
        """Fill a decoder that serves nobody, and let the probe look at it."""
        try:
            self._give_way()
            place.decoder.load_weights(weights)
            if probe is not None:
                probe.check(place.decoder, weights, self._give_way)
        except SwapError as error:
            raise self._refused(version, str(error)) from error
        except Exception as error:  # runtimes' exceptions have no common base but Exception
            raise self._refused(version, f"the decoder failed: {error}") from error

    def _refused(self, version: int, reason: str) -> SwapError:
        return SwapError(f"version {version} was not taken, version {self.current} serves on: {reason}")

    def _free(self, places: Iterable[Place | None]) -> None:
        """Close decoders once the clicks on them are answered."""
        for place in places:
            if place is not None:
                place.clicks.wait_empty(self._wait_s)
                place.decoder.close()

    def _require_open(self) -> None:
        if self._closed:
            raise SessionError("the decoder slot is closed: open a new session")

    def _find(self, version: int) -> Mapping[str, npt.NDArray[np.float32]]:
        if version not in self._kept:
            kept = ", ".join(str(number) for number in sorted(self._kept))
            raise ValueError(f"version {version} is not kept: choose one of {kept}")
        return self._kept[version]

    def _trim(self) -> None:
        """Drop the oldest versions that no label holds."""
        protected = {self.current, *self._labels.values()}
        for number in sorted(self._kept):
            if len(self._kept) > self._history and number not in protected:
                del self._kept[number]
                self._digests.pop(number, None)
