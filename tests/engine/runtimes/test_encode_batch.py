"""Several images in one run of the encoder, on every runtime that is here, and which CUDA graphs are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from livesam.engine.models.spec import ModelSpec
from livesam.engine.runtimes.base import PreparedEncoder
from livesam.engine.runtimes.cuda_graphs import CudaGraphs
from livesam.engine.runtimes.onnxruntime import OrtEncoder
from livesam.engine.runtimes.openvino import OvEncoder
from livesam.engine.runtimes.recent import Recent
from livesam.engine.runtimes.recorder import Work
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.values.errors import SessionError
from livesam.export.graphs.encoder import export_encoder
from segment_anything.modeling import Sam

SIDE = 128


@pytest.fixture(scope="module")
def images() -> list[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((90, 120), (128, 128), (200, 50))]


@pytest.fixture(scope="module")
def graphs(tiny_sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> dict[int | None, Path]:
    """The encoder's graph for one image, and with a dynamic batch."""
    folder = tmp_path_factory.mktemp("encoders")
    paths: dict[int | None, Path] = {1: folder / "one.onnx", None: folder / "many.onnx"}
    for batch, path in paths.items():
        export_encoder(tiny_sam, ModelSpec("tiny", SIDE, None), path, batch=batch)
    return paths


def encoder(runtime: str, sam: Sam, graph: Path) -> PreparedEncoder:
    if runtime == "torch":
        return TorchEncoder(sam)
    return OrtEncoder(graph, threads=1) if runtime == "onnxruntime" else OvEncoder(graph, threads=1)


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_a_batch_is_encoded_as_one_by_one(
    runtime: str, tiny_sam: Sam, graphs: dict[int | None, Path], images: list[npt.NDArray[np.uint8]]
) -> None:
    engine = encoder(runtime, tiny_sam, graphs[None])
    assert engine.batch is None
    found = engine.encode_batch(images)
    assert len(found) == len(images)
    for image, got in zip(images, found, strict=True):
        want = engine.encode(image)
        assert (got.key, got.original_hw, got.resized_hw) == (want.key, want.original_hw, want.resized_hw)
        features = got.numpy()
        assert features.shape == (1, 256, SIDE // 16, SIDE // 16)
        assert features.base is None  # not a view that keeps the whole batch alive
        np.testing.assert_allclose(features, want.numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="takes 1 or more images at once, got 0"):
        engine.encode_batch([])
    engine.close()
    with pytest.raises(SessionError, match="closed"):
        engine.encode_batch(images)


@pytest.mark.parametrize(("threads", "pinned"), [(0, True), (1, False)])
def test_threads_that_are_counted_are_not_pinned(graphs: dict[int | None, Path], threads: int, pinned: bool) -> None:
    """Two processes of one thread each would be pinned to the same core, and be as slow as one."""
    engine = OvEncoder(graphs[1], threads=threads)
    assert engine._compiled.get_property("ENABLE_CPU_PINNING") == pinned
    engine.close()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_for_one_image_refuses_more(
    runtime: str, tiny_sam: Sam, graphs: dict[int | None, Path], images: list[npt.NDArray[np.uint8]]
) -> None:
    engine = encoder(runtime, tiny_sam, graphs[1])
    assert len(engine.encode_batch(images[:1])) == 1
    with pytest.raises(ValueError, match="takes 1 to 1 images at once, got 3"):
        engine.encode_batch(images)


def test_the_value_unused_longest_is_dropped() -> None:
    kept: Recent[str, int] = Recent(2)
    for key, value in (("a", 1), ("b", 2), ("a", 9), ("c", 3)):
        kept.find(key, lambda value=value: value)  # type: ignore[misc]
    assert dict(kept) == {"a": 1, "c": 3}
    with pytest.raises(ValueError, match="at least 1"):
        Recent(0)


def test_cuda_graphs_are_captured_once_while_kept() -> None:
    """The policy only, with captures that are none: this needs no GPU."""
    captured: list[int] = []

    def record(work: Work) -> Work:
        captured.append(work()[0].shape[0])
        return work

    graphs = CudaGraphs(lambda value: (2 * value,), 2, record)
    for place, count in enumerate((1, 2, 1, 3, 1, 2)):
        assert graphs(torch.full((count,), float(place)))[0].tolist() == [2.0 * place] * count
    assert captured == [1, 2, 3, 2]  # 2 went when 3 came
    assert len(graphs._captured) == 2
