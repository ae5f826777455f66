"""The canvas of a notebook, answered by a session in this process."""

from __future__ import annotations

from typing import Any

import livesam
import numpy as np
import pytest
from livesam.engine.session.session import Session
from livesam.notebook import Conversation
from livesam.wire import bits_of, mask_of

HW = (120, 160)


@pytest.fixture(scope="module")
def image() -> Any:
    pixels = np.full((*HW, 3), 60, np.uint8)
    pixels[30:90, 40:110] = (200, 120, 40)
    return pixels


@pytest.fixture(scope="module")
def opened(image: Any) -> Any:
    session = livesam.open_session()
    session.set_image(image)
    yield session
    session.close()


@pytest.fixture
def talk(opened: Session, image: Any) -> Conversation:
    found = Conversation(opened, image, ["thing", "other"])
    found.answer({"id": 0, "op": "open"})
    return found


def said(talk: Conversation, op: str, payload: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
    return talk.answer({"id": 7, "op": op, **fields}, payload)


def test_a_click_answers_as_the_session_does(talk: Conversation, opened: Session) -> None:
    assert said(talk, "press", x=70.0, y=60.0, positive=True) == ({"re": 7}, b"")
    header, bits = said(talk, "click", x=70.0, y=60.0, positive=True)
    answer = opened.answer()
    assert answer is not None
    assert header["re"] == 7
    assert np.array_equal(mask_of(header["box"], bits, HW), answer.mask)
    assert (header["clicks"], header["version"]) == (1, answer.decoder_version)


def test_an_object_is_accepted_edited_relabelled_and_deleted(talk: Conversation) -> None:
    said(talk, "box", x0=35.0, y0=25.0, x1=115.0, y1=95.0)
    header, _ = said(talk, "accept", label="thing", rough=False)
    number = header["object"]["id"]
    first = talk.objects[number].mask
    header, bits = said(talk, "edit", object=number)
    assert np.array_equal(mask_of(header["box"], bits, HW), first)
    half = first.copy()
    half[:, :70] = False
    box, painted = bits_of(half)
    said(talk, "paint", painted, box=list(box or ()))
    header, _ = said(talk, "accept", label="other")
    assert header["object"]["id"] == number
    assert np.array_equal(talk.objects[number].mask, half)
    said(talk, "relabel", object=number, label="thing")
    assert talk.objects[number].label == "thing"
    said(talk, "delete", object=number)
    assert talk.objects == {}


def test_undo_goes_back_to_nothing(talk: Conversation) -> None:
    said(talk, "click", x=70, y=60, positive=True)
    header, bits = said(talk, "undo")
    assert (header["box"], header["clicks"], bits) == (None, 0, b"")
    header, _ = said(talk, "redo")
    assert header["clicks"] == 1


def test_candidates_are_three_and_one_is_chosen(talk: Conversation) -> None:
    said(talk, "click", x=70, y=60, positive=True)
    header, bits = said(talk, "candidates")
    assert len(header["masks"]) == 3
    last = header["masks"][2]
    wanted = mask_of(last["box"], bits[last["offset"] : last["offset"] + last["length"]], HW)
    header, bits = said(talk, "choose", index=2)
    assert np.array_equal(mask_of(header["box"], bits, HW), wanted)


@pytest.mark.parametrize(
    ("op", "fields", "part"),
    [
        ("fly", {}, "no operation 'fly'"),
        ("click", {"x": 1}, "lacks 'y'"),
        ("click", {"x": -50, "y": 0, "positive": True}, "outside"),
        ("edit", {"object": 99}, "no object 99"),
        ("accept", {"label": "thing"}, "click first"),
    ],
)
def test_what_is_wrong_is_an_answer(talk: Conversation, op: str, fields: dict[str, Any], part: str) -> None:
    header, _ = said(talk, op, **fields)
    assert part in header["error"]["message"]


def test_the_widget_sends_what_the_conversation_answers(opened: Session, image: Any) -> None:
    pytest.importorskip("anywidget")
    with pytest.raises(livesam.LivesamError, match="open_session"):
        Session(opened.encoder, opened.slot).widget(image)  # the engine alone knows no canvas
    canvas = opened.widget(image, labels=["thing"])
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    canvas.send = lambda content, buffers=None: sent.append((content, buffers))
    canvas._handle_custom_msg({"id": 1, "op": "click", "x": 70, "y": 60, "positive": True}, [])
    canvas._handle_custom_msg({"id": 2, "op": "accept", "label": "thing"}, [])
    assert [header["re"] for header, _ in sent] == [1, 2]
    (one,) = canvas.objects
    assert one.label == "thing"
    assert np.array_equal(mask_of(sent[0][0]["box"], sent[0][1][0], HW), one.mask)


def test_labels_are_a_list(opened: Session, image: Any) -> None:
    with pytest.raises(ValueError, match="list of at least one name"):
        livesam.widget(opened, image, labels="thing")
