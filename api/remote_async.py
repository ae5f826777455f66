"""A session on a server for asyncio."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import LivesamError, SessionError
from livesam.engine.values.result import MaskResult
from livesam.talk import Read, RemoteObject, T, Talk, there, unreachable
from livesam.wire import bits_of

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AsyncSocket


class AsyncRemoteSession:
    """``RemoteSession`` for asyncio: every call is awaited. Made by ``livesam.connect_async``."""

    def __init__(self, talk: Talk, socket: AsyncSocket, domain: str) -> None:
        self._talk, self._socket, self._lock, self._domain = talk, socket, asyncio.Lock(), domain

    @classmethod
    async def open(cls, url: str, token: str | None, domain: str, private: str | None) -> Self:
        """Connect. Errors as ``livesam.connect``."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        talk = Talk(url, token, domain, private)
        try:
            socket = await connect(talk.address, **talk.options)
        except (OSError, WebSocketException) as error:
            raise LivesamError(unreachable(talk.base, error)) from error
        return cls(talk, socket, domain)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def set_image(self, image: str | Path) -> None:
        """Open an image of the server's folder."""
        await self._ask(self._talk.over, "open", image=await asyncio.to_thread(self._talk.find, image))

    async def click(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """Add a click."""
        return there(await self._mask("click", x=x, y=y, positive=positive))

    async def box(self, x0: float, y0: float, x1: float, y1: float) -> MaskResult:
        """Set the object's box."""
        return there(await self._mask("box", x0=x0, y0=y0, x1=x1, y1=y1))

    async def preview(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """The answer to a first click here."""
        return there(await self._mask("preview", x=x, y=y, positive=positive))

    async def press(self, x: float, y: float, positive: bool = True) -> None:
        """The button is down: ``click`` at the same place then has its answer at hand."""
        await self._ask(self._talk.plain, "press", x=x, y=y, positive=positive)

    @property
    def clicks(self) -> int:
        """Clicks and boxes of the current object so far."""
        return self._talk.clicks

    def answer(self) -> MaskResult | None:
        """The current object's last answer; None before the first click."""
        return self._talk.answer

    async def undo(self) -> MaskResult | None:
        """Take the last click or box back."""
        return await self._mask("undo")

    async def redo(self) -> MaskResult | None:
        """Take it up again."""
        return await self._mask("redo")

    async def reset(self) -> None:
        """Forget the current object's clicks."""
        await self._ask(self._talk.over, "reset")

    async def candidates(self) -> tuple[MaskResult, ...]:
        """The masks that the decoder has for the last click, the likeliest first; ``choose`` takes one."""
        return tuple(result for _, result in await self._ask(self._talk.results, "candidates"))

    async def choose(self, index: int) -> MaskResult:
        """Take one of ``candidates`` instead of the last answer."""
        return there(await self._mask("choose", index=index))

    async def paint(self, mask: npt.NDArray[np.bool_]) -> MaskResult:
        """Take a mask as it was painted, bool ``(H, W)`` of the image."""
        box, bits = bits_of(np.asarray(mask, bool))
        return there(await self._ask(self._talk.result, "paint", bits, box=box))

    async def accept(self, *, rough: bool = False, label: str = "object", key: str | None = None) -> RemoteObject:
        """The mask is right."""
        return await self._ask(self._talk.accepted, "accept", label=label, rough=rough, key=key)

    async def propose(self, label: str | None = None, *, most: int = 50) -> list[tuple[int, MaskResult]]:
        """Masks of what looks like the objects that were accepted on this image, by numbers for ``take``."""
        said = {"most": most} if label is None else {"most": most, "label": label}
        return [(one["id"], result) for one, result in await self._ask(self._talk.results, "propose", **said)]

    async def take(self, proposal: int, label: str) -> int:
        """Accept a proposal; the object's id."""
        return int((await self._ask(self._talk.plain, "take", proposal=proposal, label=label))["object"]["id"])

    @property
    def domain(self) -> str:
        """Whose decoder answers; ``set_domain`` takes another."""
        return self._domain

    async def set_domain(self, domain: str) -> None:
        """Take the decoder of that domain, and begin a new object."""
        await self._ask(self._talk.over, "domain", name=domain)
        self._domain = domain

    async def learning(self) -> dict[str, Any]:
        """What is to be seen of the learning, as ``GET /api/learning`` tells it of ``domain``."""
        path = f"/api/learning?{self._talk.query(self._domain)}"
        found: dict[str, Any] = await asyncio.to_thread(self._talk.get, path)
        return found

    async def close(self) -> None:
        """End the session."""
        await self._socket.close()

    async def _mask(self, op: str, **said: Any) -> MaskResult | None:
        return await self._ask(self._talk.result, op, **said)

    async def _ask(self, read: Read[T], op: str, payload: bytes | None = None, **said: Any) -> T:
        """What ``read`` makes of the answer, before anybody else may ask."""
        from websockets.exceptions import ConnectionClosed

        async with self._lock:
            try:
                await self._socket.send(self._talk.message(op, said, payload))
                while (found := self._talk.heard(await self._socket.recv())) is None:
                    pass
            except ConnectionClosed as error:
                raise SessionError(f"the session on {self._talk.base} has ended: {error}") from error
            return read(*found)


async def connect_async(
    url: str, token: str | None = None, *, domain: str = "default", private: str | None = None
) -> AsyncRemoteSession:
    """The same for asyncio; arguments and errors as ``connect``."""
    return await AsyncRemoteSession.open(url, token, domain, private)
