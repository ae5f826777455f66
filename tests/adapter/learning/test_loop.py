"""The background loop with methods made for it: waiting line, right of way, errors, domains, closing."""

import contextlib
import logging
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from livesam.adapter.learning.domains import Domains
from livesam.adapter.learning.loop import AdaptationLoop
from livesam.adapter.learning.loop_state import LoopConfig
from livesam.adapter.learning.store import DecoderStore
from livesam.adapter.method import StepReport
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import AdaptationError
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click, Prompt

BASE = {"w": np.zeros(3, np.float32)}
QUICK = LoopConfig(idle_after_s=0.02, max_wait_s=0.05, nice=0)


def interaction(name, clicks=1, accepted=False, domain="default", given_up=False):
    """An object of its own image, with so many clicks."""
    embedding = ImageEmbedding(np.zeros((1, 256, 2, 2), np.float32), (8, 8), (32, 32), name)
    points = tuple(Click(i, i) for i in range(clicks))
    prompts = tuple(Prompt(points[: i + 1]) for i in range(clicks))
    answer = np.zeros((8, 8), np.float32)
    mask = np.eye(8, dtype=bool) if accepted else None
    return Interaction(embedding, prompts, answer, mask, 0, domain, given_up)


class Method:
    """Adds 1 to its weights with every step and notes what it saw; does what a test hangs into `before_step`."""

    name, config = "fake", None

    def __init__(self, domain="default", steps=2):
        self.domain, self.steps = domain, steps
        self.value, self.seen = 0.0, []
        self.before_step = lambda i: None

    def answer(self, embedding, prompt):
        raise NotImplementedError

    def _learn(self, i):
        self.seen.append((i.embedding.key, len(i.prompts), i.accepted))
        for _ in range(self.steps):
            self.before_step(i)
            self.value += 1
            yield StepReport("click", 0.0, True)

    def learn_click(self, i):
        return self._learn(i)

    def learn_object(self, i):
        return self._learn(i)

    def weights(self):
        return {"w": np.full(3, self.value, np.float32)}

    def domain_weights(self):
        return self.weights()

    def load_domain(self, weights):
        self.value = float(weights["w"][0])

    def reset(self):
        self.value = 0.0

    def counts(self):
        return {"seen": len(self.seen)}


class Bench:
    """A loop, its methods by domain, and what it published."""

    def __init__(self, **options):
        self.methods, self.published, self.errors = {}, [], []
        options.setdefault("config", QUICK)
        domains = Domains(self.make, options.pop("store", None))
        self.loop = AdaptationLoop(domains, self.publish, on_error=self.errors.append, **options)

    def make(self, domain):
        return self.methods.setdefault(domain, Method(domain))

    def publish(self, weights):
        self.published.append(float(weights["w"][0]))


@pytest.fixture
def bench():
    made = []

    def build(**options):
        made.append(Bench(**options))
        return made[-1]

    yield build
    for one in made:
        assert one.loop.close(20)


def test_learns_in_order_and_publishes(bench):
    b = bench()
    b.loop.start()
    b.loop.start()
    assert b.loop.submit(interaction("a", 1))
    assert b.loop.wait(20)
    assert b.loop.submit(interaction("a", 2, accepted=True))
    assert b.loop.wait(20)
    assert b.methods["default"].seen == [("a", 1, False), ("a", 2, True)]
    assert b.published == [2.0, 4.0]
    stats = b.loop.stats()
    assert stats.counts["received"] == stats.counts["learned"] == 2
    assert stats.counts["steps"] == 4
    assert stats.methods == {"default": {"seen": 2}}
    assert stats.step_ms is not None
    assert stats.last_error is None
    assert not b.errors


def test_a_finished_object_ends_its_fast_copy_even_if_nothing_is_learned(bench):
    b = bench()
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    b.methods["default"].steps = 0
    b.methods["default"].value = 1.0  # as without the fast copy
    b.loop.submit(interaction("a", accepted=True))
    assert b.loop.wait(20)
    assert b.published == [2.0, 1.0]


def test_what_was_not_learned_is_not_published(bench):
    """The same weights again would push out of the slot's history what one wants to go back to."""
    b = bench()
    b.make("default").steps = 0
    b.loop.start()
    for key in "abc":
        b.loop.submit(interaction(key))
        b.loop.submit(interaction(key, given_up=True))
        assert b.loop.wait(20)
    assert b.published == []
    b.methods["default"].steps = 1
    b.loop.submit(interaction("d"))
    assert b.loop.wait(20)
    assert b.published == [1.0]


