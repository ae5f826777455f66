"""PyTorch answers at once, and the engine takes over where it stands; the child's work is done in its parent here."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from livesam.engine.session.session import Session
from livesam.engine.values.errors import ExportError
from livesam.export.opening import Opening, open_session
from livesam.export.preparing import background

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


class Fake:
    """A child that does nothing of its own until ``go_on``; then it is ``work``."""

    made: list[Fake]
    work: Callable[[], object]

    def __init__(self, opening: Mapping[str, object]) -> None:
        self.opening, self.go_on, self.killed = dict(opening), threading.Event(), False
        self.made.append(self)

    def follow(self, progress: Callable[[str], None]) -> None:
        progress("exporting")
        assert self.go_on.wait(60)
        if self.killed:
            raise ExportError("ended with code -9")
        self.work()

    def kill(self) -> None:
        self.killed = True
        self.go_on.set()


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    Fake.made, Fake.work = [], lambda self: None
    monkeypatch.setattr(background, "Child", Fake)
    return Fake.made


@pytest.fixture
def session(tmp_path: Path, prepared: Path, children: list[Fake]) -> Iterator[Session]:
    """On an empty cache; the child's work is to link what was prepared into it."""
    cache = tmp_path / "cache"
    made = open_session(Opening("nano", cache_dir=cache), missing="beside")

    def work(self: Fake) -> None:
        for source in prepared.rglob("*"):
            target = cache / source.relative_to(prepared)
            if source.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target)

    Fake.work = work
    yield made
    made.close()


def test_pytorch_answers_and_then_the_engine(session: Session, children: list[Fake]) -> None:
    assert (session.preparing.state, session.runtime, children) == ("pending", "torch:cpu:fp32", [])
    embedding = session.set_image(IMAGE)
    before = session.click(30, 40)
    while not children:
        session.preparing.wait(0.01)
    assert session.preparing.state == "building"
    assert children[0].opening["model"] == "nano"
    version = session.slot.publish({name: value * 1 for name, value in session.slot.weights(0).items()})
    children[0].go_on.set()
    assert session.preparing.wait(60), session.preparing
    assert session.runtime == "openvino:cpu:fp32, onnxruntime:cpu:fp32"
    assert session.slot.current == version  # what was learned meanwhile serves on
    after = session.click(50, 20)  # the object goes on, too
    assert after.prompt is not None
    assert len(after.prompt.clicks) == 2
    assert session.undo() is not None
    session.reset()
    again = session.click(30, 40)
    span = np.ptp(before.low_res_logits)
    assert np.abs(again.low_res_logits - before.low_res_logits).max() < 1e-4 * span
    assert session.set_image(IMAGE) is embedding  # not encoded anew
    other = session.set_image(IMAGE[::-1])
    assert other.key != embedding.key
    assert len(children) == 1


def test_a_failure_is_told_and_pytorch_goes_on(session: Session, children: list[Fake]) -> None:
    def fail(self: Fake) -> None:
        raise ExportError("there is not enough memory")

    Fake.work = fail
    session.set_image(IMAGE)
    while not children:
        session.preparing.wait(0.01)
    children[0].go_on.set()
    assert not session.preparing.wait(60)
    assert (session.preparing.state, session.preparing.error) == ("failed", "there is not enough memory")
    session.set_image(IMAGE[::-1])
    assert session.click(3, 3).mask.shape == (90, 120)
    assert session.runtime == "torch:cpu:fp32"
    assert len(children) == 1  # not tried again


def test_a_closed_session_ends_the_child(session: Session, children: list[Fake]) -> None:
    session.set_image(IMAGE)
    while not children:
        session.preparing.wait(0.01)
    session.close()
    assert children[0].killed
    assert session.preparing.state == "stopped"
    assert not session.preparing.wait(60)


def test_a_session_closed_within_its_first_encode_starts_nothing(
    session: Session, children: list[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = session._view
    monkeypatch.setattr(session, "_view", lambda *given: (session.close(), view(*given))[1])
    session.set_image(IMAGE)
    assert (session.preparing.state, children) == ("stopped", [])


def test_an_image_that_is_not_encoded_starts_it_too(tmp_path: Path, children: list[Fake]) -> None:
    embeddings = tmp_path / "embeddings"
    embeddings.mkdir()
    for found in (False, True):
        session = open_session(Opening("nano", cache_dir=tmp_path / "cache"), missing="beside", embeddings=embeddings)
        if found:
            session.encoder.encoder.encode = lambda *_: pytest.fail("the image was encoded")
        session.set_image(IMAGE)
        assert session.preparing.state == "building"
        session.close()
    assert len(list(embeddings.glob("*.safetensors"))) == 1


def test_who_wants_one_answer_starts_nothing(tmp_path: Path, children: list[Fake]) -> None:
    session = open_session(Opening("nano", cache_dir=tmp_path), missing="leave")
    session.set_image(IMAGE)
    session.click(3, 3)
    assert not session.preparing.wait()  # for nothing
    session.close()
    assert children == []
    assert list(tmp_path.rglob("*.onnx")) == []


def test_what_is_prepared_is_opened_at_once(prepared: Path, children: list[Fake]) -> None:
    session = open_session(Opening("nano", cache_dir=prepared), missing="beside")
    assert session.preparing.state == "ready"
    assert session.runtime.startswith("openvino")
    session.set_image(IMAGE)
    session.close()
    assert children == []
