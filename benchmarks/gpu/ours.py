"""What livesam takes on a device, by its own front door: encoding, clicks, many prompts, swaps, batches."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.benchmarks.gpu.device_clock import Timing, first_call_ms, time_calls
from livesam.benchmarks.gpu.memory import memory
from livesam.benchmarks.gpu.model_bench import ModelBench, photo, random_sam
from livesam.benchmarks.gpu.sections import Skipped
from livesam.benchmarks.latency.swap import perturbed, run_swaps
from livesam.benchmarks.latency.throughput import BatchEncoder
from livesam.engine.files.hashing import image_hash
from livesam.engine.values.errors import SwapError
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.view.look import PLAIN, Look

if TYPE_CHECKING:
    from livesam.engine.session.session import Session

THINK_S = 0.06  # between the clicks of an object: long enough for a window to be encoded, far below a person's


def encode(bench: ModelBench) -> dict[str, Any]:
    """From an RGB array in host memory to the embedding, by picture; and all of ``set_image``, hash included.

    ``model_size`` is a picture of the model's own size, so the difference to the others is moving and resizing them.
    """
    engine, device, seconds = bench.session.encoder.encoder, bench.device, bench.effort.seconds
    side = bench.spec.image_size
    pictures = {**bench.pictures, "model_size": photo("astronaut", (side, side))}
    found: dict[str, Any] = {"runtime": engine.runtime}
    for name, image in pictures.items():
        call = partial(engine.encode, image, image_hash(image))
        first = first_call_ms(call, device)
        found[name] = {"first_ms": first, **time_calls(call, device, seconds=seconds).to_json()}
    cache = bench.session.encoder.cache
    if cache is not None:  # else an image that was seen before is not encoded again
        whole = partial(bench.session.set_image, bench.large)
        timing = time_calls(whole, device, seconds=seconds, before=cache.clear)
        found["set_image_large"] = timing.to_json()
    return found | _copies(bench) | memory(device)


def _copies(bench: ModelBench) -> dict[str, Any]:
    """Moving the large picture's bytes up, from memory as a caller has it and from pinned memory."""
    if not bench.device.startswith("cuda"):
        return {}
    import torch

    pageable = torch.from_numpy(bench.large)
    pinned = pageable.pin_memory()
    target = torch.empty_like(pageable, device=bench.device)
    return {
        f"upload_{name}": time_calls(lambda s=source: target.copy_(s), bench.device, seconds=0.2).to_json()  # type: ignore[misc]
        for name, source in (("pageable", pageable), ("pinned", pinned))
    }


def click(bench: ModelBench) -> dict[str, Any]:
    """An object's first click to its mask at the image's size, on 1 Mpx; with all looks off and without a pause."""
    session, device, seconds = bench.session, bench.device, bench.effort.seconds
    session.look = PLAIN
    session.set_image(bench.small)
    height, width = bench.small.shape[:2]
    call = partial(session.click, width * 0.5, height * 0.5)
    first = first_call_ms(call, device)
    plain = time_calls(call, device, seconds=seconds, warmup=10, before=session.reset)
    prompt = Prompt((Click(width * 0.4, height * 0.6),))
    preview = time_calls(lambda: session.predict(prompt), device, seconds=seconds)
    stages = [session.predict(prompt).timings_ms for _ in range(9)]
    return {
        "runtime": session.runtime,
        "first_ms": first,
        **plain.to_json(),
        "preview": preview.to_json(),
        "stages_ms": {name: round(float(np.median([s[name] for s in stages])), 4) for name in stages[0]},
    }


def looked_click(bench: ModelBench) -> dict[str, Any]:
    """Clicks with zoom, obey and edges on 1 Mpx, four an object; ``later`` are those in a window of their own."""
    session, wait = bench.session, 0.0 if bench.quick else THINK_S
    session.look = Look(zoom=True, obey=True, edges=True)
    session.set_image(bench.small)  # zoom begins with the next image
    height, width = bench.small.shape[:2]
    rng = np.random.default_rng(0)
    first: list[float] = []
    later: list[float] = []
    stages = []
    try:
        for number in range(bench.effort.objects + 1):
            session.reset()
            x, y = rng.uniform(0.2, 0.8, 2) * (width, height)
            for step in range(4):
                time.sleep(wait)
                at = np.clip((x, y) + step * rng.normal(0, 12, 2), 0, (width - 1, height - 1))
                started = time.perf_counter()
                result = session.click(float(at[0]), float(at[1]), step < 2)
                took = (time.perf_counter() - started) * 1e3
                if number:  # the first object warms up
                    (later if step else first).append(took)
                    stages.append(result.timings_ms)
    finally:
        session.look = PLAIN
        session.set_image(bench.small)
    names = dict.fromkeys(name for one in stages for name in one)
    return {
        "first": Timing.of(first).to_json(),
        "later": Timing.of(later).to_json(),
        "stages_ms": {n: round(float(np.median([s[n] for s in stages if n in s])), 4) for n in names},
    }


def prompts(bench: ModelBench) -> dict[str, Any]:
    """Many prompts on one image in one call, each to a mask of 1 Mpx."""
    session = bench.session
    session.look = PLAIN
    session.set_image(bench.small)
    height, width = bench.small.shape[:2]
    rng = np.random.default_rng(0)
    points = [Prompt((Click(float(x * width), float(y * height)),)) for x, y in rng.random((64, 2))]
    rows = []
    for count in bench.effort.prompts:
        call = partial(session.predict_many, points[:count])
        first = first_call_ms(call, bench.device)
        timing = time_calls(call, bench.device, seconds=bench.effort.seconds)
        rows.append({"prompts": count, "first_ms": first, **timing.to_json()})
    return {"rows": rows} | memory(bench.device)


