"""A session on a server for asyncio."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from livesam.engine.values.errors import LivesamError, SessionError
from livesam.engine.values.result import MaskResult
from livesam.talk import RemoteObject, Talk, there, unreachable

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AsyncSocket


class AsyncRemoteSession:
    """``RemoteSession`` for asyncio: every call is awaited. Made by ``livesam.connect_async``."""

    def __init__(self, talk: Talk, socket: AsyncSocket) -> None:
        self._talk, self._socket, self._lock = talk, socket, asyncio.Lock()

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
        return cls(talk, socket)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def set_image(self, image: str | Path) -> None:
        """Open an image of the server's folder."""
        await self._ask("open", image=await asyncio.to_thread(self._talk.find, image))

    async def click(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """Add a click."""
        return there(await self._mask("click", x=x, y=y, positive=positive))

    async def box(self, x0: float, y0: float, x1: float, y1: float) -> MaskResult:
        """Set the object's box."""
        return there(await self._mask("box", x0=x0, y0=y0, x1=x1, y1=y1))

    async def preview(self, x: float, y: float) -> MaskResult:
        """The answer to a first click here."""
        return there(await self._mask("preview", x=x, y=y))

    async def undo(self) -> MaskResult | None:
        """Take the last click or box back."""
        return await self._mask("undo")

    async def redo(self) -> MaskResult | None:
        """Take it up again."""
        return await self._mask("redo")

    async def reset(self) -> None:
        """Forget the current object's clicks."""
        await self._ask("reset")
        self._talk.mask = None

    async def accept(self, *, rough: bool = False, label: str = "object") -> RemoteObject:
        """The mask is right."""
        return self._talk.accepted((await self._ask("accept", label=label, rough=rough))[0])

    async def close(self) -> None:
        """End the session."""
        await self._socket.close()

    async def _mask(self, op: str, **said: Any) -> MaskResult | None:
        return self._talk.result(*await self._ask(op, **said))

    async def _ask(self, op: str, **said: Any) -> tuple[dict[str, Any], memoryview]:
        from websockets.exceptions import ConnectionClosed

        async with self._lock:
            try:
                await self._socket.send(self._talk.message(op, said, None))
                while (found := self._talk.heard(await self._socket.recv())) is None:
                    pass
            except ConnectionClosed as error:
                raise SessionError(f"the session on {self._talk.base} has ended: {error}") from error
        return found


async def connect_async(
    url: str, token: str | None = None, *, domain: str = "default", private: str | None = None
) -> AsyncRemoteSession:
    """The same for asyncio; arguments and errors as ``connect``."""
    return await AsyncRemoteSession.open(url, token, domain, private)
