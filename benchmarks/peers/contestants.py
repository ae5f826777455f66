"""livesam's runtimes and what they are compared with. Weights are random: time does not depend on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.benchmarks.latency.random_weights import write_random
from livesam.benchmarks.peers.comparison import REFERENCE, Comparison, Run, interleaved
from livesam.engine.models.spec import spec as spec_of

if TYPE_CHECKING:
    from livesam.engine.values.protocols import ImageEncoder
    from segment_anything.modeling import Sam


def precisions(supported: Sequence[str]) -> str:
    """Which contestants run in which precisions here, for a comparison's note."""
    missing = [name for name in ("bf16", "fp16") if name not in supported]
    lacks = f", this processor has no {' and no '.join(missing)}" if missing else ""
    return f"torch and onnxruntime run in fp32 only on CPUs, openvino here in {', '.join(supported)}{lacks}"


def encoder(name: str, folder: Path, rounds: int, threads: int) -> Comparison:
    """The image encoder of a model: eager PyTorch, ONNX Runtime, OpenVINO in every precision of this processor."""
    import torch
    from livesam.engine.models import loading as models
    from livesam.engine.runtimes.onnxruntime import OrtEncoder
    from livesam.engine.runtimes.openvino import OvEncoder, supported_precisions
    from livesam.export.graphs.encoder import export_encoder, probe_image

    spec, sam = spec_of(name), models.build(name)
    image = probe_image(spec.image_size)
    path = folder / f"{name}.onnx"
    export_encoder(sam, spec, path, rel_pos="bias")
    pixels = sam.preprocess(torch.from_numpy(image).permute(2, 0, 1).float()[None])

    def eager() -> None:
        with torch.inference_mode():
            sam.image_encoder(pixels)

    ort = OrtEncoder(path, threads=threads)
    runs: dict[str, Run] = {REFERENCE: eager, "onnxruntime fp32": lambda: ort.encode(image)}
    supported = supported_precisions()
    for precision in supported:
        ov = OvEncoder(path, precision=precision, threads=threads)
        runs[f"openvino {precision}"] = lambda ov=ov: ov.encode(image)  # type: ignore[misc]
    int8 = _int8(name, sam, path, folder, threads)
    if int8 is not None:
        runs["openvino int8"] = lambda: int8.encode(image)
    targets = {"vit_t": {REFERENCE: 4.0, "onnxruntime fp32": 1.9}, "vit_b": {REFERENCE: 3.0}}[name]
    what = {
        "vit_t": "livesam's rewrite of MobileSAM's TinyViT (engine/models/tinyvit.py), not MobileSAM's package",
        "vit_b": "segment_anything's ImageEncoderViT",
    }[name]
    note = f"reference: {what}, random weights; {precisions(supported)}"
    return Comparison(f"{name} encoder", interleaved(runs, rounds), targets, note)


def _int8(name: str, sam: Sam, source: Path, folder: Path, threads: int) -> ImageEncoder | None:
    """The encoder in int8, whatever its masks: random weights have none. None where nncf is not installed."""
    from livesam.engine.runtimes.openvino import OvEncoder
    from livesam.engine.values.errors import RuntimeUnavailable
    from livesam.export.graphs.encoder import probe_image
    from livesam.export.graphs.int8 import quantised_encoder

    photos = [probe_image(spec_of(name).image_size)[:384, :512]] * 2
    try:
        quantised_encoder(folder / f"{name}-int8.xml", source, sam, photos, least_iou=0.0)
    except RuntimeUnavailable:
        return None
    return OvEncoder(folder / f"{name}-int8.xml", threads=threads)


def decoder(folder: Path, rounds: int, threads: int) -> Comparison:
    """One click on a 1024-px model's embedding: prompt encoder and mask decoder, exchangeable weights."""
    import torch
    from livesam.engine.models import loading as models
    from livesam.engine.runtimes.onnxruntime import OrtGraph
    from livesam.engine.runtimes.openvino import OvGraph, supported_precisions
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.prompt import Click, Prompt
    from livesam.engine.values.protocols import MaskDecoder
    from livesam.export.graphs.decoder_graph import export_serving_decoder

    spec, sam = spec_of("vit_t"), models.build("vit_t")
    path = folder / "decoder.onnx"
    export_serving_decoder(sam, spec, path)
    features = np.random.default_rng(0).standard_normal((1, 256, 64, 64), dtype=np.float32)
    embedding = ImageEmbedding(features, (1024, 1024), (1024, 1024), "peers")
    prompts = [Prompt((Click(500.0, 300.0),))]
    weights = models.decoder_weights(sam)
    runs: dict[str, Run] = {REFERENCE: _official_click(sam, torch.from_numpy(features))}

    def decode(contestant: MaskDecoder) -> Run:
        return lambda: contestant.decode(embedding, prompts)

    runs["onnxruntime fp32"] = decode(OrtGraph(path, threads=threads)(weights))
    supported = supported_precisions()
    for precision in supported:
        runs[f"openvino {precision}"] = decode(OvGraph(path, precision=precision, threads=threads)(weights))
    note = f"reference: segment_anything's prompt encoder and mask decoder, random weights; {precisions(supported)}"
    return Comparison("decoder, one click, 64x64 embedding", interleaved(runs, rounds), {REFERENCE: 3.0}, note)


