"""What the canvas of a notebook says to a session in the kernel, and what it is answered.

The messages are those of `livesam serve` (``wire.py``), one image, and what the page gets over HTTP as messages too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from livesam.engine.session.session import Session
from livesam.engine.values.errors import LivesamError, SessionError
from livesam.engine.values.result import MaskResult
from livesam.wire import bits_of, mask_of

Message: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = tuple[dict[str, Any], bytes]
COLORS = ("#2f9e8f", "#d9588b", "#e0a100", "#4c7bd9", "#8fb339", "#a35bd6", "#e4572e", "#3aa7d8", "#c49a6c")


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """An object that the user has accepted in the notebook.

    Attributes:
        label: what it is.
        mask: bool ``(H, W)`` of the image.
        iou: the decoder's own estimate.
        version: the decoder's that gave the mask.
        clicks: clicks, boxes and strokes that it took.
    """

    label: str
    mask: npt.NDArray[np.bool_]
    iou: float
    version: int
    clicks: int


class Conversation:
    """Answers a canvas for a session; for one thread at a time.

    Args:
        session: with an image set.
        image: the same image's pixels, RGB uint8 ``(H, W, 3)``.
        labels: to choose from.
    """

    def __init__(self, session: Session, image: npt.NDArray[np.uint8], labels: Sequence[str]) -> None:
        self._session, self._image = session, image
        self._labels = [{"name": name, "color": COLORS[at % len(COLORS)]} for at, name in enumerate(labels)]
        self.objects: dict[int, Accepted] = {}
        self._steps = self._number = 0
        self._editing: int | None = None

    def answer(self, message: Message, payload: bytes = b"") -> Answer:
        """The answer to a message: a header, and bytes that belong to it.

        What the user or the canvas did wrong is an answer with ``error``, not an exception.
        """
        number = message.get("id")
        known: dict[str, Callable[[Message, bytes], Answer]] = {
            name.removeprefix("_on_"): getattr(self, name) for name in dir(self) if name.startswith("_on_")
        }
        try:
            if message.get("op") not in known:
                raise ValueError(f"a notebook's session has no operation {message.get('op')!r}")
            header, bits = known[message["op"]](message, payload)
        except (LivesamError, ValueError, KeyError, TypeError) as error:
            text = f"the message lacks {error}" if isinstance(error, KeyError) else str(error)
            return {"re": number, "error": {"code": "bad_request", "message": text}}, b""
        return {"re": number, **header}, bits

    def _on_details(self, message: Message, payload: bytes) -> Answer:
        height, width = self._image.shape[:2]
        known = [self._public(number) for number in self.objects]
        size = {"id": "image", "name": "image", "width": width, "height": height, "deep": False, "range": [0, 255]}
        return {**size, "state": "started" if known else "new", "objects": known, "labels": self._labels}, b""

    def _on_pixels(self, message: Message, payload: bytes) -> Answer:
        from PIL import Image

        buffer = BytesIO()
        Image.fromarray(self._image).save(buffer, "PNG", compress_level=1)
        return {}, buffer.getvalue()

    def _on_open(self, message: Message, payload: bytes) -> Answer:
        self._session.reset()
        self._steps, self._editing = 0, None
        return {"width": self._image.shape[1], "height": self._image.shape[0]}, b""

    def _on_click(self, message: Message, payload: bytes) -> Answer:
        result = self._session.click(message["x"], message["y"], message["positive"])
        self._steps += 1
        return self._mask(result)

    def _on_box(self, message: Message, payload: bytes) -> Answer:
        result = self._session.box(message["x0"], message["y0"], message["x1"], message["y1"])
        self._steps += 1
        return self._mask(result)

    def _on_paint(self, message: Message, payload: bytes) -> Answer:
        result = self._session.paint(mask_of(message["box"], payload, self._hw))
        self._steps += 1
        return self._mask(result)

    def _on_undo(self, message: Message, payload: bytes) -> Answer:
        result = self._session.undo()
        self._steps -= 1
        return self._mask(result)

    def _on_redo(self, message: Message, payload: bytes) -> Answer:
        result = self._session.redo()
        self._steps += 1
        return self._mask(result)

    def _on_reset(self, message: Message, payload: bytes) -> Answer:
        return self._on_open(message, payload)

    def _on_candidates(self, message: Message, payload: bytes) -> Answer:
        entries, together = [], b""
        for result in self._session.candidates():
            box, bits = bits_of(result.mask)
            entries.append({"box": box, "iou": result.iou, "offset": len(together), "length": len(bits)})
            together += bits
        return {"kind": "masks", "masks": entries}, together

    def _on_choose(self, message: Message, payload: bytes) -> Answer:
        return self._mask(self._session.choose(message["index"]))

    def _on_preview(self, message: Message, payload: bytes) -> Answer:
        header, bits = self._mask(self._session.preview(message["x"], message["y"]))
        return {**header, "preview": True}, bits

    def _on_press(self, message: Message, payload: bytes) -> Answer:
        self._session.press(message["x"], message["y"], message["positive"])
        return {}, b""

    def _on_accept(self, message: Message, payload: bytes) -> Answer:
        result = self._session.answer()
        if result is None or not result.mask.any():
            raise SessionError("there is no mask to accept: click first")
        self._session.accept(rough=bool(message.get("rough", False)))
        number = self._number if self._editing is None else self._editing
        self._number += self._editing is None
        label = str(message["label"])
        self.objects[number] = Accepted(label, result.mask, result.iou, result.decoder_version, self._steps)
        self._steps, self._editing = 0, None
        return {"object": self._public(number)}, b""

    def _on_edit(self, message: Message, payload: bytes) -> Answer:
        number = self._number_of(message)
        result = self._session.paint(self.objects[number].mask)
        self._editing = number
        return self._mask(result)

    def _on_mask(self, message: Message, payload: bytes) -> Answer:
        one = self.objects[self._number_of(message)]
        box, bits = bits_of(one.mask)
        return {"kind": "mask", "width": self._hw[1], "height": self._hw[0], "box": box, "iou": one.iou}, bits

    def _on_delete(self, message: Message, payload: bytes) -> Answer:
        del self.objects[self._number_of(message)]
        return {}, b""

    def _on_relabel(self, message: Message, payload: bytes) -> Answer:
        number = self._number_of(message)
        self.objects[number] = replace(self.objects[number], label=str(message["label"]))
        return {"object": self._public(number)}, b""

    @property
    def _hw(self) -> tuple[int, int]:
        return self._image.shape[0], self._image.shape[1]

    def _number_of(self, message: Message) -> int:
        number = message["object"]
        if number not in self.objects:
            raise ValueError(f"there is no object {number!r} on this image")
        return int(number)

    def _mask(self, result: MaskResult | None) -> Answer:
        height, width = self._hw
        header: dict[str, Any] = {"kind": "mask", "width": width, "height": height, "clicks": self._steps}
        if result is None:
            return {**header, "box": None}, b""
        box, bits = bits_of(result.mask)
        total = result.timings_ms.get("total", 0.0)
        return {**header, "box": box, "iou": result.iou, "version": result.decoder_version, "ms": total}, bits

    def _public(self, number: int) -> dict[str, Any]:
        one = self.objects[number]
        box, _ = bits_of(one.mask)
        about = {"id": number, "label": one.label, "box": box, "area": int(one.mask.sum()), "iou": one.iou}
        return {**about, "version": one.version, "clicks": one.clicks, "created": "", "source": "click"}
