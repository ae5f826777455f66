"""The tensor names of Hugging Face's ``SamModel`` and SAM's official ones, both ways. No number changes, only names.

Hugging Face keeps the positional encoding's matrix once outside (``shared_image_embedding``) and ties a second name
inside the prompt encoder to it; files hold one of the two or both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from livesam.engine.values.errors import CheckpointError

T = TypeVar("T")

_HF_ONLY = ("vision_encoder.", "prompt_encoder.point_embed.", "mask_decoder.upscale_conv1.")  # one of each part

OFFICIAL_POSITION = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
HF_POSITION = "shared_image_embedding.positional_embedding"
HF_POSITION_TIED = "prompt_encoder.shared_embedding.positional_embedding"

_MLP = "mask_decoder.output_hypernetworks_mlps.{n}"
_IOU = "mask_decoder.iou_prediction_head"
# Pairs of patterns (official, Hugging Face) for whole names; `{n}` is a number, `{x}` the rest of the name.
_PAIRS: tuple[tuple[str, str], ...] = (
    ("image_encoder.pos_embed", "vision_encoder.pos_embed"),
    ("image_encoder.patch_embed.proj.{x}", "vision_encoder.patch_embed.projection.{x}"),
    ("image_encoder.blocks.{n}.norm1.{x}", "vision_encoder.layers.{n}.layer_norm1.{x}"),
    ("image_encoder.blocks.{n}.norm2.{x}", "vision_encoder.layers.{n}.layer_norm2.{x}"),
    ("image_encoder.blocks.{n}.{x}", "vision_encoder.layers.{n}.{x}"),
    ("image_encoder.neck.0.{x}", "vision_encoder.neck.conv1.{x}"),
    ("image_encoder.neck.1.{x}", "vision_encoder.neck.layer_norm1.{x}"),
    ("image_encoder.neck.2.{x}", "vision_encoder.neck.conv2.{x}"),
    ("image_encoder.neck.3.{x}", "vision_encoder.neck.layer_norm2.{x}"),
    (OFFICIAL_POSITION, HF_POSITION),
    ("prompt_encoder.point_embeddings.{n}.{x}", "prompt_encoder.point_embed.{n}.{x}"),
    ("prompt_encoder.mask_downscaling.0.{x}", "prompt_encoder.mask_embed.conv1.{x}"),
    ("prompt_encoder.mask_downscaling.1.{x}", "prompt_encoder.mask_embed.layer_norm1.{x}"),
    ("prompt_encoder.mask_downscaling.3.{x}", "prompt_encoder.mask_embed.conv2.{x}"),
    ("prompt_encoder.mask_downscaling.4.{x}", "prompt_encoder.mask_embed.layer_norm2.{x}"),
    ("prompt_encoder.mask_downscaling.6.{x}", "prompt_encoder.mask_embed.conv3.{x}"),
    ("prompt_encoder.not_a_point_embed.{x}", "prompt_encoder.not_a_point_embed.{x}"),
    ("prompt_encoder.no_mask_embed.{x}", "prompt_encoder.no_mask_embed.{x}"),
    ("mask_decoder.transformer.norm_final_attn.{x}", "mask_decoder.transformer.layer_norm_final_attn.{x}"),
    ("mask_decoder.transformer.layers.{n}.norm{n}.{x}", "mask_decoder.transformer.layers.{n}.layer_norm{n}.{x}"),
    ("mask_decoder.transformer.{x}", "mask_decoder.transformer.{x}"),
    ("mask_decoder.iou_token.{x}", "mask_decoder.iou_token.{x}"),
    ("mask_decoder.mask_tokens.{x}", "mask_decoder.mask_tokens.{x}"),
    ("mask_decoder.output_upscaling.0.{x}", "mask_decoder.upscale_conv1.{x}"),
    ("mask_decoder.output_upscaling.1.{x}", "mask_decoder.upscale_layer_norm.{x}"),
    ("mask_decoder.output_upscaling.3.{x}", "mask_decoder.upscale_conv2.{x}"),
    # Three layers: Hugging Face names the outer two and counts those between from 0.
    (_MLP + ".layers.0.{x}", _MLP + ".proj_in.{x}"),
    (_MLP + ".layers.1.{x}", _MLP + ".layers.0.{x}"),
    (_MLP + ".layers.2.{x}", _MLP + ".proj_out.{x}"),
    (_IOU + ".layers.0.{x}", _IOU + ".proj_in.{x}"),
    (_IOU + ".layers.1.{x}", _IOU + ".layers.0.{x}"),
    (_IOU + ".layers.2.{x}", _IOU + ".proj_out.{x}"),
)


def is_hf(names: Iterable[str]) -> bool:
    """Whether these tensor names are Hugging Face's."""
    return any(name.startswith(_HF_ONLY) or name == HF_POSITION for name in names)


