"""Every runtime on one device, through the package's own front door: encoder, clicks, many prompts, swaps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.benchmarks.gpu import pytorch as gpu_torch
from livesam.benchmarks.gpu.device_clock import time_calls
from livesam.benchmarks.gpu.sections import Skipped
from livesam.benchmarks.latency.throughput import BatchEncoder
from livesam.engine.values.errors import RuntimeUnavailable

if TYPE_CHECKING:
    from livesam.engine.session.session import Session
    from livesam.export.opening import Opening
    from segment_anything.modeling import Sam

Image = npt.NDArray[np.uint8]


def save_random(sam: Sam, path: Path) -> None:
    """Write a model's weights as an official checkpoint, so that every runtime loads the same random ones."""
    import torch

    torch.save({key: value.contiguous() for key, value in sam.state_dict().items()}, path)


def encoder(
    opening: Opening, image: Image, reference: npt.NDArray[np.float32] | None, *, seconds: float = 1.0
) -> dict[str, Any]:
    """Latency from an RGB image in host memory to the embedding, and how far that is from PyTorch's in fp32.

    Raises:
        Skipped: the runtime or the precision cannot be used here.
    """
    import time

    from livesam.export.opening import open_encoder

    started, device = time.perf_counter(), opening.device or "cpu"
    try:
        engine = open_encoder(opening)
    except RuntimeUnavailable as error:
        raise Skipped(str(error)) from None
    try:
        open_s = time.perf_counter() - started
        features = engine.encode(image).numpy()
        found: dict[str, Any] = {"runtime": engine.runtime, "open_s": round(open_s, 2)}
        if reference is not None:
            found["max_difference"] = round(float(np.abs(features - reference).max() / np.ptp(reference)), 6)
        found |= time_calls(lambda: engine.encode(image), device, seconds=seconds).to_json()
        return found | gpu_torch.memory(device)
    finally:
        engine.close()


def throughput(opening: Opening, image: Image, *, batches: Sequence[int], seconds: float = 1.0) -> dict[str, Any]:
    """Images a second through ``encode_batch``, from RGB images in host memory to embeddings, over batch sizes.

    Raises:
        Skipped: the runtime or the precision cannot be used here.
    """
    from livesam.export.opening import open_encoder

    device = opening.device or "cpu"
    try:
        engine = open_encoder(opening, batch=max(batches))
    except RuntimeUnavailable as error:
        raise Skipped(str(error)) from None
    rows: list[dict[str, Any]] = []
    try:
        if not isinstance(engine, BatchEncoder):
            raise Skipped(f"{engine.runtime} takes one image a call")
        for batch in batches:
            encode = partial(engine.encode_batch, [image] * batch)
            try:
                timing = time_calls(encode, device, seconds=seconds)
            except Exception as error:  # every runtime has its own for memory that is not enough; smaller batches count
                if not rows:
                    raise
                rows.append({"batch": batch, "skipped": f"{type(error).__name__}: {error}"})
                break
            rows.append({"batch": batch, "images_per_s": round(batch * 1e3 / timing.p50_ms, 4), **timing.to_json()})
        return {"runtime": engine.runtime, "rows": rows} | gpu_torch.memory(device)
    finally:
        engine.close()


def decoder(
    session: Session, image: Image, device: str, *, prompts: Sequence[int] = (1, 8, 64), seconds: float = 1.0
) -> dict[str, Any]:
    """One click's latency to the mask at the image's size, and many prompts on one image in one call.

    ``packed``, of decoders that can: the same prompts to masks that the device has upscaled and packed to bits, not
    yet unpacked.
    """
    from livesam.engine.runtimes.packing import PackingDecoder
    from livesam.engine.values.prompt import Click, Prompt

    session.set_image(image)
    height, width = image.shape[:2]
    rng = np.random.default_rng(0)
    points = [Prompt((Click(float(x * width), float(y * height)),)) for x, y in rng.random((max(prompts), 2))]
    found: dict[str, Any] = {
        "runtime": session.runtime,
        "click": time_calls(lambda: session.predict(points[0]), device, seconds=seconds, warmup=10).to_json(),
        "stages_ms": {name: round(ms, 4) for name, ms in session.predict(points[0]).timings_ms.items()},
        "prompts": [],
    }
    for count in prompts:
        timing = time_calls(lambda n=count: session.predict_many(points[:n]), device, seconds=seconds)  # type: ignore[misc]
        found["prompts"].append({"prompts": count, **timing.to_json()})
    with session.slot.lease() as lease:
        if isinstance(lease.decoder, PackingDecoder):
            found["packed"] = []
            for count in prompts:
                decode = partial(lease.decoder.decode_masks, session.embedding, points[:count])
                found["packed"].append({"prompts": count, **time_calls(decode, device, seconds=seconds).to_json()})
    return found | gpu_torch.memory(device)


def swaps(session: Session, image: Image, model: str, *, count: int = 20) -> dict[str, Any]:
    """Cost of publishing changed weights while a thread clicks, and whether the version that serves answers rightly.

    The last version is the base again: its answer must be what the base gave, bit for bit.
    """
    from livesam.benchmarks.latency.swap import perturbed, run_swaps
    from livesam.engine.values.prompt import Click, Prompt

    session.set_image(image)
    prompt = Prompt((Click(image.shape[1] / 2, image.shape[0] / 2),))
    before = session.predict(prompt).low_res_logits
    slot = session.slot
    base = slot.weights(slot.current)
    run = run_swaps(
        lambda: session.predict(prompt).timings_ms,
        slot.publish,
        [perturbed(base, seed=seed) for seed in range(3)],
        model=model,
        runtime=session.runtime,
        swaps=count,
    )
    changed = session.predict(prompt).low_res_logits
    slot.publish(base)
    after = session.predict(prompt).low_res_logits
    return run.to_json() | {
        "answers_changed": bool((changed != before).any()),
        "base_restored_max_difference": float(np.abs(after - before).max()),
    }


def mask_iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 1.0
