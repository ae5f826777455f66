"""A small SAM (128 px, 8x8 embedding) with SAM's own decoder, and its serving graph: a decode takes a few ms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from livesam.engine.models.loading import assemble, decoder_weights, randomise_constants, vit_encoder
from livesam.engine.models.spec import ModelSpec
from segment_anything.modeling import Sam

SIDE = 128


@pytest.fixture(scope="session")
def tiny_sam() -> Sam:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        sam = assemble(vit_encoder(32, 2, 2, (1,), image_size=SIDE, window=3), SIDE)
        randomise_constants(sam)
        for parameter in sam.mask_decoder.parameters():
            if parameter.ndim == 1:  # biases start at zero, norms at one: make them matter
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return sam


@pytest.fixture(scope="session")
def tiny_graph(tiny_sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from livesam.export.graphs.decoder_graph import export_serving_decoder

    path = tmp_path_factory.mktemp("graphs") / "decoder.onnx"
    export_serving_decoder(tiny_sam, ModelSpec("tiny", SIDE, None), path)
    return path


@pytest.fixture(scope="session")
def compilers(tiny_sam: Sam, tiny_graph: Path) -> dict[str, Callable[..., object]]:
    """A ``DecoderCompiler`` of every CPU runtime, each loaded once."""
    from livesam.engine.runtimes.onnxruntime import OrtGraph
    from livesam.engine.runtimes.openvino import OvGraph
    from livesam.engine.runtimes.torch_graph import TorchGraph

    return {"torch": TorchGraph(tiny_sam), "onnxruntime": OrtGraph(tiny_graph), "openvino": OvGraph(tiny_graph)}


@pytest.fixture(scope="session")
def weights_of(tiny_sam: Sam) -> Callable[[int], dict[str, np.ndarray]]:
    """Decoder weights by seed; 0 is the model's own."""
    base = decoder_weights(tiny_sam)

    def make(seed: int) -> dict[str, np.ndarray]:
        if seed == 0:
            return dict(base)
        rng = np.random.default_rng(seed)
        return {
            name: value + np.float32(0.1 * value.std() + 1e-3) * rng.standard_normal(value.shape, dtype=np.float32)
            for name, value in base.items()
        }

    return make
