"""A learner that hangs: clicks, accepts and other domains go on, and the server ends."""

from __future__ import annotations

import threading
import time

import pytest
from livesam.adapter.methods.live import LiveMethod
from livesam.app.server import decoder
from livesam.engine.values.errors import LivesamError


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch):
    """Learning begins a step that does not end before the test does."""
    begun, end = threading.Event(), threading.Event()

    def step(self, interaction):
        begun.set()
        end.wait(60)
        yield from ()

    monkeypatch.setattr(LiveMethod, "learn_object", step)
    monkeypatch.setattr(LiveMethod, "learn_click", step)
    yield begun
    end.set()


def test_clicks_go_on(studio, client, hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "LAST_LESSONS_S", 0.1)
    one = client("hangs")
    for x, y in ((44, 54), (155, 50), (335, 45)):
        assert one.ask("click", x=x, y=y)["box"] is not None
        assert one.ask("accept", label="coin")["object"]["id"] > 0
        assert hanging.wait(30)
    state = one.seat.learning()
    assert state["waiting"] >= 2
    with pytest.raises(LivesamError, match="took too long"):
        one.seat._decoder.rollback(0, timeout=0.05)
    other = client("beside the one that hangs")
    assert other.ask("click", x=44, y=54)["box"] is not None

    began = time.monotonic()
    one.seat._decoder.close()
    assert time.monotonic() - began < 60  # and not the four minutes that `livesam.learn` waits


def test_a_publish_that_hangs_keeps_no_slot_open(studio) -> None:
    from livesam.engine.serving.slot import DecoderSlot

    begun, end = threading.Event(), threading.Event()
    made = []

    def compile(weights):
        if made:
            begun.set()
            end.wait(60)
        made.append(studio.engine.slots.decoder(weights))
        return made[-1]

    slot = DecoderSlot(compile, studio.engine.base, wait_s=0.1)
    name = next(iter(studio.engine.base))
    newer = {**studio.engine.base, name: studio.engine.base[name] * 1.01}
    refused = []

    def publish() -> None:
        try:
            slot.publish(newer)
        except LivesamError as error:
            refused.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    assert begun.wait(30)
    with slot.lease() as lease:
        assert lease.version == 0
    slot.close()
    assert slot.closed
    end.set()
    thread.join(30)
    for one in made:
        one.close()
