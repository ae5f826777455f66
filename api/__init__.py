"""livesam: interactive segmentation that learns while it is used.

    import livesam

    session = livesam.open_session()                     # the bundled model on the fastest runtime of this machine
    session.set_image("photo.jpg")                       # encoded once
    result = session.click(320, 200)                     # a mask in milliseconds
    result.save("mask.png")

Everything a user needs has its name here; importing this loads nothing heavy. A bad argument raises ``ValueError``,
a file that cannot be written ``OSError``, all else ``LivesamError``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livesam.adapter.learning.learner import Learner
    from livesam.adapter.learning.loop_state import LoopConfig
    from livesam.canvas import widget
    from livesam.engine.models.adapted import program_version
    from livesam.engine.session.session import Session
    from livesam.engine.values.errors import LivesamError
    from livesam.engine.values.prompt import Box, Click, Prompt
    from livesam.engine.values.result import MaskResult
    from livesam.engine.view.look import Look
    from livesam.opening import embed, export_decoder, learn, open_session, prepare, segment
    from livesam.remote import RemoteSession, connect
    from livesam.remote_async import connect_async

    __version__ = program_version()

_HOMES = {
    "Box": "livesam.engine.values.prompt",
    "Click": "livesam.engine.values.prompt",
    "Learner": "livesam.adapter.learning.learner",
    "LivesamError": "livesam.engine.values.errors",
    "Look": "livesam.engine.view.look",
    "LoopConfig": "livesam.adapter.learning.loop_state",
    "MaskResult": "livesam.engine.values.result",
    "Prompt": "livesam.engine.values.prompt",
    "RemoteSession": "livesam.remote",
    "Session": "livesam.engine.session.session",
    "connect": "livesam.remote",
    "connect_async": "livesam.remote_async",
    "embed": "livesam.opening",
    "export_decoder": "livesam.opening",
    "learn": "livesam.opening",
    "open_session": "livesam.opening",
    "prepare": "livesam.opening",
    "segment": "livesam.opening",
    "widget": "livesam.canvas",
}

__all__ = [
    "Box", "Click", "Learner", "LivesamError", "Look", "LoopConfig", "MaskResult", "Prompt", "RemoteSession", "Session",
    "__version__", "connect", "connect_async", "embed", "export_decoder", "learn", "open_session", "prepare", "segment",
    "widget",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from livesam.engine.models.adapted import program_version

        return program_version()
    if name not in _HOMES:
        raise AttributeError(f"livesam has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
