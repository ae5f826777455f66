"""What the click stream is sent to: a session of ours, and the peers that it is compared with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Click, Prompt

if TYPE_CHECKING:
    from livesam.engine.session.session import Session
    from segment_anything import SamPredictor
    from segment_anything.modeling import Sam

Image = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]


class SessionTarget:
    """A session with its image set; clicks, accepts and previews go the way that a user's do."""

    def __init__(self, session: Session, model: str) -> None:
        self._session = session
        self.model = model
        self._clicks = 0

    @property
    def runtime(self) -> str:
        return self._session.runtime

    def next_object(self) -> None:
        if self._clicks:
            self._session.accept()
        self._session.reset()
        self._clicks = 0

    def click(self, x: float, y: float, positive: bool) -> Mapping[str, float]:
        self._clicks += 1
        return self._session.click(x, y, positive=positive).timings_ms

    def hover(self, x: float, y: float) -> Mapping[str, float]:
        return self._session.predict(Prompt((Click(x, y),))).timings_ms


class PredictorTarget:
    """``segment_anything.SamPredictor`` in eager PyTorch, used as its notebook does: the previous mask is fed back."""

    runtime = "segment_anything:torch:fp32"

    def __init__(self, sam: Sam, image: Image, model: str) -> None:
        from segment_anything import SamPredictor

        self.model = model
        self._predictor: SamPredictor = SamPredictor(sam)
        self._predictor.set_image(image)
        self.next_object()

    def next_object(self) -> None:
        self._xy: list[tuple[float, float]] = []
        self._labels: list[int] = []
        self._mask: Float | None = None

    def click(self, x: float, y: float, positive: bool) -> Mapping[str, float]:
        self._xy.append((x, y))
        self._labels.append(int(positive))
        first = len(self._xy) == 1
        _, ious, low_res = self._predictor.predict(
            np.array(self._xy), np.array(self._labels), mask_input=self._mask, multimask_output=first
        )
        best = int(np.argmax(ious))
        self._mask = low_res[best : best + 1]
        return {}

    def hover(self, x: float, y: float) -> Mapping[str, float]:
        self._predictor.predict(np.array([(x, y)]), np.array([1]), multimask_output=True)
        return {}


class OfficialOnnxTarget:
    """The official single-mask ONNX decoder on ONNX Runtime, called as the official notebook calls it."""

    runtime = "official onnx:onnxruntime:fp32"

    def __init__(self, path: Path, features: Float, image_hw: tuple[int, int], image_size: int, model: str) -> None:
        import onnxruntime
        from livesam.engine.view.geometry import ResizeGeometry

        self.model = model
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._features = features
        self._geometry = ResizeGeometry.of(image_hw, image_size)
        self._size = np.array(image_hw, np.float32)
        self._side = image_size // 4
        self.next_object()

    def next_object(self) -> None:
        self._xy: list[tuple[float, float]] = []
        self._labels: list[float] = []
        self._mask: Float | None = None

    def click(self, x: float, y: float, positive: bool) -> Mapping[str, float]:
        self._xy.append((x, y))
        self._labels.append(float(positive))
        decode_ms, self._mask = self._run(self._xy, self._labels, self._mask)
        return {"decode": decode_ms}

    def hover(self, x: float, y: float) -> Mapping[str, float]:
        decode_ms, _ = self._run([(x, y)], [1.0], None)
        return {"decode": decode_ms}

    def _run(self, xy: list[tuple[float, float]], labels: list[float], mask: Float | None) -> tuple[float, Float]:
        coords = self._geometry.to_input_frame([*xy, (0.0, 0.0)])[None]  # (1, N + 1, 2)
        feeds: dict[str, Any] = {
            "image_embeddings": self._features,
            "point_coords": coords,
            "point_labels": np.array([[*labels, -1.0]], np.float32),
            "mask_input": np.zeros((1, 1, self._side, self._side), np.float32) if mask is None else mask,
            "has_mask_input": np.array([mask is not None], np.float32),
            "orig_im_size": self._size,
        }
        started = time.perf_counter()
        masks, _, low_res = self._session.run(None, feeds)
        decode_ms = (time.perf_counter() - started) * 1e3
        _ = masks[0, 0] > 0.0
        return decode_ms, low_res


def export_official_decoder(sam: Sam, path: Path) -> None:
    """The official graph by the official wrapper, ``SamOnnxModel(return_single_mask=True)``, opset 17.

    Ours is not used here: a peer is measured as its users have it.
    """
    import warnings

    import torch
    from segment_anything.utils.onnx import SamOnnxModel

    side = int(sam.image_encoder.img_size) // 16
    feeds = {
        "image_embeddings": torch.randn(1, 256, side, side),
        "point_coords": torch.rand(1, 5, 2) * side * 16,
        "point_labels": torch.randint(0, 4, (1, 5)).float(),
        "mask_input": torch.randn(1, 1, side * 4, side * 4),
        "has_mask_input": torch.tensor([1.0]),
        "orig_im_size": torch.tensor([1500.0, 2250.0]),
    }
    model = SamOnnxModel(sam, return_single_mask=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's remarks on the official code
        torch.onnx.export(
            model,
            tuple(feeds.values()),
            str(path),
            input_names=list(feeds),
            output_names=["masks", "iou_predictions", "low_res_masks"],
            dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}},
            opset_version=17,
            dynamo=False,
        )