def test_a_given_up_object_is_over(bench):
    b = bench()
    method = b.make("default")
    method.learn_click = lambda i: pytest.fail("the object is over")
    b.loop.submit(interaction("a"))
    b.loop.submit(interaction("a", given_up=True))  # takes the place of the click that nobody waits for any more
    b.loop.start()
    assert b.loop.wait(20)
    assert method.seen == [("a", 1, False)]
    assert not b.errors


def test_rolling_back_drops_what_was_learned_since_and_serves(bench, tmp_path):
    store = DecoderStore(tmp_path, BASE, AdaptedInfo(model="nano", method="fake"), interval_s=0, precision="float32")
    b = bench(store=store)
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    b.loop.rollback({"w": np.full(3, 7, np.float32)})
    assert b.loop.wait(20)
    assert b.published == [2.0, 7.0]
    b.loop.submit(interaction("b"))  # learned on from there
    assert b.loop.wait(20)
    assert b.published == [2.0, 7.0, 9.0]
    assert b.loop.stats().counts["rolled_back"] == 1
    b.loop.close(20)
    np.testing.assert_array_equal(store.load("default")["w"], np.full(3, 9, np.float32))


def test_what_does_not_fit_into_memory_is_left_out_and_that_is_said(bench):
    b = bench(config=LoopConfig(nice=0, capacity=4, waiting_mib=1))
    for key in "abc":  # not started: everything waits
        heavy = replace(interaction(key, accepted=True), accepted_mask=np.ones((768, 1024), bool))
        b.loop.submit(heavy)
    stats = b.loop.stats()
    assert (stats.waiting, stats.counts["left_out"]) == (1, 2)
    assert stats.last_error == "learning is behind: it has left out 2 accepted objects, which are kept"


def test_the_line_is_bounded_by_its_rule(bench):
    b = bench(config=LoopConfig(nice=0, capacity=4, idle_after_s=0.02))
    loop = b.loop  # not started: everything waits
    for i in (
        interaction("a", 1),
        interaction("a", 2),  # replaces the first
        interaction("b", 1, accepted=True),
        interaction("c", 1),
        interaction("d", 1, accepted=True),
        interaction("e", 1),  # full: a, the oldest unfinished, goes
        interaction("f", 1, accepted=True),  # c goes
        interaction("g", 1, accepted=True),  # e goes
        replace(interaction("h", 1), given_up=True),  # no unfinished left, and what was accepted never goes
        interaction("i", 1, accepted=True),  # h, which was given up, goes
        interaction("i", 2, accepted=True),  # a finished object is never replaced
    ):
        assert loop.submit(i)
    stats = loop.stats()
    assert stats.waiting == 6
    assert stats.counts == {"received": 11, "replaced": 1, "dropped": 4}
    loop.start()
    assert loop.wait(20)
    seen = [(k, n) for k, n, _ in b.methods["default"].seen]
    assert seen == [("b", 1), ("d", 1), ("f", 1), ("g", 1), ("i", 1), ("i", 2)]


def test_what_is_told_of_one_object_in_several_windows_is_one_object(bench):
    loop = bench().loop  # not started: everything waits
    for name, over in (("image", False), ("window", False), ("image", True)):
        loop.submit(replace(interaction(name, 1, accepted=over), number=7))
    loop.submit(replace(interaction("image", 1), number=8))
    assert loop.stats().counts == {"received": 4, "replaced": 2}
    assert loop.stats().waiting == 2


def test_submit_does_not_wait_for_learning(bench):
    b = bench()
    running, release = threading.Event(), threading.Event()
    b.make("default").before_step = lambda i: (running.set(), release.wait(20))
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert running.wait(20)
    for name in "bcd":  # would deadlock here if submit waited for the step
        assert b.loop.submit(interaction(name))
    assert b.loop.stats().waiting == 3
    release.set()
    assert b.loop.wait(20)


class Door:
    """A right of way that a test opens and closes."""

    def __init__(self):
        self.idle = threading.Event()
        self.asked = threading.Semaphore(0)
        self.quiet_s = set()

    def wait_idle(self, timeout=None, quiet_s=0.0):
        self.quiet_s.add(quiet_s)
        self.asked.release()
        return self.idle.wait(timeout)


def test_steps_let_clicks_pass(bench):
    door = Door()
    b = bench(right_of_way=door, config=LoopConfig(nice=0, max_wait_s=600, quiet_s=0.3, idle_after_s=0.02))
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert door.asked.acquire(timeout=20)
    assert b.methods["default"].value == 0
    door.idle.set()
    assert b.loop.wait(20)
    assert b.methods["default"].value == 2
    assert door.quiet_s == {0.3}


