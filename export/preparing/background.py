"""Build an engine beside who uses it, and put it in the place of PyTorch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from livesam.engine.values.errors import LivesamError, SessionError
from livesam.export.preparing.child import Child

if TYPE_CHECKING:
    from livesam.engine.runtimes.stand_in import StandIn
    from livesam.engine.serving.probe import Probe
    from livesam.engine.serving.slots import Slots
    from livesam.engine.session.preparing import Preparing
    from livesam.engine.values.protocols import DecoderCompiler, ImageEncoder


class Engines(NamedTuple):
    """What takes over from PyTorch: an encoder, what makes decoders, and what each of those is checked with."""

    encoder: ImageEncoder
    compile: DecoderCompiler
    probe: Probe


class Background:
    """A child process that prepares engines, and a thread that waits for it and then swaps them in.

    Args:
        opening: what to prepare, the fields of an ``Opening``.
        preparing: is told how far it is.
        encoder, slots: what the engines go into.
        load: opens what was prepared.
    """

    def __init__(
        self,
        opening: Mapping[str, object],
        preparing: Preparing,
        encoder: StandIn,
        slots: Slots,
        load: Callable[[], Engines],
    ) -> None:
        self._opening, self._preparing = opening, preparing
        self._encoder, self._slots, self._load = encoder, slots, load
        self._child: Child | None = None
        self._stopped = False
        self._turn = threading.Lock()  # of starting and stopping the child

    def start(self) -> None:
        """Begin, unless that was done or the session is closed; returns at once."""
        if not self._preparing.begin(self.stop):
            return
        threading.Thread(target=self._run, name="livesam-prepare", daemon=True).start()

    def stop(self) -> None:
        """End the child. What it has finished is there for the next one."""
        with self._turn:
            self._stopped = True
            if self._child is not None:
                self._child.kill()

    def _run(self) -> None:
        try:
            with self._turn:
                self._go_on()
                child = self._child = Child(self._opening)
            child.follow(self._preparing.tell)
            self._preparing.tell("loading the engine")
            self._swap()
        except LivesamError as error:
            self._preparing.end(str(error))
        except Exception as error:  # runtimes' exceptions have no common base but Exception
            self._preparing.end(f"the engine does not start: {error}")
        else:
            self._preparing.end()

    def _swap(self) -> None:
        self._go_on()
        engines = self._load()
        try:
            self._go_on()
            self._slots.move(engines.compile, engines.probe)
        except BaseException:
            engines.encoder.close()
            raise
        self._encoder.replace(engines.encoder)

    def _go_on(self) -> None:
        if self._stopped:
            raise SessionError("the session was closed")
