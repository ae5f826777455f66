"""A session on disk: one safetensors file, with the clicks as JSON in its header and the logits as tensors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.files.hashing import weights_hash
from livesam.engine.values.errors import SessionError
from livesam.engine.values.interaction import check_domain
from livesam.engine.values.painted import Painted
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.view import View

FORMAT = "livesam-session-4"
# Without windows; without painted masks and chosen ones; without a sum.
EARLIER = ("livesam-session-1", "livesam-session-2", "livesam-session-3")


@dataclass(frozen=True, slots=True, eq=False)
class SessionLog:
    """What is needed to restore a session: its image's hash, its domain and every step."""

    image_hash: str
    original_hw: tuple[int, int]
    embedding_key: str
    domain: str
    steps: tuple[Step, ...]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        from safetensors.numpy import save

        tensors: dict[str, npt.NDArray[Any]] = {}
        steps = []
        for i, step in enumerate(self.steps):
            tensors[f"answer.{i}"] = np.ascontiguousarray(step.low_res_logits)
            mask = step.prompt.mask_logits
            fed_back = i > 0 and mask is self.steps[i - 1].low_res_logits
            if mask is not None and not fed_back:
                tensors[f"mask.{i}"] = np.ascontiguousarray(mask)
            if step.painted is not None:
                tensors[f"painted.{i}"] = np.packbits(step.painted.mask(), axis=1)
            steps.append(
                {
                    "clicks": [[click.x, click.y, click.positive] for click in step.prompt.clicks],
                    "box": None if step.prompt.box is None else step.prompt.box.as_tuple(),
                    "mask": "previous" if fed_back else "given" if mask is not None else None,
                    "iou": step.iou,
                    "decoder_version": step.decoder_version,
                    "window": astuple(step.window),
                    "token": step.token,
                }
            )
        head = {
            "format": FORMAT,
            "image_hash": self.image_hash,
            "original_hw": self.original_hw,
            "embedding_key": self.embedding_key,
            "domain": self.domain,
            "steps": steps,
        }
        with atomic_write(path) as file:
            text = json.dumps(head)
            file.write(save(tensors, {"livesam": text, "sum": _sum(tensors, text)}))

    def check(self, view: View) -> None:
        """Refuse steps that this image and model cannot have had.

        Raises:
            ValueError: one of them does not fit.
        """
        for step in self.steps:
            view.check(step)

    @classmethod
    def read(cls, path: Path) -> SessionLog:
        """Read and check a file.

        Raises:
            SessionError: it is missing, damaged or no session.
        """
        from safetensors import safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                head = json.loads(metadata.get("livesam", "{}"))
                names = list(file.keys())
                tensors = {name: file.get_tensor(name) for name in names}
            if head.get("format") not in (FORMAT, *EARLIER):
                raise ValueError(f"its format is {head.get('format')!r}, not {FORMAT!r}")
            if head["format"] == FORMAT and metadata.get("sum") != _sum(tensors, metadata["livesam"]):
                raise ValueError("it holds other values than were written")
            height, width = (int(n) for n in head["original_hw"])
            steps: list[Step] = []
            for i, raw in enumerate(head["steps"]):
                raw.setdefault("window", (0, 0, width, height))
                steps.append(_step(raw, i, tensors, steps, (height, width)))
            texts = (str(head[name]) for name in ("image_hash", "embedding_key", "domain"))
            image_hash, embedding_key, domain = texts
            check_domain(domain)
        except Exception as error:  # safetensors raises its own types for damage
            raise SessionError(f"{path} is not a saved session that can be read: {error}") from error
        return cls(image_hash, (height, width), embedding_key, domain, tuple(steps))


def _sum(tensors: dict[str, npt.NDArray[Any]], head: str) -> str:
    """Over all that the file holds."""
    return hashlib.sha256(f"{weights_hash(tensors)}\n{head}".encode()).hexdigest()


def _step(
    raw: dict[str, Any], index: int, tensors: dict[str, npt.NDArray[Any]], before: list[Step], hw: tuple[int, int]
) -> Step:
    answer = _logits(tensors[f"answer.{index}"])
    mask = None
    if raw["mask"] == "previous":
        mask = before[-1].low_res_logits
    elif raw["mask"] == "given":
        mask = _logits(tensors[f"mask.{index}"])
    elif raw["mask"] is not None:
        raise ValueError(f"step {index} has a mask of an unknown kind, {raw['mask']!r}")
    clicks = tuple(Click(float(x), float(y), bool(positive)) for x, y, positive in raw["clicks"])
    box = None if raw["box"] is None else Box(*(float(value) for value in raw["box"]))
    window = Window(*(int(value) for value in raw["window"]))
    token = None if raw.get("token") is None else int(raw["token"])
    painted = None if f"painted.{index}" not in tensors else Painted.of(_painted(tensors[f"painted.{index}"], hw))
    iou, version = float(raw["iou"]), int(raw["decoder_version"])
    return Step(Prompt(clicks, box, mask), answer, iou, version, window, token, painted)


def _painted(packed: npt.NDArray[Any], hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if packed.dtype != np.uint8 or packed.shape != (hw[0], -(-hw[1] // 8)):
        raise ValueError(f"a painted mask has the bits of {hw[0]} x {hw[1]} pixels, got {packed.dtype} {packed.shape}")
    return np.unpackbits(packed, axis=1, count=hw[1]).astype(bool)


def _logits(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if array.ndim != 2 or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"logits must be a finite 2-D float32 array, got {array.dtype} {array.shape}")
    return array
