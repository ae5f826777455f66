"""What a session on a server sends, and what it makes of the answers; with no socket in it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import LivesamError, SessionError
from livesam.engine.values.result import MaskResult
from livesam.engine.values.window import Window
from livesam.wire import mask_of, pack, parse, unpack

T = TypeVar("T")
Read: TypeAlias = Callable[[Mapping[str, Any], memoryview], T]  # makes something of an answer


@dataclass(frozen=True, slots=True, eq=False)
class RemoteObject:
    """An object that the server has accepted; it is on its disk.

    Attributes:
        box: x0, y0, x1, y1 in whole pixels; x1 and y1 are the first beside it.
        accepted_mask: bool ``(H, W)`` of the image.
        decoder_version: which version gave the mask.
        clicks: clicks and boxes that it took.
    """

    id: int
    label: str
    box: tuple[int, int, int, int]
    accepted_mask: npt.NDArray[np.bool_]
    iou: float
    decoder_version: int
    clicks: int


class Talk:
    """What both sessions share: what is sent, and what is made of the answers."""

    def __init__(self, url: str, token: str | None, domain: str, private: str | None) -> None:
        parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"a server's address is http://HOST:PORT, got {url!r}")
        given = urllib.parse.parse_qs(parts.query).get("token")
        self.token = token or (given[0] if given else None)
        self.base = f"{parts.scheme}://{parts.netloc}"
        self._private = private
        self.address = f"ws{self.base[4:]}/api/session?{self.query(domain)}"
        self._asked = 0
        self.answer: MaskResult | None = None  # the last one about the object
        self.clicks = 0  # of the object

    def query(self, domain: str) -> str:
        """Says whose decoder is meant."""
        private = {} if self._private is None else {"private": self._private}
        return urllib.parse.urlencode({"domain": domain, **private})

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    @property
    def options(self) -> dict[str, Any]:
        """Of the WebSocket. A server that opens a large model may not answer for minutes, and is there all the same."""
        return {
            "additional_headers": self.headers, "max_size": None, "compression": None, "open_timeout": 60,
            "ping_timeout": None,
        }  # fmt: skip

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.base + path, headers=self.headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SessionError(f"{self.base} refused: {_said(error.read())}") from None
        except OSError as error:
            raise LivesamError(f"{self.base} cannot be reached: {error}") from error

    def find(self, image: str | Path) -> str:
        """The id of an image by its id, its name on the server, or the end of its path."""
        if not isinstance(image, str | Path):
            kind = type(image).__name__
            raise ValueError(f"a server opens images of its own folder: give a name or a path, got {kind}")
        wanted, found, offset = Path(image).as_posix(), [], 0
        while True:
            page = self.get(f"/api/images?offset={offset}&limit=1000")
            for one in page["items"]:
                if wanted in (one["id"], one["name"]):
                    return str(one["id"])
                if f"/{wanted}".endswith(f"/{one['name']}"):
                    found.append(one["id"])
            offset += 1000
            if offset >= page["total"]:
                break
        if len(found) != 1:
            many = "more than one image" if found else "no image"
            raise SessionError(f"{self.base} has {many} {wanted!r} in its folder")
        return str(found[0])

    def message(self, op: str, said: Mapping[str, Any], payload: bytes | None) -> str | bytes:
        self._asked += 1
        head = {"id": self._asked, "op": op, **said}
        return json.dumps(head, allow_nan=False) if payload is None else pack(head, payload)

    def heard(self, message: str | bytes) -> tuple[dict[str, Any], memoryview] | None:
        """The answer to the last message; None for anything else."""
        head, payload = (parse(message), memoryview(b"")) if isinstance(message, str) else unpack(message)
        if head.get("event") == "closing":
            raise SessionError(f"{self.base} has closed the session: {head.get('why')}")
        if "error" in head and head.get("re") in (None, self._asked):
            error = head["error"]
            raise (ValueError if error["code"] == "bad_request" else SessionError)(error["message"])
        return (head, payload) if head.get("re") == self._asked else None

    def result(self, head: Mapping[str, Any], payload: memoryview) -> MaskResult | None:
        """An answer with a mask; None where nothing is segmented."""
        preview, hw = bool(head.get("preview")), (int(head["height"]), int(head["width"]))
        if not preview:
            self.answer, self.clicks = None, int(head["clicks"])
        if head["clicks"] == 0 and head["box"] is None and not preview:
            return None
        timings = {**head.get("stages", {}), "total": float(head.get("ms", 0.0))}
        found = _result(mask_of(head["box"], payload, hw), head, timings)
        if not preview:
            self.answer = found
        return found

    def over(self, head: Mapping[str, Any], payload: memoryview) -> Mapping[str, Any]:
        """An answer after which nothing is said about an object; as it is."""
        self.answer, self.clicks = None, 0
        return head

    def plain(self, head: Mapping[str, Any], payload: memoryview) -> Mapping[str, Any]:
        """An answer that changes nothing; as it is."""
        return head

    def results(self, head: Mapping[str, Any], payload: memoryview) -> list[tuple[dict[str, Any], MaskResult]]:
        hw = (int(head["height"]), int(head["width"]))
        found = []
        for one in head["masks"]:
            bits = payload[one["offset"] : one["offset"] + one["length"]]
            found.append((one, _result(mask_of(one["box"], bits, hw), {**head, **one}, {})))
        return found

    def accepted(self, head: Mapping[str, Any], payload: memoryview) -> RemoteObject:
        found, answer = head["object"], self.answer
        self.over(head, payload)
        if answer is None:
            raise SessionError("the server accepted an object that was not shown")
        box, version = tuple(found["box"]), found["version"]
        return RemoteObject(found["id"], found["label"], box, answer.mask, found["iou"], version, found["clicks"])


def _result(mask: npt.NDArray[np.bool_], head: Mapping[str, Any], timings: Mapping[str, float]) -> MaskResult:
    """Without low-res logits: those stay with the server."""
    hw = (mask.shape[0], mask.shape[1])
    logits = np.zeros((0, 0), np.float32)
    return MaskResult(mask, logits, float(head["iou"]), int(head["version"]), Window.whole(hw), timings)


def there(result: MaskResult | None) -> MaskResult:
    if result is None:
        raise SessionError("the server answered without a mask")
    return result


def unreachable(base: str, error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"{base} refused the session: give the token that it printed, connect(url, token=...)"
    return f"nobody answers at {base}: {error}; start it with `livesam serve`"


def _said(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
