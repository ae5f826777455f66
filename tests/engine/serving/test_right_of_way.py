from __future__ import annotations

import threading

from livesam.engine.serving.right_of_way import RightOfWay


def test_the_gate_is_busy_while_any_click_runs() -> None:
    gate = RightOfWay()
    assert not gate.busy
    assert gate.idle_s == float("inf")
    with gate.click():
        with gate.click():
            assert gate.busy
        assert gate.busy
        assert gate.idle_s == 0
        assert not gate.wait_idle(0.01)
    assert not gate.busy
    assert gate.wait_idle(0)


def test_an_error_in_a_click_opens_the_gate_again() -> None:
    gate = RightOfWay()
    try:
        with gate.click():
            raise KeyError
    except KeyError:
        pass
    assert not gate.busy


def test_a_learner_wakes_when_the_last_click_ends() -> None:
    gate, woke = RightOfWay(), threading.Event()

    def learn() -> None:
        if gate.wait_idle(30):
            woke.set()

    with gate.click():
        thread = threading.Thread(target=learn)
        thread.start()
        assert not woke.wait(0.05)
    thread.join(30)
    assert woke.is_set()


def test_quiet_is_counted_from_the_last_click() -> None:
    gate = RightOfWay()
    assert gate.wait_idle(0, quiet_s=60)  # nobody has ever clicked
    with gate.click():
        pass
    assert not gate.wait_idle(0.02, quiet_s=60)
    assert gate.wait_idle(30, quiet_s=0.01)
    assert gate.idle_s >= 0.01
