"""The actor of learners without its actor: domains do not wait for each other, and the last is learned."""

from __future__ import annotations

import threading
from collections import OrderedDict
from types import SimpleNamespace

import pytest

pytest.importorskip("fsspec")
from livesam.app.cluster.learners import Learners


class Pupil:
    def __init__(self, domain):
        self.domain, self.closed = domain, threading.Event()

    def state(self):
        return {"domain": self.domain}

    def enable(self, enabled):
        self.enabled = enabled

    def close(self, timeout):
        if self.domain == "hangs":
            threading.Event().wait(30)
        self.closed.set()


@pytest.fixture
def learners():
    made = object.__new__(Learners)  # without the model
    made._settings = SimpleNamespace(limits=SimpleNamespace(domains=2))
    made._desks, made._lock, made.pupils = OrderedDict(), threading.Lock(), {}
    made._made = lambda domain: made.pupils.setdefault(domain, Pupil(domain))
    return made


def test_a_domain_whose_method_hangs_while_it_is_made_keeps_no_other_waiting(learners):
    begun, end = threading.Event(), threading.Event()
    make = learners._made

    def slow(domain):
        if domain == "hangs":
            begun.set()
            end.wait(30)
        return make(domain)

    learners._made = slow
    hanging = threading.Thread(target=learners.enable, args=("hangs", True), daemon=True)
    hanging.start()
    assert begun.wait(10)
    beside = threading.Thread(target=learners.enable, args=("cells", True), daemon=True)
    beside.start()
    beside.join(10)
    assert not beside.is_alive()
    assert (learners.state("cells"), learners.state("hangs")) == ({"domain": "cells"}, None)
    end.set()
    hanging.join(10)
    assert learners.state("hangs") == {"domain": "hangs"}


def test_one_makes_room_and_learns_its_last(learners):
    for domain in ("one", "two", "three"):
        learners.enable(domain, True)
    assert learners.pupils["one"].closed.wait(10)
    assert learners.state("one") is None


def test_all_learn_their_last_at_a_stop_and_one_that_hangs_is_left(learners):
    for domain in ("hangs", "cells"):
        learners.enable(domain, True)
    learners.close(0.05)
    assert learners.pupils["cells"].closed.wait(10)
    assert not learners.pupils["hangs"].closed.is_set()
