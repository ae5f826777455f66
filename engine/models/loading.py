"""The five models by name: how they are built and loaded (``engine/models/spec.py``: what they are)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.places import checkpoints_folder
from livesam.engine.models.spec import (
    EMBEDDING_CHANNELS,
    PATCH,
    PIXEL_MEAN,
    PIXEL_STD,
    VIT_SHAPES,
    ModelSpec,
    spec,
)
from livesam.engine.values.errors import CheckpointError

if TYPE_CHECKING:
    from segment_anything.modeling import Sam
    from torch import Tensor, nn

NANO_WEIGHTS = "nano.safetensors"


def build(name: str, size: int | None = None, *, seed: int = 0) -> Sam:
    """The model with random weights, float32 on the CPU, in eval mode; works with ``SamPredictor``.

    The same seed gives the same weights, and torch's global generator is left as it was. Tensors that the reference
    starts at a constant (position biases, normalisation statistics) are random too, so that nothing which depends on
    them can go wrong unseen.

    Raises:
        ValueError: there is no such model, or not in this size.
    """
    import torch

    model = spec(name, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = assemble(_encoder(model), model.image_size)
        randomise_constants(sam)
    return sam


def load(name: str, checkpoint: Path | None = None, size: int | None = None, *, encoder: bool = True) -> Sam:
    """The model with the weights of a checkpoint: an official ``.pth``/``.pt``, safetensors or a Hugging Face folder.

    When ``checkpoint`` is None, ``nano`` takes its bundled weights and the others what ``livesam download`` fetched.
    Tensors are mapped from the file where its layout allows, so a vit_h needs its 2.5 GB once, not twice.

    Args:
        size: as in ``spec``; the same weights serve all sizes of a model.
        encoder: False leaves the image encoder's weights in the file, unread: for work on the decoder alone. The
            encoder is then on torch's meta device and cannot be run.

    Raises:
        ValueError: there is no such model, or not in this size.
        CheckpointError: there is no checkpoint, or it is damaged, unsafe or of another model.
    """
    from livesam.engine.models.checkpoints import check_file, read_checkpoint

    model = spec(name, size)
    path = checkpoint
    if path is None:
        path = bundled_nano() if name == "nano" else downloaded(name)
    if path is None:
        official = model.checkpoint
        where = ""
        if official is not None:
            where = f"run `livesam download {name}`, or get {official.filename} from {official.url} and "
        raise CheckpointError(f"{name} has no bundled weights and no checkpoint was given: {where}pass its path")
    check_file(Path(path), name)  # takes milliseconds, torch seconds
    import torch

    with torch.device("meta"):  # no memory and no random numbers for weights that the file replaces
        sam = assemble(_encoder(model), model.image_size)
    skip = None if encoder else "image_encoder."
    return fill(sam, read_checkpoint(Path(path), shapes_of(sam), name, skip=skip))


def resized(sam: Sam, model: ModelSpec, size: int) -> Sam:
    """The same weights, shared and not copied, in another size of the model.

    Raises:
        ValueError: the model has no such size.
    """
    import torch

    other = spec(model.name, size)
    with torch.device("meta"):
        empty = assemble(_encoder(other), other.image_size)
    return fill(empty, dict(sam.state_dict()))


def state_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The model's tensor names and shapes, without making its weights.

    Raises:
        ValueError: there is no such model.
    """
    import torch

    model = spec(name)
    with torch.device("meta"):
        return shapes_of(assemble(_encoder(model), model.image_size))


def shapes_of(sam: Sam) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a model's state dict."""
    return {key: tuple(value.shape) for key, value in sam.state_dict().items()}


def split(sam: Sam) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """The model's tensors as (image encoder, prompt encoder, mask decoder), keys without their prefix, not copied."""
    return (
        dict(sam.image_encoder.state_dict()),
        dict(sam.prompt_encoder.state_dict()),
        dict(sam.mask_decoder.state_dict()),
    )


