"""Real disks of a few KiB, and one server's studio without its sockets."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from livesam.app.server.store import Store
from stored import HW, accept

PAGE = 4096


@dataclass
class Disk:
    """A file system of its own, in memory.

    Attributes:
        path: where it is mounted.
    """

    path: Path

    def leave(self, pages: int) -> None:
        """Fill it, but for so many pages of 4 KiB."""
        ballast = self.path / ".ballast"
        ballast.unlink(missing_ok=True)
        free = shutil.disk_usage(self.path).free // PAGE - pages
        if free > 0:
            ballast.write_bytes(b"\1" * (free * PAGE))

    def free(self) -> None:
        (self.path / ".ballast").unlink(missing_ok=True)

    def read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    """16 MiB, or as many as a test says; skipped where nobody may mount one."""
    size = f"size={getattr(request, 'param', 16)}m"
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)], capture_output=True)
    if made.returncode:
        pytest.skip("a small disk is mounted by root only")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def filled(tmp_path: Path) -> Callable[..., Path]:
    """``filled(objects)``: an output folder with so many objects on three images, closed in good order."""

    def make(objects: int = 40) -> Path:
        out = tmp_path / "filled"
        out.mkdir()
        store = Store(out)
        for image in range(3):
            store.note_image(f"{image:020x}", f"{image}.png", "h", HW)
        for number in range(1, objects + 1):
            assert accept(store, number, f"{number % 3:020x}") == number
        store.close()
        return out

    return make


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server without its sockets, on two photos; tests take domains of their own."""
    from livesam.adapter.learning.loop_state import LoopConfig
    from livesam.app.server.gallery import Gallery
    from livesam.app.server.settings import Settings
    from livesam.app.server.studio import Studio
    from livesam.export.opening import Opening
    from livesam.opening import BEST
    from PIL import Image

    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.coins()).save(folder / "coins.png")
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    out = tmp_path_factory.mktemp("out")
    chosen = Settings(folder, out, Opening("nano", runtime="torch"), BEST, loop=LoopConfig(nice=0))
    made = Studio(chosen, Gallery(folder, out))
    made.open()
    assert made.why_not() is None
    yield made
    made.close()


@dataclass
class Client:
    """Asks a seat, as the WebSocket does."""

    seat: Any

    def ask(self, op: str, **more: Any) -> Any:
        """The answer's header."""
        from livesam.wire import unpack

        reply = self.seat.answer({"id": 1, "op": op, **more}, memoryview(b""))
        return unpack(reply)[0] if isinstance(reply, bytes) else json.loads(json.dumps(reply, allow_nan=False))


@pytest.fixture
def client(studio: Any) -> Iterator[Callable[..., Client]]:
    """``client(domain)``: somebody at the photo of coins."""
    from livesam.app.server.seat import Seat

    seats = []

    def make(domain: str, image: str | None = "coins.png") -> Client:
        seats.append(Seat(studio, domain))
        one = Client(seats[-1])
        if image is not None:
            ids = {picture.name: picture.id for picture in studio.gallery.pictures()}
            one.ask("open", image=ids[image])
        return one

    yield make
    for seat in seats:
        seat.close()