def test_what_serves_already_is_not_published_again(bench):
    """A rejected candidate changes nothing, and pushes no version out of the slot; a rollback is always published."""
    b = bench()
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    method = b.methods["default"]
    method.learn_object = lambda i: iter([StepReport("object", 0.0, True), StepReport("gate", 0.0, False)])
    b.loop.submit(interaction("a", accepted=True))
    assert b.loop.wait(20)
    assert b.published == [2.0]
    assert b.loop.stats().counts["gate_rejects"] == 1
    b.loop.rollback(method.weights())
    assert b.loop.wait(20)
    assert b.published == [2.0, 2.0]


def test_learning_does_not_starve_under_endless_clicks(bench):
    b = bench(right_of_way=Door(), config=LoopConfig(nice=0, max_wait_s=0.01, idle_after_s=0.02))
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    assert b.loop.stats().counts["steps_under_load"] >= 2
    assert b.published == [2.0]


def test_pause_holds_and_resume_goes_on(bench):
    b = bench()
    b.loop.pause()
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert not b.loop.wait(0.1)
    assert b.loop.stats().paused
    assert not b.published
    b.loop.resume()
    assert b.loop.wait(20)
    assert b.published == [2.0]


def test_a_pause_can_be_waited_for(bench):
    b = bench()
    method = b.make("default")
    stepping, go_on = threading.Event(), threading.Event()
    method.before_step = lambda i: (stepping.set(), go_on.wait(20))
    assert b.loop.pause()  # nothing runs before the start
    b.loop.resume()
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert stepping.wait(20)
    assert not b.loop.pause()
    assert not b.loop.pause(0.02)  # the step is still running
    go_on.set()
    assert b.loop.pause(20)
    value = method.value
    time.sleep(0.05)
    assert method.value == value
    assert not b.published
    b.loop.resume()
    assert b.loop.wait(20)
    assert b.published == [2.0]
    assert b.loop.close()
    assert b.loop.pause()


def test_a_pause_of_a_loop_that_could_not_begin_ends(bench):
    @contextlib.contextmanager
    def broken():
        raise RuntimeError("no such stream")
        yield

    b = bench(learning=broken)
    b.loop.start()
    assert b.loop.pause(20)
    assert "no such stream" in b.loop.stats().last_error


def test_errors_are_reported_and_half_learned_weights_go(bench, caplog):
    b = bench()
    method = b.make("default")
    method.before_step = lambda i: 1 / 0 if i.embedding.key == "bad" and method.value > 2 else None
    b.loop.start()
    with caplog.at_level(logging.ERROR):
        for name in ("a", "bad", "c"):
            b.loop.submit(interaction(name))
            assert b.loop.wait(20)
    assert [type(e) for e in b.errors] == [ZeroDivisionError]
    stats = b.loop.stats()
    assert stats.counts["errors"] == 1
    assert stats.last_error == "ZeroDivisionError: division by zero"
    assert "adaptation failed" in caplog.text
    assert method.value == 4  # 2 from a, 2 from c; nothing of bad
    assert b.published[-1] == 4.0
    assert stats.running


def test_a_failing_publish_and_a_failing_callback_do_not_end_the_loop(caplog):
    calls = []

    def publish(weights):
        calls.append(float(weights["w"][0]))
        if len(calls) == 1:
            raise RuntimeError("no")

    def on_error(error):
        raise KeyError("callback")

    loop = AdaptationLoop(Domains(Method), publish, config=QUICK, on_error=on_error)
    loop.start()
    for name, published in (("a", False), ("b", True)):
        loop.submit(interaction(name))
        assert loop.wait(20) is published
    assert calls == [2.0, 4.0]
    assert loop.stats().counts["publish_failed"] == 1
    assert loop.stats().counts["published"] == 1
    assert "the error callback failed too" in caplog.text
    assert loop.close(20)


def test_one_copy_a_domain(bench):
    b = bench()
    b.loop.start()
    for name, domain in (("a", "steel"), ("b", "wood"), ("c", "wood")):
        b.loop.submit(interaction(name, domain=domain))
        assert b.loop.wait(20)
    assert not b.published  # nobody has switched to them
    b.loop.switch("wood")
    assert b.loop.wait(20)
    b.loop.switch("steel")
    assert b.loop.wait(20)
    b.loop.switch("new")
    deadline = time.monotonic() + 20
    while len(b.published) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert b.published == [4.0, 2.0, 0.0]


def test_closing_ends_after_the_running_step(bench):
    b = bench()
    running, release = threading.Event(), threading.Event()
    method = b.make("default")
    method.steps = 1000
    method.before_step = lambda i: (running.set(), release.wait(20))
    b.loop.start()
    b.loop.submit(interaction("a"))
    b.loop.submit(interaction("b"))
    assert running.wait(20)
    assert not b.loop.close(0.01)
    release.set()
    assert b.loop.close(20)
    assert method.value == 0  # steps that no interaction's end has confirmed
    assert not b.loop.stats().running
    assert b.loop.stats().counts["dropped"] == 1
    assert not b.loop.submit(interaction("c"))
    with pytest.raises(AdaptationError, match="closed"):
        b.loop.start()


