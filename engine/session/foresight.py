"""The window that the next click will be answered in, made ready while the user thinks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from livesam.engine.session.turns import Turns

if TYPE_CHECKING:
    from livesam.engine.serving.right_of_way import RightOfWay
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.window import Window
    from livesam.engine.view.view import Pixels, View

Wanted: TypeAlias = "tuple[View, Window]"


PATIENCE_S = 1.0  # under clicks that never pause, a view is begun after this time all the same


class Foresight:
    """Makes views on a thread of its own, which begins with the first and ends when there is nothing to do.

    Only the latest that is expected is made: one that has not begun gives way to it. One that has begun is finished,
    because an encoder cannot be stopped; who wants another one meanwhile waits for the encoder anyway.

    Args:
        encode: encodes a window's pixels.
        right_of_way: clicks announce themselves here.
        turns: at the encoder; a view is not begun before it has one, so that until then it can still give way.

    Attributes:
        on: for who asks whether to expect anything.
        quiet_s: so long after the last answer a view is begun; a CPU may have to draw that answer, too.
    """

    def __init__(
        self, encode: Callable[[Pixels], ImageEmbedding], right_of_way: RightOfWay, turns: Turns | None = None
    ) -> None:
        self._encode, self._right_of_way, self._turns = encode, right_of_way, turns or Turns()
        self.on, self.quiet_s = False, 0.0
        self._changed = threading.Condition()
        self._wanted: Wanted | None = None
        self._doing: Wanted | None = None
        self._done: tuple[View, Window, View] | None = None
        self._running = self._closed = False

    def expect(self, wanted: Wanted | None) -> None:
        """This window of a whole image, or all of it, will be asked for; None for none. Returns at once."""
        with self._changed:
            have = (self._doing, None if self._done is None else self._done[:2])
            self._wanted = wanted
            if wanted is None or self._closed or any(one is not None and _same(one, wanted) for one in have):
                self._wanted = None
            elif not self._running:
                self._running = True
                threading.Thread(target=self._run, name="livesam-foresight", daemon=True).start()

    def view(self, whole: View, window: Window) -> View:
        """The view of a window of a whole image: the one that was expected, once it is ready, else one made now."""
        with self._changed:
            self._wanted = None  # what has not begun is not waited for: the caller is as fast
            self._changed.wait_for(lambda: self._doing is None or not _same(self._doing, (whole, window)))
            if self._done is not None and _same(self._done[:2], (whole, window)):
                return self._done[2]
        return whole.part(window, self._encode)

    def forget(self) -> None:
        """Free what was made of the last image; what is being made of it is not kept."""
        with self._changed:
            self._wanted = self._doing = self._done = None
            self._changed.notify_all()

    def close(self) -> None:
        """Make nothing more; returns when the thread has ended."""
        with self._changed:
            self._closed = True
            self._wanted = self._doing = self._done = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running)

    def _run(self) -> None:
        while True:
            if self.quiet_s:
                self._right_of_way.wait_idle(PATIENCE_S, self.quiet_s)
            made = None
            with self._turns.ahead():
                with self._changed:
                    self._doing, self._wanted = self._wanted, None
                    doing = self._doing
                    if doing is None:
                        self._running = False
                        self._changed.notify_all()
                        return
                    whole, window = doing
                with contextlib.suppress(Exception):  # the click that needs the view makes it again, and says why not
                    made = whole if window == whole.window else whole.part(window, self._encode)
            with contextlib.suppress(Exception):
                made = None if made is None else made.ready()
            with self._changed:
                if self._doing is doing:  # not forgotten meanwhile
                    self._done = None if made is None else (whole, window, made)
                    self._doing = None
                    self._changed.notify_all()


def _same(one: tuple[object, object], other: tuple[object, object]) -> bool:
    return one[0] is other[0] and one[1] == other[1]
