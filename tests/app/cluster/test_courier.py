"""What a learner that is slow, hangs or dies does to those who click: nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from livesam.app.cluster import courier as module
from livesam.app.cluster.courier import Courier
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click, Prompt


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(module, "SLOW_S", 0.0)


class RayError(Exception):
    """As Ray's own are called, and what tells them from what a learner has raised."""


class ActorDiedError(RayError):
    pass


class RayTaskError(RayError):
    pass


class Refused(RayTaskError, ValueError):
    pass


class Learner:
    """Answers what it is asked, unless it is told to hang or to fail."""

    def __init__(self):
        self.heard, self.held, self.failures = [], [], 0
        self.hangs, self.error = False, ActorDiedError

    def send(self, what, domain, *value):
        answer = Future()
        if what != "state":
            self.heard.append((what, domain, *value))
        if self.failures and what != "state":
            self.failures -= 1
            answer.set_exception(self.error("its process has died"))
        elif self.hangs:
            self.held.append(answer)
        else:
            answer.set_result({"enabled": True, "waiting": 2} if what == "state" else None)
        return answer


def said(number, over=True):
    """An object that was accepted, or is still being clicked at."""
    embedding = ImageEmbedding(np.zeros((1, 256, 1, 1), np.float32), (8, 8), (8, 8), "key")
    mask = np.ones((8, 8), bool) if over else None
    return Interaction(embedding, (Prompt((Click(1, 1, True),)),), np.zeros((4, 4), np.float32), mask, 0, number=number)


def until(found):
    deadline = time.monotonic() + 20
    while not found() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found()


def test_interactions_arrive_in_their_order_and_news_comes_back():
    learner = Learner()
    courier = Courier("cells", learner.send)
    for number in range(5):
        assert courier.put(said(number))
    until(lambda: len(learner.heard) == 5)
    assert [one[2].number for one in learner.heard] == list(range(5))
    until(lambda: courier.state().get("waiting") == 2)
    courier.close()
    assert not courier.put(said(6))


def test_nobody_waits_for_a_learner_that_hangs():
    learner = Learner()
    learner.hangs = True
    courier = Courier("cells", learner.send)
    until(lambda: learner.held)
    for number in range(40):
        assert courier.put(said(number, over=number % 2 == 0))
    state = courier.state()
    assert "has not answered for" in state["last_error"]
    assert state["waiting"] >= 20  # no accepted object is dropped
    learner.hangs = False
    for one in learner.held:
        one.set_result(None)
    until(lambda: len([one for one in learner.heard if one[2].accepted]) == 20)
    courier.close()


def test_what_a_dead_learner_had_is_sent_again():
    learner = Learner()
    learner.failures = 2
    courier = Courier("cells", learner.send)
    courier.put(said(1))
    until(lambda: len(learner.heard) == 3)
    courier.close()
    assert {one[2].number for one in learner.heard} == {1}


def test_orders_go_before_what_waits():
    learner = Learner()
    learner.hangs = True
    courier = Courier("cells", learner.send)
    until(lambda: learner.held)
    courier.put(said(1))
    courier.order("enable", False)
    assert courier.state()["enabled"] is False
    learner.hangs = False
    learner.held.pop().set_result(None)
    until(lambda: len(learner.heard) == 2)
    assert [one[0] for one in learner.heard] == ["enable", "submit"]
    courier.close()


def test_closing_does_not_wait_for_a_learner_that_hangs():
    learner = Learner()
    learner.hangs = True
    courier = Courier("cells", learner.send)
    until(lambda: learner.held)
    courier.close()
    assert not any(one.name == "livesam-courier" and one.is_alive() for one in threading.enumerate())


def test_what_a_learner_refuses_is_dropped_after_three_tries_and_keeps_nothing_waiting():
    learner = Learner()
    learner.failures, learner.error = 3, Refused
    courier = Courier("cells", learner.send)
    for number in range(2):
        courier.put(said(number))
    until(lambda: len(learner.heard) == 4)
    assert [one[2].number for one in learner.heard] == [0, 0, 0, 1]
    until(lambda: "refused 1 times" in (courier.state()["last_error"] or ""))
    assert courier.state()["waiting"] == 2  # what the learner says
    courier.close()


def test_orders_go_before_what_is_sent_again():
    learner = Learner()
    learner.failures = 10**9
    courier = Courier("cells", learner.send)
    courier.put(said(1))
    until(lambda: len(learner.heard) > 5)  # a dead learner's is never dropped
    courier.order("enable", False)
    until(lambda: ("enable", "cells", False) in learner.heard)
    learner.failures = 0
    count = len(learner.heard)
    until(lambda: len(learner.heard) >= count + 1 and learner.heard[-1][0] == "submit")
    courier.close()


def test_whether_to_learn_goes_with_every_interaction():
    learner = Learner()
    courier = Courier("cells", learner.send)
    courier.put(said(1))
    until(lambda: learner.heard)
    courier.enabled = False  # another replica was told so
    courier.put(said(2))
    until(lambda: len(learner.heard) == 2)
    assert [one[3] for one in learner.heard] == [True, False]
    courier.close()
