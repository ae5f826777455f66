"""The slot's rules on a decoder made of one number, and its promise under threads on the real ones."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil
import pytest
from livesam.engine.serving.probe import Probe
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError, SwapError
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.result import DecoderOutput

EMBEDDING = ImageEmbedding(np.zeros((1, 256, 2, 2), np.float32), (32, 32), (32, 32), "k")
PROMPT = Prompt((Click(4, 4),))


class Number:
    """A decoder whose logits are its only weight."""

    def __init__(self, weights: dict[str, np.ndarray], several: bool = True) -> None:
        self.concurrent = several
        self.runtime = "number"
        self.closed = False
        self.running = 0
        self.load_weights(weights)

    def load_weights(self, weights: dict[str, np.ndarray]) -> None:
        assert self.__dict__.get("running", 0) == 0, "weights were changed under a click"
        self.value = float(weights["w"][0])
        if self.value == 666:
            raise SwapError("the runtime does not like it")

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        return DecoderOutput(
            np.full((len(prompts), 4, 8, 8), self.value, np.float32), np.zeros((len(prompts), 4), np.float32)
        )

    @property
    def aside(self) -> Number:
        return self

    def close(self) -> None:
        self.closed = True


def weight(value: float) -> dict[str, np.ndarray]:
    return {"w": np.array([value], np.float32)}


def reference(embedding: ImageEmbedding, prompts: Sequence[Prompt], weights: Any) -> DecoderOutput:
    value = 1.0 if weights["w"][0] == 13 else float(weights["w"][0])
    return DecoderOutput(np.full((len(prompts), 4, 8, 8), value, np.float32), np.zeros((len(prompts), 4), np.float32))


def slot(**options: Any) -> DecoderSlot:
    return DecoderSlot(Number, weight(1), probe=Probe(EMBEDDING, (PROMPT,), reference), **options)


def served(some: DecoderSlot) -> tuple[int, float]:
    with some.lease() as lease:
        return lease.version, float(lease.decoder.decode(EMBEDDING, [PROMPT]).low_res_logits.max())


def test_publish_and_rollback_change_what_is_served() -> None:
    some = slot()
    assert served(some) == (0, 1)
    assert some.publish(weight(2)) == 1
    assert some.publish(weight(3)) == 2
    assert served(some) == (2, 3)
    assert some.rollback(1) == 1
    assert served(some) == (1, 2)
    assert some.rollback(0) == 0
    assert served(some) == (0, 1)
    assert some.publish(weight(4)) == 3  # numbers are never used twice
    assert some.current == 3


def test_a_click_in_flight_keeps_its_version() -> None:
    some = slot(wait_s=0.05)
    with some.lease() as lease:
        assert some.publish(weight(2)) == 1
        assert served(some) == (1, 2)
        assert lease.decoder.decode(EMBEDDING, [PROMPT]).low_res_logits.max() == 1
        with pytest.raises(SwapError, match=r"version 2 was not taken, version 1 serves on: a click has held"):
            some.publish(weight(3))
        assert lease.decoder.decode(EMBEDDING, [PROMPT]).low_res_logits.max() == 1
    assert some.publish(weight(3)) == 3
    assert served(some) == (3, 3)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"w": np.zeros(2, np.float32)}, "shape"),
        ({"v": np.zeros(1, np.float32)}, "missing"),
        (weight(np.nan), "not finite"),
        (weight(666), "does not like it"),
        (weight(13), "off PyTorch's"),
    ],
)
def test_a_failed_swap_leaves_the_old_version_serving(weights: dict[str, np.ndarray], reason: str) -> None:
    some = slot()
    some.publish(weight(2), "stable")
    with pytest.raises(SwapError, match=reason):
        some.publish(weights)
    assert served(some) == (1, 2)
    assert some.labels() == {"base": 0, "stable": 1}
    assert [version.number for version in some.versions()] == [0, 1]
    some.publish(weight(3))
    assert served(some)[1] == 3


def test_history_is_bounded_and_keeps_base_labels_and_current() -> None:
    some = slot(history=4)
    some.publish(weight(2), "stable")
    for value in range(3, 10):
        some.publish(weight(value))
    assert [version.number for version in some.versions()] == [0, 1, 7, 8]
    assert some.labels() == {"base": 0, "stable": 1, "candidate": 8}
    some.promote(7)
    some.publish(weight(20), None)
    assert [version.number for version in some.versions()] == [0, 7, 8, 9]
    with pytest.raises(ValueError, match="version 1 is not kept: choose one of 0, 7, 8, 9"):
        some.rollback(1)
    for call in (lambda: some.promote(7, "base"), lambda: some.publish(weight(1), "best")):
        with pytest.raises(ValueError, match="unknown label"):
            call()


def test_memory_of_a_dropped_version_is_used_again_unless_somebody_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    empty = np.empty
    monkeypatch.setattr(np, "empty", lambda *args, **kwargs: made.append(1) or empty(*args, **kwargs))
    some = slot(history=2)
    held = some.weights(some.publish(weight(2)))["w"]
    for value in range(20, 40):
        some.publish(weight(value))
        assert served(some)[1] == value
    assert held[0] == 2
    assert len(made) <= 4  # the base, the two that take turns, and the one that is held


def test_what_was_published_cannot_be_changed_afterwards() -> None:
    some, mine = slot(), weight(2)
    some.publish(mine)
    mine["w"][0] = 99
    assert some.weights(1)["w"][0] == 2
    assert some.digest(1) == some.digest(1) != some.digest(0)
    with pytest.raises(ValueError, match="read-only"):
        some.weights(1)["w"][0] = 5


def test_a_decoder_for_one_thread_gets_one_click_at_a_time() -> None:
    some = DecoderSlot(lambda weights: Number(weights, several=False), weight(1))
    inside, entered = threading.Event(), threading.Event()

    def second() -> None:
        inside.wait()
        with some.lease():
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    with some.lease():
        inside.set()
        assert not entered.wait(0.05)
    thread.join(5)
    assert entered.is_set()


def test_a_click_waits_for_no_lock_of_a_publisher() -> None:
    some, answers = slot(), []
    some.publish(weight(2))
    with some._swapping, some._lock:  # as if the system had taken the processor from a publisher in the middle
        thread = threading.Thread(target=lambda: answers.append(served(some)), daemon=True)
        thread.start()
        thread.join(5)
        assert answers == [(1, 2)]


class Overtaken(DecoderSlot):
    """A slot in which something happens between a click's look at the active place and its entering it."""

    _place: Any
    _between: Callable[[], None] | None = None

    @property  # type: ignore[override]
    def _active(self) -> Any:
        seen, between, self._between = self._place, self._between, None
        if between is not None:
            between()
        return seen

    @_active.setter
    def _active(self, place: Any) -> None:
        self._place = place


