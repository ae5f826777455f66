"""Masks of real photos in fp16 and bf16 against fp32, with nano's trained weights.

fp16 is the exported graphs on ONNX Runtime. Its CPU build has no bf16 kernels, so bf16 is PyTorch computing in
bfloat16. Compared are the masks that a first click shows: of the three, the one that fp32 predicts to be best.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from livesam.engine.models.loading import load
from livesam.engine.models.spec import spec
from livesam.engine.view.geometry import ResizeGeometry, postprocess, prepare
from livesam.export.graphs.decoder_graph import export_serving_decoder
from livesam.export.graphs.encoder import export_encoder
from livesam.export.graphs.parity import run_onnx

data = pytest.importorskip("skimage.data")
Masks = list[np.ndarray]


def feeds_of(image: np.ndarray) -> dict[str, np.ndarray]:
    """Nine clicks on a grid, one prompt each, without masks."""
    geometry = ResizeGeometry.of(image.shape[:2], 512)
    steps = np.array([0.25, 0.5, 0.75])
    clicks = np.array([(x * geometry.resized_hw[1], y * geometry.resized_hw[0]) for y in steps for x in steps])
    coords = np.concatenate([clicks[:, None], np.zeros((9, 1, 2))], 1).astype(np.float32)
    labels = np.tile(np.array([1, -1], np.float32), (9, 1))
    return {
        "point_coords": coords,
        "point_labels": labels,
        "mask_input": np.zeros((1, 1, 128, 128), np.float32),
        "has_mask": np.zeros(1, np.float32),
    }


def masks_of(
    image: np.ndarray,
    encode: Callable[[np.ndarray], np.ndarray],
    decode: Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]],
    tokens: np.ndarray | None = None,
) -> tuple[Masks, np.ndarray]:
    """The nine masks of ``tokens``, or of the best tokens by predicted IoU; and the tokens."""
    geometry = ResizeGeometry.of(image.shape[:2], 512)
    logits, predicted = decode({**feeds_of(image), "embedding": encode(prepare(image, 512))})  # (9, 4, 128, 128)
    if tokens is None:
        tokens = 1 + predicted[:, 1:].argmax(1)
    return [postprocess(one[token], geometry) > 0 for one, token in zip(logits, tokens, strict=True)], tokens


def torch_masks(image: np.ndarray, bf16: bool, tokens: np.ndarray | None = None) -> tuple[Masks, np.ndarray]:
    sam = load("nano")

    def low() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=bf16)

    def encode(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad(), low():
            return sam.image_encoder(torch.from_numpy(pixels)).float().numpy()

    def decode(feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        coords, labels = torch.from_numpy(feeds["point_coords"]), torch.from_numpy(feeds["point_labels"])
        with torch.no_grad():  # the exported graphs compute positions in float32 too (``GraphBuilder.float32``)
            sparse = sam.prompt_encoder._embed_points(coords, labels, pad=False)
            dense = sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(9, -1, 32, 32)
            position = sam.prompt_encoder.get_dense_pe()
        features = torch.from_numpy(feeds["embedding"])
        with torch.no_grad(), low():
            logits, predicted = sam.mask_decoder.predict_masks(features, position, sparse, dense)
            return logits.float().numpy(), predicted.float().numpy()

    return masks_of(image, encode, decode, tokens)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [data.astronaut(), data.coffee(), data.chelsea()]


@pytest.fixture(scope="module")
def reference(photos: list[np.ndarray]) -> list[tuple[Masks, np.ndarray]]:
    return [torch_masks(photo, bf16=False) for photo in photos]


def check(reference: list[tuple[Masks, np.ndarray]], got: list[Masks], mean: float, least: float) -> None:
    ious = []
    for (expected, _), masks in zip(reference, got, strict=True):
        for a, b in zip(expected, masks, strict=True):
            if a.mean() > 0.001:  # a mask of a few pixels says nothing about precision
                ious.append((a & b).sum() / (a | b).sum())
    assert len(ious) >= 24
    assert np.mean(ious) >= mean
    assert np.min(ious) >= least


def test_fp16_graphs_give_the_masks_of_fp32(
    photos: list[np.ndarray], reference: list[tuple[Masks, np.ndarray]], tmp_path: Path
) -> None:
    sam, model = load("nano"), spec("nano")
    export_encoder(sam, model, tmp_path / "encoder.onnx", precision="fp16")
    export_serving_decoder(sam, model, tmp_path / "decoder.onnx", precision="fp16")

    def encode(pixels: np.ndarray) -> np.ndarray:
        return run_onnx(tmp_path / "encoder.onnx", {"image": pixels})[0]["embedding"]

    def decode(feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        answer = run_onnx(tmp_path / "decoder.onnx", feeds)[0]
        return answer["low_res_logits"], answer["ious"]

    check(
        reference, [masks_of(p, encode, decode, t)[0] for p, (_, t) in zip(photos, reference, strict=True)], 0.99, 0.96
    )


@pytest.mark.slow
def test_bf16_arithmetic_gives_the_masks_of_fp32(
    photos: list[np.ndarray], reference: list[tuple[Masks, np.ndarray]]
) -> None:
    # 0.983 and more: depthwise convolutions sum few products, so bfloat16's 8 bits show more than in dense ones.
    check(reference, [torch_masks(p, True, t)[0] for p, (_, t) in zip(photos, reference, strict=True)], 0.97, 0.8)
