"""The canvas of `livesam serve` in a notebook, on a session that lives in the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from livesam.engine.values.errors import LivesamError
from livesam.notebook import Accepted, Conversation

if TYPE_CHECKING:
    from livesam.engine.session.session import Session


def widget(session: Session, image: npt.NDArray[Any] | Path | str, labels: Sequence[str] = ("object",)) -> Any:
    """An ``anywidget`` to segment an image by clicking, below a notebook's cell.

    Clicks go to the session as ``session.click`` sends them, so whoever learns from the session learns from them.

    Args:
        image: RGB uint8 ``(H, W, 3)`` or a path; the session's image from now on.
        labels: to choose from, the first one at first.

    Returns:
        The widget; ``widget.objects`` is what was accepted so far, a tuple of ``Accepted``.

    Raises:
        ValueError, ImageError: as for ``Session.set_image``, or there is no label.
        LivesamError: anywidget is not installed.
    """
    from livesam.engine.files.image import as_image

    names = [str(name) for name in labels]
    if isinstance(labels, str) or not names:
        raise ValueError(f"labels are a list of at least one name, got {labels!r}")
    pixels = as_image(image)
    session.set_image(pixels)
    return _canvas_class()(Conversation(session, pixels, names))


@cache
def _canvas_class() -> type[Any]:
    """Made at first use: anywidget is an extra."""
    try:
        import anywidget
    except ImportError:
        raise LivesamError("the notebook's canvas needs anywidget: pip install 'livesam[notebook]'") from None

    class Canvas(anywidget.AnyWidget):  # type: ignore[misc]
        _esm = files("livesam").joinpath("widget.js").read_text()

        def __init__(self, conversation: Conversation) -> None:
            super().__init__()
            self._conversation = conversation
            self.on_msg(self._told)

        @property
        def objects(self) -> tuple[Accepted, ...]:
            return tuple(self._conversation.objects.values())

        def _told(self, widget: Any, content: dict[str, Any], buffers: Sequence[Any]) -> None:
            header, payload = self._conversation.answer(content, bytes(buffers[0]) if buffers else b"")
            self.send(header, [payload] if payload else [])

    return Canvas
