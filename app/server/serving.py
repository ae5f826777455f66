"""A server from its settings until it is told to stop."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from livesam.app.server.lock import only_here
from livesam.app.server.security import is_loopback
from livesam.app.server.settings import Settings
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    import uvicorn

TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # as in Authorization: Bearer, RFC 6750
SAMPLES = "photos"  # in the output folder


@contextlib.contextmanager
def prepared(settings: Settings) -> Iterator[tuple[uvicorn.Server, socket.socket, str]]:
    """A server that is ready to run, the socket that it listens on, and the address to open; for one ``run``.

    Raises:
        ValueError: the folder does not exist, it listens elsewhere without a token, or a cookie cannot hold the token.
        LivesamError: fastapi and uvicorn are not installed, the output folder cannot be used, or the port is taken.
        OSError: the output folder cannot be written to.
    """
    try:
        import uvicorn
        from livesam.app.server.application import make_app
    except ImportError as error:
        raise LivesamError(
            f"serving needs packages that are not installed ({error.name}): pip install 'livesam[serve]'"
        ) from error
    from livesam.app.server.gallery import Gallery
    from livesam.app.server.studio import Studio

    check(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    with only_here(settings.out), _listening(settings) as (listening, port):
        settings = replace(settings, port=port)
        studio = Studio(settings, Gallery(images_of(settings), settings.out))
        limits = settings.limits
        config = uvicorn.Config(
            make_app(studio),
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=limits.frame_mib << 20,
            ws_ping_interval=limits.alive_s / 3,
            ws_ping_timeout=limits.alive_s * 2 / 3,
            ws_per_message_deflate=False,  # masks are small, and 2 ms of a click are not
            timeout_graceful_shutdown=15,
            timeout_keep_alive=30,
            limit_concurrency=limits.sessions + 200,
        )
        name = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{name}:{port}/" + (
            "" if settings.token is None else f"?token={quote(settings.token, safe='')}"
        )
        yield uvicorn.Server(config), listening, address


def check(settings: Settings) -> None:
    """Before anything is opened.

    Raises:
        ValueError: as ``prepared``.
    """
    if settings.token is None and not is_loopback(settings.host):
        raise ValueError(f"a server on {settings.host} needs a token: others can reach it")
    if settings.token is not None and not TOKEN.fullmatch(settings.token):
        raise ValueError(
            "the token (LIVESAM_TOKEN) has letters that a cookie cannot hold: use letters, digits and ._~+/=- only"
        )
    if settings.folder is not None and not settings.folder.is_dir():
        raise ValueError(f"there is no folder {str(settings.folder)!r}")


def images_of(settings: Settings) -> Path:
    """The folder of images: the one that was named, or that of the sample photos."""
    return (settings.folder or _samples(settings.out / SAMPLES)).resolve()


def serve(settings: Settings, tell: Callable[[str], object]) -> None:
    """Serve until SIGINT or SIGTERM. ``tell`` gets the address once it can be opened. Errors as ``prepared``."""
    import asyncio

    with prepared(settings) as (server, listening, address):

        async def run() -> None:
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            if server.started:
                tell(address)
            await serving

        with contextlib.suppress(KeyboardInterrupt):  # uvicorn stops in good order, and then raises it again
            asyncio.run(run())


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[tuple[socket.socket, int]]:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise LivesamError(f"{settings.host} is no address of this machine: {error.strerror or error}") from error
    family, _, _, _, address = found[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError as error:
            raise LivesamError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; give another --port, or 0 for any"
            ) from error
        yield listening, listening.getsockname()[1]
    finally:
        listening.close()


def free_port(settings: Settings) -> int:
    """A port that nobody listens on now. Errors as ``prepared``."""
    with _listening(settings) as (_, port):
        return port


def _samples(folder: Path) -> Path:
    """The sample photos as files."""
    from livesam.app.photos import PHOTOS
    from livesam.engine.files.picture import write_picture

    folder.mkdir(exist_ok=True)
    for photo in PHOTOS:
        path = folder / f"{photo.name}.png"
        if not path.exists():
            write_picture(path, photo.load())
    return folder
