"""``livesam serve``: annotate a folder of images in the browser; the main job of ``make run``."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer
from livesam.app.options import CheckpointOption, DeviceOption, ModelOption, Runtime, RuntimeOption, SizeOption


def serve(
    folder: Annotated[
        Path | None, typer.Argument(help="Images; sample photos when not given.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where all is kept.  [FOLDER/livesam; out/serve without one]", metavar="OUT"),
    ] = None,
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    device: DeviceOption = None,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; beyond this machine a token is asked for.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8300,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A name by which a proxy calls it.", metavar="NAME[:PORT]")
    ] = None,
    learning: Annotated[bool, typer.Option("--learn/--no-learn", help="Learn from what is accepted.")] = True,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Annotate a folder of images in the browser, with a decoder that learns from it. Ctrl+C stops it.

    Beyond this machine every request needs a token: LIVESAM_TOKEN, or one that is made up and printed.
    """
    from livesam.app.opening import look_of, opening_of
    from livesam.app.server.security import is_loopback
    from livesam.app.server.serving import serve as run
    from livesam.app.server.settings import Settings

    token = os.environ.get("LIVESAM_TOKEN") or (None if is_loopback(host) else secrets.token_urlsafe(24))
    settings = Settings(
        folder,
        out or (Path("out/serve") if folder is None else folder / "livesam"),
        opening_of(model, checkpoint, runtime, None, device, size),
        look_of(model, None, None, None),
        host,
        port,
        token,
        tuple(allow_host or ()),
        learning,
    )

    def tell(address: str) -> None:
        typer.echo(f"open {address} in a browser; everything is kept in {settings.out}; Ctrl+C stops it")
        if open_page:
            typer.launch(address)

    run(settings, tell)
