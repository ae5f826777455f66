"""Training nano from scratch: ``python -m livesam.adapter.pretrain --data DATA --out RUN``.

What a step learns is in ``click_training``, what it sees in ``training_data``. Stages grow the input from 128 to 256 to
512 px, because at 128 px the decoder finds the click within some hundreds of cheap steps, where it stays at empty masks
for far longer at 256.

A run folder holds ``checkpoint.pt`` (weights, average, optimiser, position in the stream; replaced atomically),
``log.jsonl`` (one line a report) and ``nano.safetensors`` (fp16 averaged weights, ready to be bundled). A killed run
goes on where the last checkpoint stood, with the same samples: everything random is a function of (seed, step).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from livesam.adapter.click_training import align_attention, set_input_size, train_step
from livesam.adapter.training_data import Sample, TrainingSamples, load_sources
from livesam.engine.atomic import atomic_write
from livesam.engine.models import build, load
from segment_anything.modeling import Sam
from torch.utils.data import DataLoader, Subset

REPORT_EVERY, SAVE_EVERY = 20, 40
WARM_UP = 100  # steps, at the start of the first stage only
EMA_DECAY = 0.998
CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """``steps`` optimiser steps at ``size`` px, of ``images`` x ``objects`` masks and at most ``clicks`` clicks."""

    size: int
    steps: int
    images: int
    objects: int
    clicks: int
    lr: float
    lr_end: float

    @classmethod
    def parse(cls, text: str) -> Stage:
        """From ``size:steps:images:objects:clicks:lr:lr_end``."""
        parts = text.split(":")
        if len(parts) != 7:
            raise ValueError(f"a stage is size:steps:images:objects:clicks:lr:lr_end, got {text!r}")
        size, steps, images, objects, clicks = (int(p) for p in parts[:5])
        return cls(size, steps, images, objects, clicks, float(parts[5]), float(parts[6]))

    def rate(self, step: int) -> float:
        """The learning rate at a step of this stage: cosine from ``lr`` to ``lr_end``."""
        return self.lr_end + (self.lr - self.lr_end) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


DEFAULT_STAGES = (
    "128:600:16:4:1:4e-4:4e-4",
    "128:2400:16:4:4:4e-4:3e-4",
    "256:3000:8:4:5:3e-4:5e-5",
    "512:300:4:4:6:1e-4:1e-5",
)


def batches(samples: TrainingSamples, stage: Stage, start: int, workers: int) -> Iterator[list[Sample]]:
    """The stage's batches from step ``start`` on, made ahead by worker processes."""
    indices = range(start * stage.images, stage.steps * stage.images)
    loader = DataLoader(
        Subset(samples, indices), batch_size=stage.images, num_workers=workers, collate_fn=list,
        prefetch_factor=4 if workers else None,
    )  # fmt: skip
    return iter(loader)


