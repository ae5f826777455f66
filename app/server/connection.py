"""One WebSocket: messages in, answers out, in their order; and what happens meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from livesam.app.server.fields import text
from livesam.app.server.problems import OverQuota, problem_of
from livesam.app.server.seat import Reply, Seat
from livesam.app.server.studio import Studio
from livesam.wire import parse, unpack
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often learning is looked at
AWAY, TRY_AGAIN, POLICY = 1001, 1013, 1008  # close codes of RFC 6455

WAITING_BYTES = 32 << 20  # of the messages of one client that wait; it is not read from meanwhile

SKIPPED = frozenset({"preview", "press"})

Message = tuple[dict[str, Any], memoryview, int, float]  # what was said, its payload, its bytes, and when it came


class Connection:
    """Serves one WebSocket until it ends.

    Answers come in the order of the messages. A preview and a pressed button are skipped when something newer waits
    behind them: nobody looks at it any more, or the click itself is there.
    """

    def __init__(self, socket: WebSocket, studio: Studio, user: str, take_seat: Callable[[], Seat]) -> None:
        self._socket, self._studio, self._user, self._take_seat = socket, studio, user, take_seat
        self._seat: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue(studio.settings.limits.waiting)
        self._bytes, self._room = 0, asyncio.Event()  # of what waits, and set when some of it is taken
        self._sending = asyncio.Lock()
        self._heard = time.monotonic()
        self._lock = threading.Lock()
        self._taken: Seat | None = None
        self._gone = False

    async def run(self) -> None:
        """Answer until the client leaves, is idle for too long, or the task is cancelled."""
        tasks = [asyncio.create_task(work()) for work in (self._read, self._work, self._watch)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._stand_up()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect | RuntimeError):
                    log.error("a session ended badly", exc_info=outcome)

    def _sit_down(self) -> Seat:
        """On a thread, which goes on when the client has gone meanwhile."""
        seat = self._take_seat()
        with self._lock:
            if not self._gone:
                self._taken = seat
                return seat
        seat.close()
        return seat

    def _stand_up(self) -> None:
        with self._lock:
            self._gone, seat = True, self._taken
        if seat is not None:
            seat.close()

    async def close(self, why: str, code: int = AWAY) -> None:
        """Tell the client why, and close the socket."""
        with suppress(Exception):  # it may be gone already
            await self._send({"event": "closing", "why": why})
            await self._socket.close(code, why[:100])

    async def _read(self) -> None:
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                await self._waiting.put(None)
                return
            self._heard, came = time.monotonic(), time.perf_counter()
            try:
                data = event.get("bytes")
                said, payload = unpack(data) if data is not None else (parse(event["text"]), memoryview(b""))
                _check(said)
            except ValueError as error:
                await self._refuse(None, error)
                continue
            size = len(event["text"] if data is None else data)
            while self._bytes and self._bytes + size > WAITING_BYTES:
                self._room.clear()
                await self._room.wait()
            self._bytes += size
            await self._waiting.put((said, payload, size, came))

    async def _work(self) -> None:
        # Not before it is read from: a socket with an unread message answers no ping, and a model may take minutes.
        try:
            seat = await asyncio.to_thread(self._sit_down)
        except Exception as error:
            problem = problem_of(error)
            await turn_away(self._socket, problem.code, problem.message)
            return
        self._seat.set_result(seat)
        while (message := await self._waiting.get()) is not None:
            said, payload, size, came = message
            self._bytes -= size
            self._room.set()
            op = said.get("op")
            if isinstance(op, str) and op in SKIPPED and not self._waiting.empty():
                await self._send({"re": said.get("id"), "error": {"code": "superseded", "message": "something newer"}})
                continue
            try:
                with self._studio.quotas.asking(self._user, text(said, "op"), _place(said)):
                    reply = await asyncio.to_thread(seat.answer, said, payload, came)
            except Exception as error:
                await self._refuse(said.get("id"), error)
            else:
                await self._send(reply)

    async def _watch(self) -> None:
        """Say what was learned, and close the socket of somebody who has gone away."""
        last: dict[str, Any] | None = None
        seat = await self._seat
        while True:
            state = await asyncio.to_thread(seat.learning)
            if state != last:
                last = state
                await self._send({"event": "learning", **state})
            await asyncio.sleep(LOOK_S)
            if time.monotonic() - self._heard > self._studio.settings.limits.idle_s:
                await self.close("idle")
                return

    async def _refuse(self, re: object, error: Exception) -> None:
        problem = problem_of(error)
        await self._send({"re": re, "error": {"code": problem.code, "message": problem.message}})

    async def _send(self, reply: Reply) -> None:
        async with self._sending:
            if self._socket.client_state != WebSocketState.CONNECTED:
                return
            if isinstance(reply, bytes):
                await self._socket.send_bytes(reply)
            else:
                await self._socket.send_text(json.dumps(reply, allow_nan=False))


def _check(said: dict[str, Any]) -> None:
    """That an answer can name the message.

    Raises:
        ValueError: it cannot.
    """
    if isinstance(said.get("id"), list | dict):
        raise ValueError(f"a message's id is a number or a text, got {type(said['id']).__name__}")


def _place(said: dict[str, Any]) -> object:
    """Where a click is, or would be."""
    return said.get("x"), said.get("y"), said.get("positive", True)


class Connections:
    """The WebSockets of a server: how many there may be, and how all are told that it closes."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._open: set[Connection] = set()

    async def serve(self, socket: WebSocket, domain: str, private: str | None) -> None:
        """Take a client, or tell it why not."""
        await socket.accept()
        limit = self._studio.settings.limits.sessions
        if len(self._open) >= limit:
            await turn_away(socket, "at_capacity", f"{limit} sessions are open, as many as are allowed: close one")
            return
        user = private or (socket.client.host if socket.client else "")
        connection = Connection(socket, self._studio, user, lambda: Seat(self._studio, domain, private))
        self._open.add(connection)
        self._studio.metrics.sessions.set(len(self._open))
        try:
            with self._studio.quotas.session(user):
                await connection.run()
        except OverQuota as error:
            await turn_away(socket, "at_capacity", str(error))  # the page asks again by a button, not by itself
        finally:
            self._open.discard(connection)
            self._studio.metrics.sessions.set(len(self._open))
            with suppress(Exception):
                await socket.close()

    async def close(self) -> None:
        """Tell every client that the server closes."""
        await asyncio.gather(*(connection.close("the server is closing") for connection in list(self._open)))


async def turn_away(socket: WebSocket, code: str, message: str) -> None:
    with suppress(Exception):  # it may be gone already
        await socket.send_text(json.dumps({"re": None, "error": {"code": code, "message": message}}))
        await socket.send_text(json.dumps({"event": "closing", "why": message}))
        await socket.close(TRY_AGAIN if code in ("at_capacity", "not_ready") else POLICY, message[:100])
