"""Train nano: ``python -m livesam.adapter.training.pretrain --data DATA --out RUN``.

Images, windows, pasting, colours and clicks are made on the device, so the same code feeds a GPU and (slowly) runs on a
CPU. A run folder holds ``checkpoint.pt``, ``log.jsonl`` (one line a report) and ``nano.safetensors`` (fp16 averaged
weights, ready to be bundled). A killed run goes on from its last checkpoint when started again with the same arguments;
other stages or another seed are refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from livesam.adapter.training.crops import draw_batch
from livesam.adapter.training.image_store import ImageStore
from livesam.adapter.training.procedural import procedural_sources
from livesam.adapter.training.run import Run
from livesam.adapter.training.sources import Source, read_pack, read_sets
from livesam.adapter.training.stage import FORM, Stage
from livesam.adapter.training.step import Sequence, batch_loss, set_input_size
from torch import Tensor

Report: TypeAlias = Callable[[dict[str, Any]], None]

WARM_UP = 150  # steps
CLIP = 1.0
REPORTED_CLICKS = (1, 3, 5, 10)
DEFAULT_STAGES = (
    "256x96:700:5:6:4e-4:4e-4",
    "512x48:1000:5:12:4e-4:1.2e-4",
    "512x48,1024x12:600:5:12:1.2e-4:1e-6",
)


def train(run: Run, store: ImageStore, report: Report, every_s: float, save_s: float) -> None:
    """Run all stages from wherever the run stands.

    Args:
        report: is called with one line every ``every_s`` seconds.
        save_s: seconds between checkpoints; one follows each stage, too.
    """
    begun, before = time.monotonic(), run.done
    while run.stage < len(run.stages):
        stage = run.stages[run.stage]
        meter, saved = Meter(), time.monotonic()
        sam = run.train()
        while (part := stage.part(run.step, run.seconds)) < 1:
            started = time.monotonic()
            rate = stage.rate(part) * min(1.0, (run.done + 1) / WARM_UP)
            run.set_rate(rate)
            meter.add(_step(run, store, stage), stage.turn(run.step)[1])
            run.step, run.done = run.step + 1, run.done + 1
            run.update_average()
            took = time.monotonic() - started
            run.seconds, run.total_s = run.seconds + took, run.total_s + took
            if meter.seconds() > every_s:
                place = {"stage": run.stage, "part": stage.part(run.step, run.seconds), "done": run.done, "lr": rate}
                sizes = ",".join(str(size) for size, _ in stage.sizes)
                left = left_s(run, time.monotonic() - begun, before)
                report({**place, "size": sizes, **meter.line(), "seconds": run.total_s, "left_s": left})
                meter = Meter()
            if time.monotonic() - saved > save_s:
                run.save()
                saved = time.monotonic()
        sam.eval()
        run.stage, run.step, run.seconds = run.stage + 1, 0, 0.0
        run.save()


def _step(run: Run, store: ImageStore, stage: Stage) -> tuple[Tensor, dict[int, Tensor]] | None:
    """The loss, and the IoU after so many clicks; None where the gradient was not finite and nothing was learned."""
    size, images = stage.turn(run.step)
    set_input_size(run.sam, size)
    with torch.no_grad():
        batch = draw_batch(store, run.rng, run.generator, size, images, stage.objects)
    sequence = Sequence.draw(run.rng, stage.clicks)
    loss, ious = batch_loss(run.sam, batch, sequence, run.generator, half=run.device.type == "cuda")
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in run.optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
    if not torch.isfinite(norm):
        return None
    run.optimiser.step()
    return loss.detach(), ious


def left_s(run: Run, seconds: float, before: int) -> float:
    """Seconds left: timed stages by their clock, the others by the pixels a second so far."""
    a_step = seconds / max(1, run.done - before)
    here = run.stages[run.stage]
    left = here.length - run.seconds if here.timed else (here.length - run.step) * a_step
    work = sum(size**2 * images for size, images in here.sizes) / len(here.sizes)
    for stage in run.stages[run.stage + 1 :]:
        pixels = sum(size**2 * images for size, images in stage.sizes) / len(stage.sizes)
        left += stage.length if stage.timed else stage.length * a_step * pixels / work
    return max(0.0, left)


class Meter:
    """Losses and IoUs since the last report; they stay on the device until it is asked."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._losses: list[Tensor] = []
        self._ious: dict[int, list[Tensor]] = {}
        self._images = 0
        self._skipped = 0

    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._begun

    def add(self, found: tuple[Tensor, dict[int, Tensor]] | None, images: int) -> None:
        """Count a step; one that was skipped (None) has no part in the means."""
        self._images += images
        if found is None:
            self._skipped += 1
            return
        self._losses.append(found[0])
        for clicks, iou in found[1].items():
            self._ious.setdefault(clicks, []).append(iou)

    def line(self) -> dict[str, Any]:
        """Means since it was made, skipped steps, and images a second; ``loss`` is None where all were skipped."""
        ious = {str(k): float(torch.stack(self._ious[k]).mean()) for k in REPORTED_CLICKS if k in self._ious}
        # Waits for the device, so the rate that follows is true.
        loss = float(torch.stack(self._losses).mean()) if self._losses else None
        return {"loss": loss, "iou": ious, "skipped": self._skipped, "images_per_s": self._images / self.seconds()}


