"""Exported decoders in the evaluator, driven as their users do: by ``segment_anything`` and by its ONNX contract.

No code of livesam answers a click here: no zoom, no obeying, no edges. At the first click the best of tokens 1 to 3 is
shown, then token 0, with the low-res logits of the answer before fed back, as the official notebooks do it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.benchmarks.quality.datasets import Image, Mask
from livesam.engine.values.prompt import Click

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

Float = npt.NDArray[np.float32]


class OfficialPredictor:
    """``segment_anything.SamPredictor`` on a model, e.g. one read from an exported ``.pth``.

    Args:
        sam: never changed here.
        images: embeddings by image, shared between predictors with the same encoder; None keeps this one's own.
    """

    adapts = False

    def __init__(self, sam: Sam, images: dict[bytes, Any] | None = None) -> None:
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(sam)
        self._images = {} if images is None else images
        self._low_res: Float | None = None

    def begin_set(self, name: str, seed: int) -> None: ...

    def begin_image(self, image: Image) -> None:
        key = image.tobytes() + str(image.shape).encode()
        kept = ("features", "original_size", "input_size", "is_image_set")
        if key not in self._images:
            self._predictor.set_image(image)
            self._images[key] = {name: getattr(self._predictor, name) for name in kept}
        for name, value in self._images[key].items():
            setattr(self._predictor, name, value)

    def begin_object(self) -> None:
        self._low_res = None

    def click(self, clicks: tuple[Click, ...]) -> Mask:
        xy, labels = _arrays(clicks)
        masks, scores, low_res = self._answer(xy, labels, len(clicks) == 1)
        best = int(scores.argmax())
        self._low_res = low_res[best : best + 1]
        return np.asarray(masks[best], np.bool_)

    def _answer(self, xy: Float, labels: Float, several: bool) -> tuple[npt.NDArray[Any], Float, Float]:
        """Masks ``(M, H, W)``, scores ``(M,)`` and low-res logits ``(M, 4h, 4w)``."""
        masks, scores, low_res = self._predictor.predict(xy, labels, mask_input=self._low_res, multimask_output=several)
        return masks, scores, low_res

    def after_click(self, clicks: tuple[Click, ...], last: bool) -> None: ...

    def finish_object(self, clicks: tuple[Click, ...], accepted: Mask | None) -> None: ...

    def stats(self) -> dict[str, Any]:
        return {}


class OfficialOnnxPredictor(OfficialPredictor):
    """An exported official ONNX decoder in ONNX Runtime, on ``SamPredictor``'s embeddings.

    Args:
        sam: the model whose encoder makes the embeddings.
        decoder: the exported graph.
    """

    def __init__(self, sam: Sam, decoder: Path, images: dict[bytes, Any] | None = None) -> None:
        import onnxruntime as ort

        super().__init__(sam, images)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(decoder), options, providers=["CPUExecutionProvider"])
        self._low_res_side = sam.prompt_encoder.image_embedding_size[0] * 4

    def _answer(self, xy: Float, labels: Float, several: bool) -> tuple[npt.NDArray[Any], Float, Float]:
        hw: tuple[int, int] = self._predictor.original_size
        placed = self._predictor.transform.apply_coords(np.concatenate([xy, np.zeros((1, 2), np.float32)]), hw)
        side = self._low_res_side
        feeds = {
            "image_embeddings": self._predictor.get_image_embedding().cpu().numpy(),
            "point_coords": placed[None].astype(np.float32),
            "point_labels": np.append(labels, -1)[None].astype(np.float32),  # without a box the padding point
            "mask_input": np.zeros((1, 1, side, side), np.float32) if self._low_res is None else self._low_res[None],
            "has_mask_input": np.array([self._low_res is not None], np.float32),
            "orig_im_size": np.array(hw, np.float32),
        }
        masks, scores, low_res = self._session.run(["masks", "iou_predictions", "low_res_masks"], feeds)
        shown = slice(1, 4) if several else slice(0, 1)
        return masks[0, shown] > 0, scores[0, shown], low_res[0, shown]


def _arrays(clicks: tuple[Click, ...]) -> tuple[Float, Float]:
    xy = np.array([(click.x, click.y) for click in clicks], np.float32)
    return xy, np.array([float(click.positive) for click in clicks], np.float32)
