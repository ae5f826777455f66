"""Whom somebody waits for goes before what is made ahead, however long that has waited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from livesam.engine.session.turns import Turns


class Line:
    """Threads that want a turn, and who has had one."""

    def __init__(self) -> None:
        self.had: list[str] = []
        self.threads: list[threading.Thread] = []

    def take(self, name: str, turn: Callable[[], AbstractContextManager[None]]) -> None:
        with turn():
            self.had.append(name)

    def add(self, name: str, turn: Callable[[], AbstractContextManager[None]], turns: Turns) -> None:
        """Start one, and return when it waits."""
        thread = threading.Thread(target=self.take, args=(name, turn))
        self.threads.append(thread)
        waiting = len(turns._changed._waiters)  # type: ignore[attr-defined]
        thread.start()
        deadline = time.monotonic() + 10
        while len(turns._changed._waiters) == waiting and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(0.001)

    def join(self) -> None:
        for one in self.threads:
            one.join(10)
        assert not any(one.is_alive() for one in self.threads)


def test_what_is_made_ahead_comes_last() -> None:
    turns, line = Turns(), Line()
    with turns.now():
        line.add("ahead", turns.ahead, turns)
        line.add("click", turns.now, turns)
        line.add("next click", turns.now, turns)
        assert line.had == []
    line.join()
    assert line.had == ["click", "next click", "ahead"]


def test_several_at_once_but_one_of_them_ahead() -> None:
    turns, line = Turns(2), Line()
    with turns.ahead():
        line.add("ahead", turns.ahead, turns)
        click = threading.Thread(target=lambda: line.take("click", turns.now))
        click.start()
        click.join(10)
        assert line.had == ["click"]
    line.join()
    assert line.had == ["click", "ahead"]


def test_within_a_turn_ahead_is_no_other_turn() -> None:
    turns = Turns()
    with turns.ahead(), turns.now():
        pass
    with turns.alone():
        pass


def test_who_gives_up_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    with turns.now():

        def interrupted(found: Callable[[], bool]) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(turns._changed, "wait_for", interrupted)
            with pytest.raises(KeyboardInterrupt), turns.now():
                pass
    with turns.now():  # would wait for ever behind the one that gave up
        pass
    with pytest.raises(ValueError, match="at least 1 image at once, got 0"):
        Turns(0)