def gather(data: Path | None, packs: list[Path], made: int, seed: int, workers: int) -> list[Source]:
    """All sources: the folder's sets, the packs, and so many procedural images, half of them on photos."""
    sources = [] if data is None else read_sets(data)
    for pack in packs:
        sources += read_pack(pack)
    if made:
        backgrounds = [s.image for s in sources[:: max(1, len(sources) // 48)]]
        sources += procedural_sources(made, seed, workers, backgrounds)
    return sources


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m livesam.adapter.training.pretrain", description="Train nano.")
    parser.add_argument("--data", type=Path, help="folder that holds the permissive sets")
    parser.add_argument("--pack", type=Path, nargs="+", default=[], help="packs of images, beside or instead of --data")
    parser.add_argument("--procedural", type=int, default=2000, help="so many procedural images, made at the start")
    parser.add_argument("--out", type=Path, required=True, help="run folder; an unfinished run in it goes on")
    parser.add_argument("--stages", nargs="+", default=list(DEFAULT_STAGES), help=FORM)
    parser.add_argument("--init", type=Path, help="weights to start from in place of the trunk's (safetensors)")
    parser.add_argument("--trunk", type=Path, help="EfficientNet-Lite0's ImageNet weights; else the package's")
    parser.add_argument("--freeze", type=int, default=0, help="so many stages of the trunk, and the stem, do not learn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, help="processes for procedural images")
    parser.add_argument("--report-s", type=float, default=10.0)
    parser.add_argument("--save-s", type=float, default=60.0)
    given = parser.parse_args(arguments)
    if given.data is None and not given.pack:
        parser.error("give --data DATA, the folder with the sets, or --pack PACK")
    device = torch.device(given.device)
    try:
        stages = [Stage.parse(s) for s in given.stages]
        run = Run(given.out, stages, given.seed, device, init=given.init, trunk=given.trunk, frozen_stages=given.freeze)
    except ValueError as error:
        parser.error(str(error))
    sources = gather(given.data, given.pack, given.procedural, given.seed, given.workers)
    store = ImageStore(sources, device)
    shares = ", ".join(f"{name} {share:.3f}" for name, share in sorted(store.shares.items()))
    sys.stderr.write(f"{len(sources)} images on {device}; drawn: {shares}\n")

    def report(line: dict[str, Any]) -> None:
        with (given.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        iou = " ".join(f"@{k} {v:.3f}" for k, v in line["iou"].items())
        loss = "none" if line["loss"] is None else f"{line['loss']:.3f}"
        skipped = f", {line['skipped']} steps skipped (gradient not finite)" if line["skipped"] else ""
        sys.stderr.write(
            f"stage {line['stage'] + 1}/{len(stages)} {line['part']:4.0%} step {line['done']} loss {loss} IoU {iou} "
            f"{line['images_per_s']:.0f} images/s{skipped}, {line['left_s'] / 60:.1f} min left\n"
        )

    train(run, store, report, given.report_s, given.save_s)


if __name__ == "__main__":
    main()