def test_what_was_learned_survives_in_the_store(bench, tmp_path):
    store = DecoderStore(tmp_path, BASE, AdaptedInfo(model="nano", method="fake"), interval_s=3600)
    b = bench(store=store)
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    assert b.loop.close(20)
    assert b.loop.stats().counts["saved"] == 1
    again = bench(store=DecoderStore(tmp_path, BASE, AdaptedInfo(model="nano", method="fake")))
    again.loop.start()
    deadline = time.monotonic() + 20
    while not again.published and time.monotonic() < deadline:
        time.sleep(0.005)
    assert again.published == [2.0]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def timed_store(folder):
    clock = Clock()
    return clock, DecoderStore(folder, BASE, AdaptedInfo(model="nano", method="fake"), interval_s=10, clock=clock)


def saved(store):
    weights = store.load("default")
    return None if weights is None else float(weights["w"][0])


def test_a_long_turn_does_not_hold_up_what_is_due_to_be_saved(bench, tmp_path):
    clock, store = timed_store(tmp_path)
    b = bench(store=store, config=LoopConfig(nice=0, idle_after_s=600))
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    found = []

    def later(_):
        found.append(saved(store))
        clock.now = 10.0

    b.methods["default"].before_step = later
    b.loop.submit(interaction("b"))
    assert b.loop.wait(20)
    assert found == [None, 2.0]  # what "a" taught, and nothing half-learned of "b"


def test_a_pause_within_a_turn_does_not_hold_up_what_is_due_to_be_saved(bench, tmp_path):
    clock, store = timed_store(tmp_path)
    b = bench(store=store, config=LoopConfig(nice=0, idle_after_s=600, max_wait_s=0.01))
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    paused = threading.Event()
    b.methods["default"].before_step = lambda i: (b.loop.pause(), paused.set())
    b.loop.submit(interaction("b"))
    assert paused.wait(20)
    time.sleep(0.1)  # the pause has begun
    assert saved(store) is None
    clock.now = 10.0
    deadline = time.monotonic() + 20
    while saved(store) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert saved(store) == 2.0
    b.methods["default"].before_step = lambda i: None
    b.loop.resume()
    assert b.loop.wait(20)


def test_a_slot_that_takes_nothing_does_not_hold_up_saving(bench, tmp_path):
    _, store = timed_store(tmp_path)
    store.interval_s = 0
    b = bench(store=store, config=LoopConfig(nice=0, idle_after_s=600))
    b.published = None  # so appending fails
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert not b.loop.wait(20)
    assert b.loop.stats().counts["publish_failed"] == 1
    assert "AttributeError" in b.loop.stats().last_error
    assert saved(store) == 2.0


@pytest.mark.parametrize("how", ["closed", "broken"])
def test_an_object_that_is_cut_off_loses_nothing_else(bench, tmp_path, how):
    _, store = timed_store(tmp_path)
    b = bench(store=store, config=LoopConfig(nice=0, idle_after_s=0.01))
    method, half, go_on = b.make("default"), threading.Event(), threading.Event()

    def learn_object(_):
        method.value += 100
        yield StepReport("object", 0.0, True)
        half.set()
        assert go_on.wait(20)
        if how == "broken":
            raise ZeroDivisionError
        yield StepReport("object", 0.0, True)

    b.loop.start()
    b.loop.submit(interaction("a", accepted=True))
    assert b.loop.wait(20)
    method.learn_object = learn_object
    b.loop.submit(interaction("b", accepted=True))
    assert half.wait(20)
    if how == "closed":
        assert not b.loop.close(0.01)
    go_on.set()
    assert how == "closed" or b.loop.wait(20)
    assert b.loop.close(20)
    assert method.value == 2.0
    assert saved(store) == 2.0
    assert b.published[-1] == 2.0


def test_a_saved_file_that_cannot_be_loaded_is_reported_and_kept(bench, tmp_path):
    store = DecoderStore(tmp_path, BASE, AdaptedInfo(model="nano", method="fake"), interval_s=0)
    store.path("default").write_bytes(b"rubbish")
    b = bench(store=store)
    b.loop.start()
    b.loop.submit(interaction("a"))
    assert b.loop.wait(20)
    assert [type(e).__name__ for e in b.errors] == ["CheckpointError"]
    assert b.published[-1] == 2.0
    assert b.loop.close(20)
    assert store.path("default").read_bytes() == b"rubbish"


def test_settings_must_make_sense():
    with pytest.raises(ValueError, match="capacity"):
        LoopConfig(capacity=0)
