"""What is exported: a base model with the decoder weights that were learned on it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import weights_hash
from livesam.engine.models.adapted import base_hash, read_adapted
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError
from livesam.export.files.manifest import Manifest, Tensor, versions

if TYPE_CHECKING:
    from livesam.engine.models.spec import ModelSpec
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam

Float = npt.NDArray[np.float32]

# What is written, by the format's name.
KINDS = {
    "sam-pth": "checkpoint",
    "sam-onnx": "decoder",
    "cvat-onnx": "decoder",
    "cvat": "model",
    "x-anylabeling": "model",
    "hf": "model",
    "openvino": "decoder",
    "tensorrt": "plan",
    "safetensors": "decoder",
    "triton": "repository",
}


@dataclass(frozen=True, eq=False)
class DecoderSource:
    """A base model and the decoder to write.

    Attributes:
        sam: the model with ``weights`` in its mask decoder, float32 on the CPU, eval mode. Its image encoder may be
            empty, where the format does not need it.
        spec: what the model is.
        weights: the decoder's 120 tensors, official names without ``mask_decoder.``.
        base: those of the base model.
        info: where the weights come from; ``method`` is ``base`` when nothing was learned.
    """

    sam: Sam
    spec: ModelSpec
    weights: DecoderWeights
    base: DecoderWeights
    info: AdaptedInfo

    @classmethod
    def open(
        cls,
        model: str,
        *,
        size: int | None = None,
        checkpoint: Path | None = None,
        adapted: Path | None = None,
        weights: DecoderWeights | None = None,
        encoder: bool = True,
    ) -> DecoderSource:
        """Load a base model by name and put an adapted decoder, or weights, into it.

        Args:
            size: of the model; None for that at which ``adapted`` was learned, or the model's usual one.
            encoder: False leaves the image encoder's weights unread.

        Raises:
            ValueError: both ``adapted`` and ``weights`` are given, the model or its size is unknown, or the weights do
                not fit.
            CheckpointError: a file is missing, damaged, or belongs to another base.
        """
        from livesam.engine.models import loading as models
        from livesam.engine.models.spec import spec as spec_of

        spec = spec_of(model, size)
        if adapted is not None and weights is not None:
            raise ValueError("give either an adapted file or weights, not both")
        info = None
        decoder = None if adapted is None else read_adapted(Path(adapted))
        if decoder is not None:
            if decoder.info.model != model:
                raise CheckpointError(
                    f"{adapted} was adapted from {decoder.info.model}, but the base is {model}: name the model it fits"
                )
            info = decoder.info
            spec = spec_of(model, info.size_for(model, size))
        sam = models.load(model, checkpoint, spec.image_size, encoder=encoder)
        if decoder is not None:
            weights = decoder.resolve(models.decoder_weights(sam))
        return cls.of(sam, spec, weights=weights, info=info)

    @classmethod
    def of(
        cls, sam: Sam, spec: ModelSpec, *, weights: DecoderWeights | None = None, info: AdaptedInfo | None = None
    ) -> DecoderSource:
        """The same from a model in memory, which is left as it is: only the decoder is copied.

        Raises:
            ValueError: the weights have other names or shapes than the model's decoder, or are not finite.
        """
        from livesam.engine.models.loading import decoder_weights

        base = decoder_weights(sam)
        chosen = base if weights is None else _checked(weights, base)
        if weights is None or weights_hash(dict(chosen)) == weights_hash(base):
            info = AdaptedInfo(model=spec.name, method="base")
        elif info is None:
            info = AdaptedInfo(model=spec.name, method="unnamed", image_size=spec.image_size)
        return cls(with_decoder(sam, chosen), spec, chosen, base, info)

    def decoder_state(self) -> dict[str, Float]:
        """The prompt encoder's and mask decoder's tensors by their official names, float32."""
        state = {
            f"prompt_encoder.{key}": value.detach().float().cpu().numpy()
            for key, value in self.sam.prompt_encoder.state_dict().items()
        }
        return state | {f"mask_decoder.{key}": np.asarray(value, np.float32) for key, value in self.weights.items()}

    def manifest(
        self,
        format_name: str,
        *,
        files: Mapping[str, str],
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        parity: Mapping[str, Any],
        precision: str = "fp32",
        opset: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """The manifest of a file or folder in which these weights were written."""
        info = self.info
        return Manifest(
            kind=KINDS[format_name],
            model=self.spec.name,
            precision=precision,
            opset=opset,
            files=dict(files),
            inputs=dict(inputs),
            outputs=dict(outputs),
            image_size=self.spec.image_size,
            weights_hash=weights_hash(dict(self.weights)),
            parity=dict(parity),
            versions=versions(("livesam", "onnx", "torch", "onnxruntime", "openvino", "transformers", "safetensors")),
            options={
                "format": format_name,
                "base_sha256": base_hash(self.base),
                "method": info.method,
                "domain": info.domain,
                "learned_at": info.image_size,
                "counts": dict(info.counts),
                "metrics": dict(info.metrics),
                **(options or {}),
            },
        )


def with_decoder(sam: Sam, weights: DecoderWeights) -> Sam:
    """A ``Sam`` that shares everything with ``sam`` but the mask decoder, which has these weights."""
    import torch

    clone = copy.copy(sam)
    clone._modules = dict(sam._modules)  # copy.copy shares the dict, and would change the original's decoder
    clone.mask_decoder = copy.deepcopy(sam.mask_decoder)
    clone.mask_decoder.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    return clone.eval()


def _checked(weights: DecoderWeights, base: DecoderWeights) -> dict[str, Float]:
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in base.items()}:
        raise ValueError(f"a decoder needs the {len(base)} tensors of SAM's mask decoder by their official names")
    checked = {key: np.ascontiguousarray(value, np.float32) for key, value in weights.items()}
    for key, value in checked.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{key} holds NaN or infinity: export an earlier version")
    return checked