def to_hf(state: Mapping[str, T]) -> dict[str, T]:
    """Official names to Hugging Face's; the tied second name of the positional encoding is left out.

    Raises:
        ValueError: a name is not one of SAM's ViT models (``nano`` and ``vit_t`` have no Hugging Face class).
    """
    renamed: dict[str, T] = {}
    for name, value in state.items():
        other = _rename(name, _TO_HF)
        if other is None:
            raise ValueError(f"{name!r} has no name in Hugging Face's SamModel: only vit_b, vit_l and vit_h do")
        renamed[other] = value
    return renamed


def from_hf(state: Mapping[str, T]) -> dict[str, T]:
    """Hugging Face's names to the official ones. Where both positional names are given, the shared one is taken.

    Raises:
        CheckpointError: a name is not one of ``SamModel``.
    """
    renamed: dict[str, T] = {}
    for name, value in state.items():
        if name == HF_POSITION_TIED:
            renamed.setdefault(OFFICIAL_POSITION, value)
            continue
        other = _rename(name, _FROM_HF)
        if other is None:
            raise CheckpointError(f"the tensor {name!r} is not one of Hugging Face's SamModel")
        renamed[other] = value
    return renamed


def hf_config(
    embed_dim: int, depth: int, heads: int, global_blocks: Iterable[int], image_size: int = 1024, window: int = 14
) -> dict[str, Any]:
    """The ``config.json`` of a ``SamModel`` of this shape.

    ``layer_norm_eps`` of the mask decoder is 1e-5 as in the official code; Hugging Face's own files say 1e-6, which
    moves the logits in the fifth digit.
    """
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "vision_config": {
            "model_type": "sam_vision_model",
            "hidden_size": embed_dim,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "global_attn_indexes": list(global_blocks),
            "image_size": image_size,
            "patch_size": 16,
            "window_size": window,
            "output_channels": 256,
            "num_pos_feats": 128,
            "mlp_dim": 4 * embed_dim,
        },
        "prompt_encoder_config": {"model_type": "sam_prompt_encoder", "image_size": image_size, "patch_size": 16},
        "mask_decoder_config": {"model_type": "sam_mask_decoder", "layer_norm_eps": 1e-5},
    }


def _compile(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\{n\}", r"(\d+)").replace(r"\{x\}", r"([\w.]+)")
    return re.compile(escaped)


def _template(pattern: str) -> str:
    count = 0

    def number(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return rf"\g<{count}>"

    return re.sub(r"\{[nx]\}", number, pattern)


_Rules = tuple[tuple[re.Pattern[str], str], ...]
_TO_HF: _Rules = tuple((_compile(official), _template(hf)) for official, hf in _PAIRS)
_FROM_HF: _Rules = tuple((_compile(hf), _template(official)) for official, hf in _PAIRS)


def _rename(name: str, rules: _Rules) -> str | None:
    for pattern, template in rules:
        match = pattern.fullmatch(name)
        if match:
            return match.expand(template)
    return None