def _official_click(sam: Sam, features: Any) -> Run:
    """What SamPredictor does between a click and its low-res logits."""
    import torch

    coords, labels = torch.tensor([[[500.0, 300.0]]]), torch.tensor([[1]])

    def run() -> None:
        with torch.inference_mode():
            sparse, dense = sam.prompt_encoder(points=(coords, labels), boxes=None, masks=None)
            sam.mask_decoder(
                image_embeddings=features,
                image_pe=sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )

    return run


def nano(folder: Path, checkpoint: Path | None, rounds: int) -> list[Comparison]:
    """nano from pixels to mask on the runtime that ``auto`` takes: encode, and a click with its postprocessing."""
    from livesam.engine.files.hashing import image_hash
    from livesam.export.graphs.encoder import probe_image
    from livesam.export.opening import Opening, open_session

    session = open_session(Opening("nano", checkpoint, cache_dir=folder / "cache"))
    image = probe_image(512)
    digest = image_hash(image)
    session.set_image(image)

    def click() -> None:
        session.reset()
        session.click(200.0, 150.0)

    encode: Run = lambda: session.encoder.encoder.encode(image, digest)  # noqa: E731
    label = session.runtime
    return [
        Comparison("nano encode", interleaved({label: encode}, rounds), {"ms": 80.0}),
        Comparison("nano click", interleaved({label: click}, rounds * 3), {"ms": 15.0}),
    ]


# The same work by segment_anything's own predictor: image, mask, and the checkpoint if there is one.
_REFERENCE_START = """
import sys
from pathlib import Path
import numpy as np
from livesam.engine.models.loading import load
from PIL import Image
from segment_anything import SamPredictor
predictor = SamPredictor(load("nano", Path(sys.argv[3]) if sys.argv[3:] else None))
predictor.set_image(np.asarray(Image.open(sys.argv[1]).convert("RGB")))
masks, _, _ = predictor.predict(np.array([[200.0, 150.0]]), np.array([1]), multimask_output=False)
Image.fromarray(masks[0].astype(np.uint8) * 255).save(sys.argv[2])
"""


def cold_start(folder: Path, checkpoint: Path | None, rounds: int) -> Comparison:
    """From process start to the written mask, a new process each time: ``livesam segment`` with graphs in the cache,
    and ``SamPredictor`` with the same weights."""
    from livesam.export.graphs.encoder import probe_image
    from PIL import Image

    Image.fromarray(probe_image(512)).save(folder / "image.png")
    command = [sys.executable, "-c", "from livesam.app.main import main; main()", "segment", str(folder / "image.png")]
    command += ["--click", "200,150", "--out", str(folder / "mask.png")]
    command += ["--checkpoint", str(checkpoint)] if checkpoint is not None else []
    environ = os.environ | {"LIVESAM_CACHE": str(folder / "cache")}

    reference = [sys.executable, "-c", _REFERENCE_START, str(folder / "image.png"), str(folder / "peer.png")]
    reference += [str(checkpoint)] if checkpoint is not None else []

    def start(words: list[str]) -> Run:
        return lambda: subprocess.run(words, env=environ, check=True, capture_output=True)

    runs = {REFERENCE: start(reference), "livesam segment": start(command)}
    note = "each run is a process of its own; reference: SamPredictor with nano's weights, import torch to mask"
    return Comparison("cold start, nano", interleaved(runs, rounds), {REFERENCE: 1.0, "ms": 4000.0}, note)


def bundled_or_random(folder: Path) -> Path | None:
    """None where livesam brings nano's weights, else random ones: a source tree may lack them."""
    from livesam.engine.models import loading as models
    from livesam.engine.values.errors import CheckpointError

    try:
        models.bundled_nano()
    except CheckpointError:
        return write_random("nano", folder)
    return None
