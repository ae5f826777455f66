from __future__ import annotations

import threading

from livesam.engine.session.preparing import Preparing


def test_a_session_with_its_engine_is_ready() -> None:
    ready = Preparing()
    assert (ready.state, ready.stage, ready.error, ready.elapsed_s) == ("ready", "", "", 0)
    assert ready.wait(0)
    ready.stop()
    assert ready.state == "ready"


def test_what_a_build_goes_through() -> None:
    preparing, stopped = Preparing("pending"), []
    assert not preparing.wait(0)
    preparing.begin(lambda: stopped.append(True))
    preparing.tell("exporting")
    assert (preparing.state, preparing.stage) == ("building", "exporting")
    assert "building: exporting" in repr(preparing)
    waited = []
    waiter = threading.Thread(target=lambda: waited.append(preparing.wait(30)))
    waiter.start()
    preparing.end()
    waiter.join()
    assert waited == [True]
    took = preparing.elapsed_s
    assert (preparing.state, preparing.stage, preparing.elapsed_s) == ("ready", "", took)
    assert stopped == []


def test_a_failure_says_why() -> None:
    preparing = Preparing("pending")
    preparing.begin(lambda: None)
    preparing.end("no memory")
    assert (preparing.state, preparing.error) == ("failed", "no memory")
    assert not preparing.wait()
    assert "no memory" in repr(preparing)


def test_a_closed_session_stops_it() -> None:
    preparing, stopped = Preparing("pending"), []
    preparing.begin(lambda: stopped.append(True))
    preparing.stop()
    preparing.end("killed")  # what the builder says of its child
    assert (preparing.state, stopped) == ("stopped", [True])
    assert not preparing.wait()


def test_it_begins_once_and_not_in_a_closed_session() -> None:
    preparing, stopped = Preparing("pending"), []
    assert preparing.begin(lambda: stopped.append(1))
    assert not preparing.begin(lambda: stopped.append(2))
    preparing.stop()
    assert stopped == [1]
    closed = Preparing("pending")
    closed.stop()
    assert not closed.begin(lambda: stopped.append(3))
    closed.stop()
    assert (closed.state, stopped) == ("stopped", [1])
    assert not closed.wait()


def test_nobody_waits_for_what_nobody_builds() -> None:
    preparing = Preparing("pending")
    preparing.image_is_there()
    assert not preparing.wait()
    assert preparing.state == "pending"
