"""A session on a server, `livesam serve`, with the calls of a local one; needs websockets and NumPy, no torch."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import LivesamError, SessionError
from livesam.engine.values.result import MaskResult
from livesam.talk import Read, RemoteObject, T, Talk, there, unreachable
from livesam.wire import bits_of

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection as Socket

ANSWER_S = 600.0  # the first image of a large model on a CPU takes minutes


class RemoteSession:
    """A session on a server, with the calls of a local one. Made by ``livesam.connect``; thread-safe.

    Where the server refuses, a call raises what a local session would: ``ValueError`` or ``SessionError``.
    """

    def __init__(self, url: str, token: str | None, domain: str, private: str | None) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        self._talk, self._lock, self._domain = Talk(url, token, domain, private), threading.Lock(), domain
        self._block = ExitStack()
        try:
            connecting = connect(self._talk.address, **self._talk.options)
            self._socket: Socket = self._block.enter_context(connecting)
        except (OSError, WebSocketException) as error:
            raise LivesamError(unreachable(self._talk.base, error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def set_image(self, image: str | Path) -> None:
        """Open an image of the server's folder by its name, its path or its id, and begin a new object."""
        self._ask(self._talk.over, "open", image=self._talk.find(image))

    def click(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """Add a click on (or, not ``positive``, off) the object, in pixels of the original image."""
        return there(self._mask("click", x=x, y=y, positive=positive))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> MaskResult:
        """Set the object's box."""
        return there(self._mask("box", x0=x0, y0=y0, x1=x1, y1=y1))

    def preview(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """The answer to a first click here; changes nothing."""
        return there(self._mask("preview", x=x, y=y, positive=positive))

    def press(self, x: float, y: float, positive: bool = True) -> None:
        """The button is down: ``click`` at the same place then has its answer at hand."""
        self._ask(self._talk.plain, "press", x=x, y=y, positive=positive)

    @property
    def clicks(self) -> int:
        """Clicks and boxes of the current object so far."""
        return self._talk.clicks

    def answer(self) -> MaskResult | None:
        """The current object's last answer; None before the first click."""
        return self._talk.answer

    def undo(self) -> MaskResult | None:
        """Take the last click or box back; the answer before it, or None if there is none left."""
        return self._mask("undo")

    def redo(self) -> MaskResult | None:
        """Take the last undone click or box up again."""
        return self._mask("redo")

    def reset(self) -> None:
        """Forget the current object's clicks; the image stays."""
        self._ask(self._talk.over, "reset")

    def candidates(self) -> tuple[MaskResult, ...]:
        """The masks that the decoder has for the last click, the likeliest first; ``choose`` takes one."""
        return tuple(result for _, result in self._ask(self._talk.results, "candidates"))

    def choose(self, index: int) -> MaskResult:
        """Take one of ``candidates`` instead of the last answer."""
        return there(self._mask("choose", index=index))

    def paint(self, mask: npt.NDArray[np.bool_]) -> MaskResult:
        """Take a mask as it was painted, bool ``(H, W)`` of the image."""
        box, bits = bits_of(np.asarray(mask, bool))
        return there(self._ask(self._talk.result, "paint", bits, box=box))

    def accept(self, *, rough: bool = False, label: str = "object", key: str | None = None) -> RemoteObject:
        """The mask is right: it is on the server's disk when this returns, and the decoder learns from it.

        ``key``, of your own for each object, makes it safe to say all of it again where the answer was lost.
        """
        return self._ask(self._talk.accepted, "accept", label=label, rough=rough, key=key)

    def propose(self, label: str | None = None, *, most: int = 50) -> list[tuple[int, MaskResult]]:
        """Masks of what looks like the objects that were accepted on this image, by numbers for ``take``."""
        said = {"most": most} if label is None else {"most": most, "label": label}
        return [(one["id"], result) for one, result in self._ask(self._talk.results, "propose", **said)]

    def take(self, proposal: int, label: str) -> int:
        """Accept a proposal; the object's id."""
        return int(self._ask(self._talk.plain, "take", proposal=proposal, label=label)["object"]["id"])

    @property
    def domain(self) -> str:
        """Whose decoder answers; setting it takes the decoder of that domain, and begins a new object."""
        return self._domain

    @domain.setter
    def domain(self, domain: str) -> None:
        self._ask(self._talk.over, "domain", name=domain)
        self._domain = domain

    def learning(self) -> dict[str, Any]:
        """What is to be seen of the learning, as ``GET /api/learning`` tells it of ``domain``."""
        found: dict[str, Any] = self._talk.get(f"/api/learning?{self._talk.query(self._domain)}")
        return found

    def close(self) -> None:
        """End the session; what was accepted stays."""
        self._block.close()

    def _mask(self, op: str, **said: Any) -> MaskResult | None:
        return self._ask(self._talk.result, op, **said)

    def _ask(self, read: Read[T], op: str, payload: bytes | None = None, **said: Any) -> T:
        """What ``read`` makes of the answer, before anybody else may ask."""
        from websockets.exceptions import ConnectionClosed

        with self._lock:
            try:
                self._socket.send(self._talk.message(op, said, payload))
                while (found := self._talk.heard(self._socket.recv(timeout=ANSWER_S))) is None:
                    pass
            except ConnectionClosed as error:
                raise SessionError(f"the session on {self._talk.base} has ended: {error}") from error
            except TimeoutError as error:
                raise SessionError(f"{self._talk.base} did not answer for {ANSWER_S:.0f} s") from error
            return read(*found)


def connect(
    url: str, token: str | None = None, *, domain: str = "default", private: str | None = None
) -> RemoteSession:
    """A session on a running ``livesam serve``, with the calls of a local one.

    Args:
        url: ``http://HOST:PORT``, or what the server printed, with its token.
        token: where the address has none and the server wants one.
        domain: whose decoder answers and learns; sessions of one domain share it.
        private: a name of your own, for a decoder that nobody else of this domain has.

    Raises:
        ValueError: that is no address.
        LivesamError: nobody answers there, or the server wants another token.
    """
    return RemoteSession(url, token, domain, private)
