"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.app.server.quotas import Quota
from livesam.engine.view.look import PLAIN, Look
from livesam.export.opening import Opening

if TYPE_CHECKING:
    from livesam.adapter.learning.loop_state import LoopConfig


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may ask for.

    Attributes:
        frame_mib: of one WebSocket frame; a painted mask of 64 million pixels has 8.
        body_mib: of an HTTP request's body.
        import_mib: of an annotation file that is imported.
        sessions: WebSockets at a time.
        domains: decoders at a time; each takes 50 MiB, and its lessons up to 256.
        idle_s: a session in which nobody has done anything for so long is closed.
        alive_s: and one whose client has not answered a ping for so long.
        waiting: messages of one client that may wait for their answer; it is not read from meanwhile.
    """

    frame_mib: int = 16
    body_mib: int = 1
    import_mib: int = 64
    sessions: int = 32
    domains: int = 16
    idle_s: float = 3600.0
    alive_s: float = 60.0
    waiting: int = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told when it starts.

    Attributes:
        folder: of images; None for the sample photos.
        out: where everything that is kept lies.
        opening: model and runtime.
        look: zoom, obey and edges.
        host, port: where it listens; port 0 takes a free one.
        token: what every request must bring; None where nobody but this machine can reach it.
        hosts: names beside this machine's own by which it may be called (a proxy's); with a port where it has its own.
        learning: whether it learns from the start.
        loop: when and how eagerly; None for the usual.
        limits: how much a client may ask for.
        quota: how much one user may have; a user is whose name is in ``private``, else an address.
    """

    folder: Path | None
    out: Path
    opening: Opening = field(default_factory=Opening)
    look: Look = PLAIN
    host: str = "127.0.0.1"
    port: int = 8300
    token: str | None = None
    hosts: tuple[str, ...] = ()
    learning: bool = True
    loop: LoopConfig | None = None
    limits: Limits = field(default_factory=Limits)
    quota: Quota = field(default_factory=Quota)
