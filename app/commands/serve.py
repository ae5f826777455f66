"""``livesam serve``: annotate a folder of images in the browser; the main job of ``make run``."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from livesam.app.options import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    RayOption,
    Runtime,
    RuntimeOption,
    SizeOption,
)


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
    ray: RayOption = None,
    encoders: Annotated[
        int | None, typer.Option("--encoders", min=1, help="With --ray, processes that encode images.  [1]")
    ] = None,
    ingresses: Annotated[
        int | None, typer.Option("--ingresses", min=1, help="With --ray, processes that hold sessions.  [1]")
    ] = None,
    learners: Annotated[
        int | None, typer.Option("--learners", min=1, help="With --ray, processes that learn.  [1]")
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option("--registry", help="With --ray, where decoders are published.  [OUT/registry]", metavar="URL"),
    ] = None,
    user_sessions: Annotated[
        int | None, typer.Option("--user-sessions", min=1, help="Sessions of one user at a time.  [any; --ray: 8]")
    ] = None,
    user_clicks: Annotated[
        float | None, typer.Option("--user-clicks", min=0.1, help="Clicks of one user a second.  [any; --ray: 20]")
    ] = None,
    user_images: Annotated[
        int | None, typer.Option("--user-images", min=1, help="Images that one user opens at once.  [any; --ray: 4]")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Annotate a folder of images in the browser, with a decoder that learns from it. Ctrl+C stops it.

    With --ray encoders, sessions and learners are processes of Ray, for many people at once (docs/scale.md). Beyond
    this machine every request needs a token: LIVESAM_TOKEN, or one that is made up and printed.
    """
    from livesam.app.opening import look_of, opening_of
    from livesam.app.server.quotas import Quota
    from livesam.app.server.security import is_loopback
    from livesam.app.server.serving import serve as run
    from livesam.app.server.settings import Settings

    usual = Quota() if ray is None else Quota(8, 20.0, 4)
    quota = Quota(user_sessions or usual.sessions, user_clicks or usual.clicks_s, user_images or usual.encoding)
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
        quota=quota,
    )

    def tell(address: str) -> None:
        typer.echo(f"open {address} in a browser; everything is kept in {settings.out}; Ctrl+C stops it")
        if open_page:
            typer.launch(address)

    if ray is None:
        if any(one is not None for one in (encoders, ingresses, learners, registry)):
            raise ValueError("--encoders, --ingresses, --learners and --registry are for --ray: add it")
        run(settings, tell)
        return

    from livesam.app.cluster.names import Scale
    from livesam.app.cluster.serving import serve as run_on_ray

    scale = Scale(ray, encoders or 1, ingresses or 1, learners or 1, registry)
    limits = replace(settings.limits, sessions=128, domains=64)
    run_on_ray(replace(settings, limits=limits), scale, tell)