@pytest.mark.parametrize("several", [True, False])
def test_a_click_that_is_overtaken_by_two_swaps_leaves_the_decoder_that_is_being_filled(several: bool) -> None:
    filling, go_on = threading.Event(), threading.Event()

    class Slow(Number):
        def load_weights(self, weights: dict[str, np.ndarray]) -> None:
            if weights["w"][0] == 3:
                filling.set()
                assert go_on.wait(10)
            super().load_weights(weights)

    some = Overtaken(lambda weights: Slow(weights, several), weight(1))
    second = threading.Thread(target=lambda: some.publish(weight(3)))

    def swap_twice() -> None:
        some.publish(weight(2))  # takes the decoder that the click has seen out of service
        second.start()  # and the next one is being written into it
        assert filling.wait(10)

    some._between = swap_twice
    assert served(some) == (1, 2)
    go_on.set()
    second.join(10)
    assert served(some) == (2, 3)
    assert some.rollback(1) == 1  # nobody was left behind inside


def test_a_closed_slot_serves_nobody() -> None:
    some = slot()
    some.publish(weight(2))
    some.close()
    some.close()
    for call in (lambda: served(some), lambda: some.publish(weight(3))):
        with pytest.raises(SessionError, match="closed"):
            call()


def torture(
    compiler: Any, weights_of: Callable[[int], dict[str, np.ndarray]], versions: int, variants: int = 6
) -> tuple[int, list[float]]:
    """4 threads click while one publishes and rolls back; returns the clicks made and the memory (MiB) over time."""
    rng = np.random.default_rng(0)
    embedding = ImageEmbedding(rng.standard_normal((1, 256, 8, 8), dtype=np.float32), (90, 121), (95, 128), "k")
    prompts = [
        Prompt((Click(60, 40),)),
        Prompt((Click(60, 40), Click(3, 3, False))),
        Prompt(box=Box(10, 10, 90, 80)),
        Prompt((Click(7, 70),), mask_logits=rng.standard_normal((32, 32)).astype(np.float32)),
    ]
    sets = [weights_of(seed) for seed in range(variants)]  # 0 is the base itself
    for seed in range(2, variants, 2):  # of these only a part differs from it, as a learner of the head publishes
        sets[seed] = {name: sets[seed if name.startswith("output_") else 0][name] for name in sets[0]}
    right = []
    for some in sets:  # what each set gives alone, one click at a time
        decoder = compiler(some)
        right.append([decoder.decode(embedding, [prompt]) for prompt in prompts])
        decoder.close()
    served = DecoderSlot(compiler, sets[0], probe=Probe.standard((8, 8)))
    made_of = {0: 0}  # the set of weights of each version
    failures: list[BaseException] = []
    stop = threading.Event()
    clicks = [0] * 4

    def click(number: int) -> None:
        try:
            while not stop.is_set():
                i = (number + clicks[number]) % len(prompts)
                with served.lease() as lease:
                    got, version = lease.decoder.decode(embedding, [prompts[i]]), lease.version
                expected = right[made_of[version]][i]
                np.testing.assert_array_equal(got.low_res_logits, expected.low_res_logits)
                np.testing.assert_array_equal(got.ious, expected.ious)
                clicks[number] += 1
        except BaseException as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=click, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    memory = []
    for done in range(versions):
        if failures:
            break
        if rng.random() < 0.3:
            served.rollback(int(rng.choice([version.number for version in served.versions()])))
        chosen = int(rng.integers(variants))
        made_of[served._next] = chosen  # told to the clickers before the version can serve
        served.publish(sets[chosen])
        if done % max(1, versions // 20) == 0:
            gc.collect()
            memory.append(psutil.Process().memory_info().rss / 2**20)
    least = time.monotonic() + 60
    while not failures and min(clicks) == 0 and time.monotonic() < least:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a click never came back"
    if failures:
        raise failures[0]
    served.close()
    return min(clicks), memory


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_torture(runtime: str, compilers: dict[str, Any], weights_of: Callable[[int], dict[str, np.ndarray]]) -> None:
    clicks, _ = torture(compilers[runtime], weights_of, 5, variants=4)
    assert clicks > 0


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_torture_over_2000_versions_leaks_nothing(
    runtime: str, compilers: dict[str, Any], weights_of: Callable[[int], dict[str, np.ndarray]]
) -> None:
    clicks, memory = torture(compilers[runtime], weights_of, 2000)
    assert clicks > 100
    settled = memory[len(memory) // 4 :]  # history and arenas fill up first
    assert max(settled) <= 1.05 * min(settled), memory


def test_another_runtime_takes_over_the_version_that_serves() -> None:
    made: list[Number] = []

    def compiled(weights: dict[str, np.ndarray]) -> Number:
        made.append(Number(weights))
        made[-1].runtime = "fast"
        return made[-1]

    first = Number(weight(1))
    slot = DecoderSlot(lambda weights: first if weights["w"][0] == 1 else Number(weights), weight(1))
    slot.publish(weight(2))
    with slot.lease() as held:
        moving = threading.Thread(target=slot.move, args=(compiled,))
        moving.start()
        moving.join(0.05)
        assert not held.decoder.closed  # a click in flight finishes where it began
        assert held.decoder.decode(EMBEDDING, [PROMPT]).ious.shape == (1, 4)
    moving.join()
    assert held.decoder.closed
    assert first.closed
    assert (slot.runtime, slot.current, [one.number for one in slot.versions()]) == ("fast", 1, [0, 1])
    with slot.lease() as lease:
        assert (lease.version, lease.decoder.value) == (1, 2)
    slot.rollback(0)
    slot.publish(weight(3))
    assert len(made) == 2
    assert slot.runtime == "fast"


def test_a_runtime_that_answers_otherwise_is_not_moved_to() -> None:
    class Wrong(Number):
        def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
            output = super().decode(embedding, prompts)
            return DecoderOutput(output.low_res_logits + 1, output.ious)

    made: list[Wrong] = []

    def compiled(weights: dict[str, np.ndarray]) -> Number:
        made.append(Wrong(weights))
        return made[-1]

    slot = DecoderSlot(Number, weight(1))
    with pytest.raises(SwapError, match="on the probe"):
        slot.move(compiled, Probe(EMBEDDING, (PROMPT,), reference))
    assert made[0].closed
    with slot.lease() as lease:
        assert lease.decoder.value == 1
    with pytest.raises(SwapError, match="no GPU"):
        slot.move(lambda weights: (_ for _ in ()).throw(RuntimeError("no GPU")))
    slot.close()
    with pytest.raises(SessionError, match="closed"):
        slot.move(Number)
