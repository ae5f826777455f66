"""A real server in a thread of this process, and a client of its wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from livesam.adapter.learning.loop_state import LoopConfig
from livesam.app.server.serving import prepared
from livesam.app.server.settings import Limits, Settings
from livesam.app.server.studio import Studio
from livesam.export.opening import Opening
from livesam.opening import BEST
from livesam.wire import mask_of, pack, unpack
from PIL import Image
from websockets.sync.client import ClientConnection, connect


@dataclass
class Wire:
    """One WebSocket."""

    socket: ClientConnection
    events: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    def send(self, op: str, payload: bytes | None = None, **more: Any) -> int:
        self.asked += 1
        said = {"id": self.asked, "op": op, **more}
        self.socket.send(json.dumps(said) if payload is None else pack(said, payload))
        return self.asked

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next answer; events are put aside."""
        while True:
            message = self.socket.recv(timeout=60)
            head, payload = (json.loads(message), b"") if isinstance(message, str) else unpack(message)
            if "event" not in head:
                return head, bytes(payload)
            self.events.append(head)

    def ask(self, op: str, payload: bytes | None = None, **more: Any) -> dict[str, Any]:
        """The header of the answer."""
        number = self.send(op, payload, **more)
        head, _ = self.receive()
        assert head["re"] == number
        return head

    def mask(self, op: str, payload: bytes | None = None, **more: Any) -> np.ndarray:
        """The mask of the answer."""
        number = self.send(op, payload, **more)
        head, bits = self.receive()
        assert head.get("kind") == "mask", head
        assert head["re"] == number
        return mask_of(head["box"], bits, (head["height"], head["width"]))

    def masks(self, op: str, **more: Any) -> list[tuple[dict[str, Any], np.ndarray]]:
        self.send(op, **more)
        head, bits = self.receive()
        assert head.get("kind") == "masks", head
        size = (head["height"], head["width"])
        return [(one, mask_of(one["box"], bits[one["offset"] :][: one["length"]], size)) for one in head["masks"]]


@dataclass
class Running:
    """A server that answers."""

    url: str
    studio: Studio
    http: httpx.Client
    stop: threading.Event

    @contextlib.contextmanager
    def wire(self, query: str = "", **options: Any) -> Iterator[Wire]:
        address = self.url.replace("http", "ws") + "api/session" + query
        with connect(address, max_size=None, compression=None, **options) as socket:
            yield Wire(socket)

    def images(self) -> dict[str, str]:
        """Ids by name."""
        return {one["name"]: one["id"] for one in self.http.get("/api/images").json()["items"]}


def settings(folder: Path, out: Path, **more: Any) -> Settings:
    opening = more.pop("opening", Opening("nano", runtime="torch"))  # no graph has to be exported
    return Settings(
        folder, out, opening, BEST, port=0, **{"loop": LoopConfig(nice=0), "limits": Limits(domains=64), **more}
    )


@contextlib.contextmanager
def running(chosen: Settings, *, headers: dict[str, str] | None = None) -> Iterator[Running]:
    stop = threading.Event()
    with prepared(chosen) as (server, listening, address):
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.01)
            url = address.partition("?")[0]
            studio = server.config.app.state.studio if hasattr(server.config.app, "state") else None
            with httpx.Client(base_url=url, timeout=60, headers=headers) as http:
                while http.get("/readyz").status_code != 200 and time.monotonic() < deadline:
                    time.sleep(0.02)
                yield Running(url, studio, http, stop)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def make_photos(folder: Path) -> Path:
    """Three photos of scikit-image's, one of them deep, and files that are no images."""
    data = pytest.importorskip("skimage.data")
    (folder / "below").mkdir(parents=True)
    Image.fromarray(data.coins()).save(folder / "coins.png")
    Image.fromarray(data.chelsea()).save(folder / "below" / "cat.jpg", quality=95)
    Image.fromarray(data.coins().astype(np.uint16) * 40 + 500).save(folder / "deep.tif")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos") / "in")


@pytest.fixture(scope="session")
def server(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that all tests use; each takes a domain of its own, and counts only what it has added to an image."""
    with running(settings(photos, tmp_path_factory.mktemp("out"))) as found:
        yield found


@pytest.fixture(scope="session")
def run():
    """``run(folder, out, **settings)``: a server for a ``with`` block."""

    def start(folder: Path | None, out: Path, headers: dict[str, str] | None = None, **more: Any):
        return running(settings(folder, out, **more), headers=headers)

    return start