def decoder_weights(sam: Sam) -> dict[str, npt.NDArray[np.float32]]:
    """A copy of the mask decoder's 120 tensors as float32 arrays, by their official names without ``mask_decoder.``."""
    return {
        key: np.array(value.detach().float().cpu().numpy(), dtype=np.float32, order="C", copy=True)
        for key, value in sam.mask_decoder.state_dict().items()
    }


def assemble(image_encoder: nn.Module, image_size: int) -> Sam:
    """A ``Sam`` in eval mode from any encoder with 256 output channels at stride 16, and the official other parts."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    side = image_size // PATCH
    sam = Sam(
        image_encoder=image_encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=EMBEDDING_CHANNELS,
            image_embedding_size=(side, side),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=EMBEDDING_CHANNELS, mlp_dim=2048, num_heads=8),
            transformer_dim=EMBEDDING_CHANNELS,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
    return sam.eval()


def vit_encoder(
    embed_dim: int, depth: int, heads: int, global_blocks: tuple[int, ...], image_size: int = 1024, window: int = 14
) -> nn.Module:
    """An image encoder of SAM's ViT class, of any size; ``image_size`` is a multiple of 16."""
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT
    from torch import nn

    encoder: nn.Module = ImageEncoderViT(
        depth=depth,
        embed_dim=embed_dim,
        img_size=image_size,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=heads,
        patch_size=PATCH,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=global_blocks,
        window_size=window,
        out_chans=EMBEDDING_CHANNELS,
    )
    return encoder


def fill(sam: Sam, state: dict[str, Tensor]) -> Sam:
    """Put checked tensors into a model that was assembled on the meta device, without copying them.

    All of them, or all but the image encoder's, which then stays there.
    """
    import torch

    whole = any(key.startswith("image_encoder.") for key in state)
    missing, _ = sam.load_state_dict(state, strict=whole, assign=True)
    if lost := [key for key in missing if not key.startswith("image_encoder.")]:
        raise ValueError(f"the state lacks {len(lost)} tensors, {lost[0]} among them")
    # These two are not in the state dict, so they are still on the meta device.
    sam.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(-1, 1, 1), persistent=False)
    sam.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(-1, 1, 1), persistent=False)
    return sam.eval()


def randomise_constants(module: nn.Module) -> None:
    """Draw the tensors that the reference initialises to a constant from torch's generator.

    Zero position embeddings and unit normalisation would make many wrong exports look right.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("pos_embed", "rel_pos_h", "rel_pos_w", "attention_biases")):
                parameter.normal_(std=0.2)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(std=0.1)
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 1.5)


def _encoder(model: ModelSpec) -> nn.Module:
    if model.name == "nano":
        from livesam.engine.models.nano import NanoEncoder

        encoder: nn.Module = NanoEncoder(model.image_size)
        return encoder
    if model.name == "vit_t":
        from livesam.engine.models.tinyvit import TinyViT

        return TinyViT()
    embed_dim, depth, heads, global_blocks = VIT_SHAPES[model.name]
    return vit_encoder(embed_dim, depth, heads, global_blocks, model.image_size)


def downloaded(name: str) -> Path | None:
    """The official weights file of this model where ``livesam download`` has put it, None where it is not there.

    Raises:
        ValueError: there is no such model.
    """
    official = spec(name).checkpoint
    if official is None:
        return None
    path = checkpoints_folder() / official.filename
    return path if path.is_file() else None


def bundled_nano() -> Path:
    """The weights file of nano that comes with livesam.

    Raises:
        CheckpointError: this installation lacks it.
    """
    path = Path(str(resources.files("livesam.engine.models.weights") / NANO_WEIGHTS))
    if not path.is_file():
        raise CheckpointError(
            f"this installation has no bundled nano weights ({NANO_WEIGHTS}): reinstall livesam, or pass a checkpoint"
        )
    return path
