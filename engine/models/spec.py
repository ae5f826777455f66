"""The five models by name: what they are. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from livesam.engine.models.download import OFFICIAL_FILES, OfficialFile

EMBEDDING_CHANNELS = 256
PATCH = 16
PIXEL_MEAN = (123.675, 116.28, 103.53)  # RGB, 0 to 255; segment_anything/build_sam.py
PIXEL_STD = (58.395, 57.12, 57.375)
DECODER_TENSORS = 120


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model by its name and size.

    Attributes:
        name: ``nano``, ``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``.
        image_size: side of the square encoder input in pixels.
        checkpoint: the official weights file, or None where the weights are bundled.
    """

    name: str
    image_size: int
    checkpoint: OfficialFile | None

    @property
    def embedding_hw(self) -> tuple[int, int]:
        """Height and width of the image embedding."""
        return (self.image_size // PATCH, self.image_size // PATCH)

    @property
    def low_res_hw(self) -> tuple[int, int]:
        """Height and width of the low-res logits and of a mask prompt."""
        return (self.image_size // 4, self.image_size // 4)


MODELS: dict[str, ModelSpec] = {
    "nano": ModelSpec("nano", 512, None),
    "vit_t": ModelSpec("vit_t", 1024, OFFICIAL_FILES["vit_t"]),
    "vit_b": ModelSpec("vit_b", 1024, OFFICIAL_FILES["vit_b"]),
    "vit_l": ModelSpec("vit_l", 1024, OFFICIAL_FILES["vit_l"]),
    "vit_h": ModelSpec("vit_h", 1024, OFFICIAL_FILES["vit_h"]),
}

# Models whose weights serve more than one input size; the others have just their own.
SIZES: dict[str, tuple[int, ...]] = {"nano": (512, 1024)}

# embed_dim, depth, heads, blocks with global attention; segment_anything/build_sam.py
VIT_SHAPES: dict[str, tuple[int, int, int, tuple[int, ...]]] = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}


def spec(name: str, size: int | None = None) -> ModelSpec:
    """The model of this name.

    Args:
        size: side of the square encoder input in pixels, 512 or 1024 for ``nano``; None for the model's usual one.

    Raises:
        ValueError: there is no such model, or not in this size; the message names those there are.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}: choose one of {', '.join(MODELS)}")
    model = MODELS[name]
    if size is None or size == model.image_size:
        return model
    allowed = SIZES.get(name, (model.image_size,))
    if size not in allowed:
        raise ValueError(f"{name} has no size {size!r}: it takes {' or '.join(map(str, allowed))} px")
    return replace(model, image_size=size)
