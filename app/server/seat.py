"""One client at one image: its session, and what it may ask for. Called by one thread at a time."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from livesam.app.server.click_log import ClickLog
from livesam.app.server.fields import flag, index, label_of, number, text
from livesam.app.server.journal import clicks_of, journal
from livesam.app.server.masks import Mask, answered, iou_of, many, ms
from livesam.app.server.problems import NotFound
from livesam.app.server.proposed import Proposed
from livesam.app.server.studio import Studio, domain_of
from livesam.engine.values.errors import SessionError
from livesam.wire import mask_of

if TYPE_CHECKING:
    from livesam.app.server.accepted import Accepted
    from livesam.app.server.gallery import Picture
    from livesam.engine.session.session import Session
    from livesam.engine.values.interaction import Interaction
    from livesam.engine.values.result import MaskResult

Said: TypeAlias = Mapping[str, Any]
Reply: TypeAlias = "dict[str, Any] | bytes"  # JSON, or a frame


class Seat:
    """One client's session.

    Args:
        domain: of its first decoder.
        private: whose decoder it is, if not all share it.
    """

    def __init__(self, studio: Studio, domain: str, private: str | None = None) -> None:
        self.id = secrets.token_hex(6)
        self._studio, self._private = studio, private
        self._lock, self._closed = threading.Lock(), False
        self._decoder = studio.decoder(domain_of(domain, private), sits_down=True)
        self.session: Session = self._decoder.session()
        self._picture: Picture | None = None
        self._digest = ""
        self._editing: int | None = None
        self._log, self._came = ClickLog(studio.store, self.id), 0.0
        self._pressed: tuple[object, float] | None = None  # where a button is down, and how long its answer took, ms
        self._proposed = Proposed(studio.store)
        self._ops: dict[str, Callable[[Said, memoryview], Reply]] = {
            "open": self._open, "click": self._click, "box": self._box, "undo": self._undo, "redo": self._redo,
            "reset": self._reset, "candidates": self._candidates, "choose": self._choose, "preview": self._preview,
            "press": self._press, "paint": self._paint, "accept": self._accept, "edit": self._edit,
            "compare": self._compare, "propose": self._propose, "take": self._take, "drop": self._drop,
            "domain": self._domain,
        }  # fmt: skip

    @property
    def domain(self) -> str:
        """Of the decoder that answers."""
        return self._decoder.domain

    def close(self) -> None:
        """The client has gone; on any thread, also while it is answered."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._studio.leave(self._decoder)

    def learning(self) -> dict[str, Any]:
        """What is to be seen of the learning."""
        return self._decoder.state()

    def answer(self, said: Said, payload: memoryview, came: float | None = None) -> Reply:
        """Do what a client asks for.

        Args:
            came: when the message was there, by ``time.perf_counter``; None for now.

        Raises:
            ValueError: the message is none that is understood.
            LivesamError: it cannot be done now.
            OSError: the disk refused.
        """
        op, started = text(said, "op"), time.perf_counter()
        self._came = started if came is None else came
        if op not in self._ops:
            raise ValueError(f"unknown op {op!r}: choose one of {', '.join(self._ops)}")
        with self._studio.metrics.asked(op):
            reply = self._ops[op](said, payload)
        if op in ("click", "box"):
            self._decoder.latencies_ms.append((time.perf_counter() - started) * 1e3)
        if self._picture is not None:
            self._log.note(said, self._picture.id, self.session.slot.current)
        return reply

    # The image

    def _open(self, said: Said, payload: memoryview) -> Reply:
        started = time.perf_counter()
        picture = self._studio.gallery.find(text(said, "image"))
        self._begin(picture)
        seconds = time.perf_counter() - started
        self._studio.metrics.open_seconds.observe(seconds)
        self._studio.encode_ahead(picture.id)
        height, width = self.session.embedding.original_hw
        return {"re": said.get("id"), "image": picture.id, "width": width, "height": height, "ms": ms(seconds)}

    def _begin(self, picture: Picture) -> None:
        rgb = self._studio.pictures.load(picture.path).rgb
        self._studio.store.check_size(picture.id, picture.name, rgb.shape[:2])
        self.session.set_image(rgb)
        self._forget()  # before anything else may fail: an edit is of the image before
        self._picture, self._digest = picture, self.session.image_digest
        self._studio.store.note_image(picture.id, picture.name, self._digest, (rgb.shape[0], rgb.shape[1]))

    def _domain(self, said: Said, payload: memoryview) -> Reply:
        decoder = self._studio.decoder(domain_of(text(said, "name"), self._private), sits_down=True)
        with self._lock:
            changed = decoder is not self._decoder
            self._studio.leave(decoder if self._closed else self._decoder)
            if not self._closed:
                self._decoder = decoder
        if changed and decoder is self._decoder:
            self.session.reset()
            self.session = decoder.session()
            self._forget()
            if self._picture is not None:
                self._begin(self._picture)
        return {"re": said.get("id"), "domain": decoder.domain}

    # The object

    def _click(self, said: Said, payload: memoryview) -> Reply:
        at, pressed = _place(said), self._pressed
        self._pressed = None
        result = self.session.click(*at)
        found = pressed is not None and pressed[0] == at and result.timings_ms["decode"] == 0
        return self._mask(said, result, {"pressed": pressed[1]} if found and pressed else {})

    def _box(self, said: Said, payload: memoryview) -> Reply:
        x0, y0, x1, y1 = (number(said, name) for name in ("x0", "y0", "x1", "y1"))
        return self._mask(said, self.session.box(x0, y0, x1, y1))

    def _undo(self, said: Said, payload: memoryview) -> Reply:
        return self._mask(said, self.session.undo())

    def _redo(self, said: Said, payload: memoryview) -> Reply:
        return self._mask(said, self.session.redo())

    def _reset(self, said: Said, payload: memoryview) -> Reply:
        self.session.reset()
        self._editing = None
        return {"re": said.get("id")}

    def _preview(self, said: Said, payload: memoryview) -> Reply:
        return self._mask(said, self.session.preview(*_place(said)), preview=True)

    def _press(self, said: Said, payload: memoryview) -> Reply:
        at, started = _place(said), time.perf_counter()
        self.session.press(*at)
        self._pressed = at, ms(time.perf_counter() - started)
        return {"re": said.get("id")}

    def _candidates(self, said: Said, payload: memoryview) -> Reply:
        found = self.session.candidates()
        return many(self._head(said), [({"iou": iou_of(one)}, one.mask) for one in found])

    def _choose(self, said: Said, payload: memoryview) -> Reply:
        return self._mask(said, self.session.choose(index(said, "index")))

    def _paint(self, said: Said, payload: memoryview) -> Reply:
        mask = mask_of(said.get("box"), payload, self.session.embedding.original_hw)
        return self._mask(said, self.session.paint(mask))

    def _compare(self, said: Said, payload: memoryview) -> Reply:
        now = self.session.answer()
        if now is None:
            raise SessionError("there is no mask to compare: click first")
        before = self.session.answered_by(self._studio.original)
        both = {"now": now, "original": before}
        return many(self._head(said), [({"name": name, "iou": iou_of(one)}, one.mask) for name, one in both.items()])

    # What is kept

    def _accept(self, said: Said, payload: memoryview) -> Reply:
        label, rough = label_of(said), flag(said, "rough", False)
        key = text(said, "key") if said.get("key") is not None else None
        picture, session = self._opened(), self.session
        if key is not None and (old := self._studio.store.accepted_by(key, picture.id)) is not None:
            session.reset()  # said twice, because the first answer was lost
            self._editing = None
            return {"re": said.get("id"), "object": old.public()}
        answer = session.answer()
        if answer is None or not answer.mask.any():
            raise SessionError("there is no mask to accept: click first")
        kept: list[Accepted] = []

        def keep(interaction: Interaction) -> None:
            """Before the object is handed on: what is not on the disk is not accepted."""
            for version in {step.decoder_version for step in interaction.steps}:
                self._decoder.sure_of(version)
            painted = any(step.painted is not None for step in interaction.steps[int(self._editing is not None) :])
            found = {
                "image": picture.id, "domain": self.domain, "label": label, "iou": iou_of(answer),
                "version": answer.decoder_version, "clicks": clicks_of(interaction),
                "source": "paint" if painted else "click",
            }  # fmt: skip
            how = journal(interaction, self._digest, session.look, session.runtime, self._studio.batch)
            try:
                if self._is_as_it_was(interaction, answer.mask):
                    kept.append(self._studio.store.relabel(int(self._editing or 0), label))
                else:
                    kept.append(self._studio.store.accept(found, answer.mask, how, self._editing, key))
            except NotFound:  # deleted elsewhere: the next accept makes a new one, as the message says
                self._editing = None
                raise

        session.accept(rough=rough, keep=keep)
        self._studio.metrics.accepted.inc()
        self._editing = None
        return {"re": said.get("id"), "object": kept[0].public()}

    def _is_as_it_was(self, interaction: Interaction, mask: Mask) -> bool:
        """Whether an object was only opened again: then its record stays, but for the label."""
        if self._editing is None or len(interaction.steps) > 1 or interaction.steps[0].painted is None:
            return False
        return bool((self._studio.store.mask(self._editing) == mask).all())

    def _edit(self, said: Said, payload: memoryview) -> Reply:
        found, picture = self._studio.store.object(index(said, "object")), self._opened()
        if found.image != picture.id:
            raise SessionError("this object is of another image: open that one first")
        mask = self._studio.store.mask(found.id)
        if mask.shape != self.session.embedding.original_hw:
            raise SessionError("the image has another size than when this object was accepted")
        self.session.reset()
        result = self.session.paint(mask)
        self._editing = found.id
        return self._mask(said, result)

    # The rest of its kind

    def _propose(self, said: Said, payload: memoryview) -> Reply:
        label = None if said.get("label") is None else label_of(said)
        most = min(index(said, "most"), 200) if "most" in said else 50
        found = self._proposed.find(self.session, self._opened().id, label, most)
        return many(self._head(said), [({"id": number, "iou": round(iou, 4)}, mask) for number, iou, mask in found])

    def _take(self, said: Said, payload: memoryview) -> Reply:
        label, picture = label_of(said), self._opened()
        chosen = index(said, "proposal")
        mask, iou, version = self._proposed[chosen]
        self._decoder.sure_of(version)
        found = {
            "image": picture.id, "domain": self.domain, "label": label, "iou": iou, "version": version, "clicks": 0,
            "source": "proposal",
        }  # fmt: skip
        how = {"image_hash": self._digest, "hw": list(mask.shape), "domain": self.domain, "steps": []}
        kept = self._studio.store.accept(found, mask, how)
        self._studio.metrics.accepted.inc()
        self._proposed.drop(chosen)
        return {"re": said.get("id"), "object": kept.public()}

    def _drop(self, said: Said, payload: memoryview) -> Reply:
        self._proposed.drop(index(said, "proposal"))
        return {"re": said.get("id")}

    def _opened(self) -> Picture:
        if self._picture is None:
            raise SessionError("no image is open: send open first")
        return self._picture

    def _forget(self) -> None:
        self._editing = None
        self._proposed.clear()

    # Answers

    def _head(self, said: Said) -> dict[str, Any]:
        height, width = self.session.embedding.original_hw
        return {
            "re": said.get("id"), "image": self._opened().id, "width": width, "height": height,
            "version": self.session.slot.current,
        }  # fmt: skip

    def _mask(
        self, said: Said, result: MaskResult | None, before: Mapping[str, float] = MappingProxyType({}), **more: Any
    ) -> Reply:
        return answered({**self._head(said), "clicks": self.session.clicks, **more}, result, self._came, before)


def _place(said: Said) -> tuple[float, float, bool]:
    return number(said, "x"), number(said, "y"), flag(said, "positive", True)
