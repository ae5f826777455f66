"""The official predictor on the same device in the same run, eager and compiled.

``segment_anything_fast`` is not on the package index (what has that name there is another program), so it does not run
here; its main idea does: the relative positions as an additive mask of ``scaled_dot_product_attention``, in bf16, with
``torch.compile``.
"""

from __future__ import annotations

import types
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.benchmarks.gpu.device_clock import first_call_ms, time_calls
from livesam.benchmarks.gpu.memory import memory
from livesam.benchmarks.gpu.model_bench import ModelBench
from livesam.benchmarks.gpu.ours import autocast
from livesam.benchmarks.gpu.sections import Skipped

if TYPE_CHECKING:
    import torch
    from segment_anything import SamPredictor


def eager(bench: ModelBench) -> dict[str, Any]:
    """``SamPredictor`` in mixed precision: set_image, one click, many prompts, and the network alone by batch."""
    import torch
    from segment_anything import SamPredictor

    sam = bench.fresh_sam()
    predictor = SamPredictor(sam)
    with autocast(bench):
        found = _measured(predictor, bench)
    side, rows = bench.spec.image_size, []
    for batch in bench.effort.batches[:2]:  # its attention takes 24 GiB for 32 images of vit_b
        images = torch.randn(batch, 3, side, side, device=bench.device)
        with torch.inference_mode(), autocast(bench):
            timing = time_calls(
                partial(sam.image_encoder, images), bench.device, seconds=bench.effort.seconds, warmup=1
            )
        rate = round(batch * 1e3 / timing.p50_ms, 4)
        rows.append({"batch": batch, "images_per_s": rate, **timing.to_json()})
    return {"precision": bench.precision, **found, "network": rows} | memory(bench.device)


def compiled(bench: ModelBench) -> dict[str, Any]:
    """The same with ``torch.compile(mode="reduce-overhead")`` around encoder and decoder; ``first_ms`` is compiling."""
    import torch
    from segment_anything import SamPredictor

    sam = bench.fresh_sam()
    compile_it: Any = torch.compile
    sam.image_encoder = compile_it(sam.image_encoder, mode="reduce-overhead")
    sam.mask_decoder = compile_it(sam.mask_decoder, mode="reduce-overhead")
    with autocast(bench):
        return {"precision": bench.precision, **_measured(SamPredictor(sam), bench, many=False)} | memory(bench.device)


def sdpa(bench: ModelBench) -> dict[str, Any]:
    """SAM's ViT with its attention by ``scaled_dot_product_attention``, eager and compiled, the network alone.

    Raises:
        Skipped: the model has no such attention.
    """
    import torch

    if not bench.model.startswith("vit_") or bench.model == "vit_t":
        raise Skipped(f"{bench.model} has no attention with relative positions")
    dtype = torch.bfloat16 if bench.precision == "bf16" else torch.float32
    encoder = with_sdpa(bench.fresh_sam().image_encoder.to(dtype))
    side = bench.spec.image_size
    image = torch.randn(1, 3, side, side, device=bench.device, dtype=dtype)
    found: dict[str, Any] = {"precision": bench.precision}
    compile_it: Any = torch.compile
    with torch.inference_mode():
        for name, run in (("eager", encoder), ("compiled", compile_it(encoder, mode="reduce-overhead"))):
            call = partial(run, image)
            first = first_call_ms(call, bench.device)
            timing = time_calls(call, bench.device, seconds=bench.effort.seconds)
            found[name] = {"first_ms": first, **timing.to_json()}
    return found | memory(bench.device)


def with_sdpa(encoder: Any) -> Any:
    """The official ViT itself, its attention replaced by ``scaled_dot_product_attention``."""
    from segment_anything.modeling.image_encoder import Attention

    for module in encoder.modules():
        if isinstance(module, Attention):
            module.forward = types.MethodType(_attention, module)
    return encoder


def _attention(self: Any, x: torch.Tensor) -> torch.Tensor:
    """``Attention.forward`` of ``segment_anything``, (B, H, W, C), with its two position terms as one additive mask."""
    import torch
    from segment_anything.modeling.image_encoder import get_rel_pos
    from torch.nn import functional

    batch, h, w, channels = x.shape
    heads = self.num_heads
    q, k, v = self.qkv(x).reshape(batch, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, H*W, c) each
    grid = q.reshape(batch, heads, h, w, -1)
    rows = torch.einsum("bnhwc,hkc->bnhwk", grid, get_rel_pos(h, h, self.rel_pos_h))
    columns = torch.einsum("bnhwc,wkc->bnhwk", grid, get_rel_pos(w, w, self.rel_pos_w))
    mask = (rows[..., :, None] + columns[..., None, :]).reshape(batch, heads, h * w, h * w)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    found: torch.Tensor = self.proj(out.transpose(1, 2).reshape(batch, h, w, channels))
    return found


def _measured(predictor: SamPredictor, bench: ModelBench, *, many: bool = True) -> dict[str, Any]:
    device, seconds = bench.device, bench.effort.seconds
    found: dict[str, Any] = {}
    for name, image in bench.pictures.items():
        call = partial(predictor.set_image, image)
        first = first_call_ms(call, device)
        found[f"set_image_{name}"] = {"first_ms": first, **time_calls(call, device, seconds=seconds).to_json()}
    predictor.features = predictor.features.clone()  # a replayed graph would write over it
    rng = np.random.default_rng(0)
    points = rng.random((64, 2)) * bench.small.shape[1::-1]
    rows = []
    for count in bench.effort.prompts if many else (1,):
        call = partial(_predict, predictor, points[:count])
        first = first_call_ms(call, device)
        rows.append({"prompts": count, "first_ms": first, **time_calls(call, device, seconds=seconds).to_json()})
    return found | {"prompts": rows}


def _predict(predictor: SamPredictor, points: Any) -> Any:
    """``SamPredictor.predict`` for one click a prompt, masks to host memory.

    Its own ``predict`` calls ``numpy()`` on whatever comes, which bf16 tensors refuse.
    """
    import torch

    coords = predictor.transform.apply_coords(points[:, None], predictor.original_size)  # (P, 1, 2)
    there = torch.as_tensor(coords, dtype=torch.float, device=predictor.device)
    labels = torch.ones(there.shape[:2], dtype=torch.int, device=predictor.device)
    masks, ious, low_res = predictor.predict_torch(there, labels, multimask_output=True)
    return masks.cpu().numpy(), ious.float().cpu().numpy(), low_res.float().cpu().numpy()
