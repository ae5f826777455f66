"""The decoder slots of one engine, which change to another runtime together."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from livesam.engine.serving.slot import DecoderSlot

if TYPE_CHECKING:
    from livesam.engine.serving.probe import Probe
    from livesam.engine.values.protocols import DecoderCompiler, DecoderWeights, MaskDecoder


class Slots:
    """Makes slots, and moves all that are in use. Thread-safe.

    Args:
        compile: makes a decoder out of weights.
        probe: what each version is checked with before it serves.
        give_way: as in ``DecoderSlot``.
    """

    def __init__(self, compile: DecoderCompiler, probe: Probe | None, give_way: Callable[[], None]) -> None:
        self._runtime, self._give_way = (compile, probe), give_way
        self._made: weakref.WeakSet[DecoderSlot] = weakref.WeakSet()
        self._lock = threading.Lock()  # of both; nothing is compiled under it

    def make(
        self, base: DecoderWeights, first: int, on_publish: Callable[[int, DecoderWeights], object]
    ) -> DecoderSlot:
        """A slot that serves the base; arguments as in ``DecoderSlot``."""
        compile, probe = runtime = self._runtime
        made = DecoderSlot(compile, base, probe=probe, give_way=self._give_way, first=first, on_publish=on_publish)
        with self._lock:
            self._made.add(made)
            now = self._runtime
        if now is not runtime:
            made.move(*now)
        return made

    def move(self, compile: DecoderCompiler, probe: Probe | None) -> None:
        """Serve on another runtime from now on; each slot goes on with its version.

        Raises:
            SwapError: a decoder was not taken; the slots that had not changed by then serve on as before.
        """
        with self._lock:
            slots = [slot for slot in self._made if not slot.closed]
        for slot in slots:
            slot.move(compile, probe)
        with self._lock:
            self._runtime, late = (compile, probe), [slot for slot in self._made if slot not in slots]
        for slot in late:
            if not slot.closed:
                slot.move(compile, probe)

    def decoder(self, weights: DecoderWeights) -> MaskDecoder:
        """A decoder of its own, which no slot serves; the caller closes it."""
        return self._runtime[0](weights)