class Run:
    """A training run in a folder: what is saved, and how it goes on."""

    def __init__(self, out: Path, seed: int, device: torch.device, init: Path | None = None) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.seed, self.device = out, seed, device
        torch.manual_seed(seed)
        self.sam = build("nano").to(device)
        self.sam.image_encoder.to(memory_format=torch.channels_last)
        if init is None:
            align_attention(self.sam)
        else:
            self.sam.load_state_dict(load("nano", init).state_dict())
        self.average = deepcopy(self.sam).eval().requires_grad_(False)
        decay = [p for p in self.sam.parameters() if p.ndim > 1]
        plain = [p for p in self.sam.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98))
        self.stage, self.step, self.done, self.seconds = 0, 0, 0, 0.0
        self.checkpoint = out / "checkpoint.pt"
        if self.checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.sam.load_state_dict(state["sam"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        self.stage, self.step, self.done, self.seconds = (state[k] for k in ("stage", "step", "done", "seconds"))

    def save(self) -> None:
        """Replace the checkpoint and the exported weights, each in one rename."""
        state = {
            "sam": self.sam.state_dict(), "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(), "stage": self.stage, "step": self.step, "done": self.done,
            "seconds": self.seconds,
        }  # fmt: skip
        with atomic_write(self.checkpoint) as file:
            torch.save(state, file)
        write_weights(self.average, self.out / "nano.safetensors")

    def update_average(self) -> None:
        """Exponential moving average of the weights, warmed up so that the first steps do not linger."""
        decay = min(EMA_DECAY, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for slow, fast in zip(self.average.state_dict().values(), self.sam.state_dict().values(), strict=True):
                if slow.is_floating_point():
                    slow.lerp_(fast, 1 - decay)
                else:
                    slow.copy_(fast)


def write_weights(sam: Sam, path: Path) -> None:
    """Write all weights as fp16 safetensors with the flat official keys."""
    from safetensors.torch import save

    tensors = {
        k: v.half().contiguous() if v.is_floating_point() else v.contiguous() for k, v in sam.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(save(tensors))


def train(
    data: Path,
    out: Path,
    stages: list[Stage],
    seed: int,
    device: torch.device,
    workers: int,
    init: Path | None,
    report: Any,
) -> None:
    """Run all stages from wherever the folder stands; ``report(dict)`` is called every 20 steps."""
    run = Run(out, seed, device, init)
    sources = load_sources(data)
    total = sum(s.steps * s.images * s.size**2 for s in stages)
    while run.stage < len(stages):
        stage = stages[run.stage]
        set_input_size(run.sam, stage.size)
        run.sam.train()
        samples = TrainingSamples(sources, stage.size, stage.objects, seed * 1000 + run.stage)
        recent: list[tuple[float, dict[int, float]]] = []
        clock, begun = time.monotonic(), run.step
        for batch in batches(samples, stage, run.step, workers):
            rate = stage.rate(run.step) * min(1.0, (run.done + 1) / WARM_UP)
            for group in run.optimiser.param_groups:
                group["lr"] = rate
            rng = np.random.default_rng((seed, run.stage, run.step))
            loss, ious = train_step(run.sam, batch, stage.clicks, rng, device)
            run.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(run.sam.parameters(), CLIP)
            if torch.isfinite(norm):
                run.optimiser.step()
            run.step, run.done = run.step + 1, run.done + 1
            run.update_average()
            recent.append((float(loss.detach()), ious))
            if run.step % REPORT_EVERY == 0:
                elapsed = time.monotonic() - clock
                speed = (run.step - begun) / elapsed
                ahead = (stage.steps - run.step) * stage.images * stage.size**2
                ahead += sum(s.steps * s.images * s.size**2 for s in stages[run.stage + 1 :])
                left = ahead / (stage.images * stage.size**2) / speed
                line = {
                    "stage": run.stage, "size": stage.size, "step": run.step, "steps": stage.steps, "done": run.done,
                    "lr": rate, "loss": float(np.mean([r[0] for r in recent])), "images_per_s": speed * stage.images,
                    "iou": {str(k): float(np.mean([r[1][k] for r in recent if k in r[1]]))
                            for k in (1, 3, 5, 10) if any(k in r[1] for r in recent)},
                    "part": 1 - ahead / total, "left_s": left, "seconds": run.seconds + elapsed,
                }  # fmt: skip
                with (out / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                report(line)
                recent.clear()
            if run.step % SAVE_EVERY == 0:
                run.seconds += time.monotonic() - clock
                run.save()
                clock, begun = time.monotonic(), run.step
        run.seconds += time.monotonic() - clock
        run.stage, run.step = run.stage + 1, 0
        run.save()


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m livesam.adapter.pretrain", description="Train nano from scratch.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the permissive sets")
    parser.add_argument("--out", type=Path, required=True, help="run folder; an unfinished run in it is resumed")
    parser.add_argument(
        "--stages", nargs="+", default=list(DEFAULT_STAGES), help="size:steps:images:objects:clicks:lr:lr_end"
    )
    parser.add_argument("--init", type=Path, help="weights to start from (safetensors)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=max(1, min(16, (os.cpu_count() or 2) - 1)))
    given = parser.parse_args(arguments)

    def report(line: dict[str, Any]) -> None:
        iou = " ".join(f"IoU@{k} {v:.3f}" for k, v in line["iou"].items())
        sys.stderr.write(
            f"{line['size']} px {line['step']}/{line['steps']} loss {line['loss']:.3f} {iou} lr {line['lr']:.1e} "
            f"{line['images_per_s']:.1f} img/s, {line['left_s'] / 60:.0f} min left\n"
        )

    train(
        given.data, given.out, [Stage.parse(s) for s in given.stages], given.seed, torch.device(given.device),
        given.workers, given.init, report,
    )  # fmt: skip


if __name__ == "__main__":
    main()