def swap(bench: ModelBench) -> dict[str, Any]:
    """Publishing changed weights while a thread clicks; ``refused`` says why where publishing does not work."""
    bench.session.look = PLAIN
    return swap_of(bench.session, bench)


def swap_of(session: Session, bench: ModelBench) -> dict[str, Any]:
    """The same of a session on any runtime. The last version is the base again: its answer must be the base's."""
    session.set_image(bench.small)
    prompt = Prompt((Click(bench.small.shape[1] / 2, bench.small.shape[0] / 2),))
    before = session.predict(prompt).low_res_logits
    slot = session.slot
    base = slot.weights(slot.current)
    try:
        run = run_swaps(
            lambda: session.predict(prompt).timings_ms,
            slot.publish,
            [perturbed(base, seed=seed) for seed in range(3)],
            model=bench.model,
            runtime=session.runtime,
            swaps=bench.effort.swaps,
            gap_s=0.02,
        )
    except SwapError as refusal:
        return {"published": False, "refused": str(refusal)}
    changed = session.predict(prompt).low_res_logits
    slot.publish(base)
    after = session.predict(prompt).low_res_logits
    return run.to_json() | {
        "published": True,
        "answers_changed": bool((changed != before).any()),
        "base_restored_max_difference": float(np.abs(after - before).max()),
    }


def throughput(bench: ModelBench) -> dict[str, Any]:
    """Images a second through ``encode_batch``, from RGB arrays of 1 Mpx in host memory, by batch.

    A batch that does not fit into memory ends the list with a row that says so.
    """
    engine = bench.session.encoder.encoder
    if not isinstance(engine, BatchEncoder):
        raise Skipped(f"{engine.runtime} takes one image a call")
    rows: list[dict[str, Any]] = []
    for batch in bench.effort.batches:
        call = partial(engine.encode_batch, [bench.small] * batch)
        try:
            first = first_call_ms(call, bench.device)
            timing = time_calls(call, bench.device, seconds=bench.effort.seconds, warmup=1)
        except Exception as error:  # every runtime has its own for memory that is not enough; smaller batches count
            if not rows:
                raise
            rows.append({"batch": batch, "skipped": f"{type(error).__name__}: {error}"})
            break
        rate = round(batch * 1e3 / timing.p50_ms, 4)
        rows.append({"batch": batch, "images_per_s": rate, "first_ms": first, **timing.to_json()})
    return {"runtime": engine.runtime, "rows": rows} | memory(bench.device)


def encode_only(bench: ModelBench) -> dict[str, Any]:
    """The encoder of a model whose weights are drawn on the device, and its official module in the same format."""
    import torch
    from livesam.engine.runtimes.torch_encoder import TorchEncoder

    started = time.perf_counter()
    sam = random_sam(bench.model, bench.device)
    engine = TorchEncoder(sam, bench.device, precision=bench.encoder_precision, identity="random")
    try:
        call = partial(engine.encode, bench.small, "digest")
        open_s, seconds = round(time.perf_counter() - started, 2), bench.effort.seconds
        first = first_call_ms(call, bench.device)
        found = {"runtime": engine.runtime, "open_s": open_s, "first_ms": first}
        found |= time_calls(call, bench.device, seconds=seconds).to_json()
        found["throughput"] = _one_batch(engine, bench)
    finally:
        engine.close()
    side = int(sam.image_encoder.img_size)
    image = torch.randn(1, 3, side, side, device=bench.device)
    with torch.inference_mode(), autocast(bench):
        eager = time_calls(lambda: sam.image_encoder(image), bench.device, seconds=seconds)
    return found | {"eager_network": eager.to_json()} | memory(bench.device)


def compiled_encode(bench: ModelBench) -> dict[str, Any]:
    """The encoder with ``torch.compile`` around its module; ``open_s`` is mostly compiling.

    Raises:
        Skipped: on the CPU, where it is not compiled.
    """
    from livesam.engine.runtimes.torch_encoder import TorchEncoder

    if not bench.device.startswith("cuda"):
        raise Skipped("PyTorch's encoder is compiled for CUDA only")
    started = time.perf_counter()
    sam = bench.fresh_sam()
    engine = TorchEncoder(sam, bench.device, precision=bench.encoder_precision, identity="compiled", compile=True)
    try:
        open_s, seconds = round(time.perf_counter() - started, 2), bench.effort.seconds
        timing = time_calls(partial(engine.encode, bench.small, "digest"), bench.device, seconds=seconds)
        found = {"runtime": engine.runtime, "open_s": open_s, "compile_s": round(engine.prepare_s, 2)}
        found |= timing.to_json()
        return found | {"throughput": _one_batch(engine, bench)} | memory(bench.device)
    finally:
        engine.close()


def _one_batch(engine: BatchEncoder, bench: ModelBench) -> dict[str, Any]:
    batch = bench.effort.batches[1]
    call = partial(engine.encode_batch, [bench.small] * batch)
    timing = time_calls(call, bench.device, seconds=bench.effort.seconds, warmup=1)
    return {"batch": batch, "images_per_s": round(batch * 1e3 / timing.p50_ms, 4), **timing.to_json()}


def autocast(bench: ModelBench) -> Any:
    """PyTorch's mixed precision in the number format of the session's encoder; nothing on the CPU, which runs fp32."""
    import torch

    return torch.autocast(bench.device.partition(":")[0], torch.bfloat16, enabled=bench.precision == "bf16")
