"""Writing the serving decoder: build, compare with PyTorch on every kind of prompt, then rename."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import file_sha256, weights_hash
from livesam.export.files.manifest import Manifest, Tensor, versions
from livesam.export.files.staging import save_graph, staged
from livesam.export.graphs.decoder_nodes import build_decoder, prompt_constants
from livesam.export.graphs.parity import Difference, difference, require, run_onnx
from livesam.export.graphs.precision import checkable, convert

if TYPE_CHECKING:
    from livesam.engine.models.spec import ModelSpec
    from segment_anything.modeling import Sam

Array = npt.NDArray[Any]

# Prompts P, points N, masks M: a click with its pad, a lone mask, boxes and clicks, P prompts sharing one image side.
PROBES = ((1, 2, 1), (1, 0, 1), (2, 3, 2), (3, 5, 1))


def decoder_feeds(embedding_hw: tuple[int, int], probe: tuple[int, int, int], seed: int = 0) -> dict[str, Array]:
    """Random inputs of the decoder for P prompts of N points and M masks; labels from -1 to 3, masks given and not."""
    prompts, points, masks = probe
    rng = np.random.default_rng(seed)
    h, w = embedding_hw
    return {
        "embedding": rng.standard_normal((1, 256, h, w), dtype=np.float32) * np.float32(0.3),
        "point_coords": (rng.random((prompts, points, 2)) * (16 * w, 16 * h)).astype(np.float32),
        "point_labels": rng.integers(-1, 4, (prompts, points)).astype(np.float32),
        "mask_input": rng.standard_normal((masks, 1, 4 * h, 4 * w), dtype=np.float32) * np.float32(5),
        "has_mask": (np.arange(masks) % 2 == 0 if points == 0 or masks > 1 else np.zeros(masks)).astype(np.float32),
    }


def reference_decode(sam: Sam, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The same inputs through the official modules in float32: ``low_res_logits`` and ``ious``."""
    import torch

    encoder, decoder = sam.prompt_encoder, sam.mask_decoder
    with torch.no_grad():
        coords, labels = torch.from_numpy(feeds["point_coords"]), torch.from_numpy(feeds["point_labels"])
        prompts = coords.shape[0]
        if coords.shape[1]:
            sparse = encoder._embed_points(coords, labels, pad=False)
            for corner in (2, 3):  # PromptEncoder takes box corners apart from clicks, the graph by their labels
                sparse[labels == corner] += encoder.point_embeddings[corner].weight
        else:
            sparse = torch.zeros(prompts, 0, encoder.embed_dim)
        has_mask = torch.from_numpy(feeds["has_mask"]).reshape(-1, 1, 1, 1)
        given = encoder._embed_masks(torch.from_numpy(feeds["mask_input"]))
        dense = has_mask * given + (1 - has_mask) * encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        logits, ious = decoder.predict_masks(
            image_embeddings=torch.from_numpy(feeds["embedding"]),
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense.expand(prompts, -1, -1, -1),
        )
    return {"low_res_logits": logits.numpy(), "ious": ious.numpy()}


def export_serving_decoder(
    sam: Sam,
    spec: ModelSpec,
    path: Path,
    weights_as_inputs: bool = True,
    precision: str = "fp32",
    opset: int = 17,
) -> Manifest:
    """Write the serving decoder graph and its manifest; inputs and outputs as in ``decoder_nodes.build_decoder``.

    Args:
        weights_as_inputs: the 120 decoder tensors may be overridden by the caller at run time.
        precision: ``fp32``, ``fp16`` or ``bf16`` inside; inputs and outputs stay float32, but overridable
            weights have the graph's precision.

    Raises:
        ValueError: the precision is unknown.
        ParityError: the graph's answers differ from PyTorch's; nothing was written.
        ExportError: the file could not be written.
    """
    weights = {k: v.detach().cpu().float().numpy() for k, v in sam.mask_decoder.state_dict().items()}
    prompt = prompt_constants(sam)
    model, used = build_decoder(weights, prompt, weights_as_inputs=weights_as_inputs, opset=opset)
    model = convert(model, precision)
    with staged(path) as target:
        save_graph(model, target)
        parity = _compared(sam, target, precision, prompt.embedding_hw, path.name)
        h, w = prompt.embedding_hw
        manifest = Manifest(
            kind="decoder",
            model=spec.name,
            precision=precision,
            opset=model.opset_import[0].version,
            files={path.name: file_sha256(target)},
            inputs={
                "embedding": Tensor("float32", (1, 256, h, w)),
                "point_coords": Tensor("float32", ("prompts", "points", 2)),
                "point_labels": Tensor("float32", ("prompts", "points")),
                "mask_input": Tensor("float32", ("masks", 1, 4 * h, 4 * w)),
                "has_mask": Tensor("float32", ("masks",)),
            },
            outputs={
                "low_res_logits": Tensor("float32", ("prompts", 4, 4 * h, 4 * w)),
                "ious": Tensor("float32", ("prompts", 4)),
            },
            image_size=spec.image_size,
            weights_hash=weights_hash(weights),
            weights_as_inputs=weights_as_inputs,
            weights=used,
            parity=parity,
            versions=versions(),
            options={"masks": "equal to prompts, or 1 for all prompts alike", "points": "0 or more"},
        )
        manifest.write(target)
    return manifest


def _compared(sam: Sam, target: Path, precision: str, embedding_hw: tuple[int, int], name: str) -> dict[str, Any]:
    """The written graph's answers beside PyTorch's, for the manifest.

    Raises:
        ParityError: they differ.
    """
    check, note = checkable(target, precision)
    differences: list[Difference] = []
    for probe in PROBES:
        feeds = decoder_feeds(embedding_hw, probe)
        got, checker = run_onnx(check, feeds)
        want = reference_decode(sam, feeds)
        differences += [difference(output, got[output], want[output], precision) for output in want]
    if check != target:
        check.unlink()
    require(differences, f"{name} ({precision})")
    return {
        "against": "segment_anything's prompt encoder and mask decoder in PyTorch float32",
        "checker": checker,
        "checked": note,
        "differences": [d.as_dict() for d in differences],
    }
