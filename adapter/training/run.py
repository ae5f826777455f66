"""A training run in a folder: what is saved, and how a killed one goes on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from livesam.adapter.training.stage import Stage
from livesam.adapter.training.trunk import imagenet_file, load_imagenet
from livesam.engine.files.atomic import atomic_write
from livesam.engine.models.loading import build, load
from segment_anything.modeling import Sam
from torch import Tensor

EMA_DECAY = 0.999
TRUNK_RATE = 0.5  # the trunk learns at half the rate: it has seen a million photos
WEIGHT_DECAY = 0.03
PLACE = ("stage", "step", "done", "seconds", "total_s")
TRUNK = ("image_encoder.stem", "image_encoder.stages")


class Run:
    """Weights, their average, optimiser, random state and place in the stages.

    Raises:
        ValueError: the folder holds a run with other stages or another seed.

    Attributes:
        sam: what learns; average: what is kept.
        step, seconds: done in the present stage; done, total_s: in all.
        rng, generator: everything random comes from these two, on the host and on the device.
    """

    def __init__(
        self, out: Path, stages: Sequence[Stage], seed: int, device: torch.device, *, init: Path | None = None,
        trunk: Path | None = None, frozen_stages: int = 0,
    ) -> None:  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.stages, self.seed, self.device = out, tuple(stages), seed, device
        self.checkpoint, self.weights = out / "checkpoint.pt", out / "nano.safetensors"
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        resumed = self.checkpoint.exists()
        self.sam = build("nano", seed=seed) if init is None else load("nano", init)
        if init is None and not resumed:
            align_attention(self.sam)
            load_imagenet(self.sam.image_encoder, trunk or imagenet_file())
        self.sam.to(device).requires_grad_(True)
        self.frozen = [self.sam.image_encoder.stem, *self.sam.image_encoder.stages[:frozen_stages]]
        self.frozen = self.frozen if frozen_stages else []
        for part in self.frozen:
            part.requires_grad_(False)
        self.average = deepcopy(self.sam).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=1e-4, betas=(0.9, 0.98), fused=device.type == "cuda")
        self.stage, self.step, self.done, self.seconds, self.total_s = 0, 0, 0, 0.0, 0.0
        if resumed:
            self._resume()
        self._fast = [v for v in self.sam.state_dict().values() if v.is_floating_point()]
        self._slow = [v for v in self.average.state_dict().values() if v.is_floating_point()]

    def _groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.sam.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((name.startswith(TRUNK), parameter.ndim > 1), []).append(parameter)
        return [
            {"params": found, "weight_decay": WEIGHT_DECAY * matrix, "scale": TRUNK_RATE if trunk else 1.0}
            for (trunk, matrix), found in groups.items()
        ]

    def train(self) -> Sam:
        """The model in training mode, its frozen stages in evaluation mode."""
        self.sam.train()
        for part in self.frozen:
            part.eval()
        return self.sam

    def set_rate(self, rate: float) -> None:
        """The learning rate from here on; the trunk's is half of it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]

    def update_average(self) -> None:
        """Exponential moving average of the weights, warmed up so that the first steps do not linger."""
        torch._foreach_lerp_(self._slow, self._fast, 1 - min(EMA_DECAY, (1 + self.done) / (10 + self.done)))

    def save(self) -> None:
        """Replace the checkpoint and the averaged weights (fp16, ready to be bundled), each in one rename."""
        from safetensors.torch import save

        state = {
            "sam": self.sam.state_dict(), "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(), "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(),
            "place": {k: getattr(self, k) for k in PLACE}, "arguments": self._arguments(),
        }  # fmt: skip
        with atomic_write(self.checkpoint) as file:
            torch.save(state, file)
        half = {k: v.half() if v.is_floating_point() else v for k, v in self.average.state_dict().items()}
        with atomic_write(self.weights) as file:
            file.write(save({k: v.cpu().contiguous() for k, v in half.items()}))

    def _arguments(self) -> str:
        return f"--stages {' '.join(map(str, self.stages))} --seed {self.seed}"

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        begun, now = state.get("arguments", "arguments that its checkpoint does not name"), self._arguments()
        if begun != now:
            raise ValueError(f"the run in {self.out} was begun with {begun}, got {now}: give those, or another --out")
        self.sam.load_state_dict(state["sam"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"].cpu())
        for name in PLACE:
            setattr(self, name, state["place"][name])


def align_attention(sam: Sam) -> None:
    """Begin with attention that already looks where the click is.

    Queries and keys carry the same positional encoding, but through two random projections their product says nothing
    about distance, and a new decoder stays at empty masks until it does. With equal projections it is the kernel of
    that encoding, largest at equal positions.
    """
    transformer = sam.mask_decoder.transformer
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    with torch.no_grad():
        for attention in attentions:
            attention.q_proj.weight.mul_(1.7)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.q_proj.bias.zero_()
            attention.k_proj.bias.zero_()
        for embedding in (*sam.prompt_encoder.point_embeddings, sam.prompt_encoder.not_a_point_embed):
            embedding.weight.mul_(0.3)
