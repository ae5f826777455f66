"""What is inside a checkpoint: the one rule by which every command finds SAM's tensors in a file.

Training programs wrap weights in dictionaries (``{"step": 9, "model": {...}, "optimizer": {...}}``), compilers and data
parallelism put prefixes before names (``module.``, ``_orig_mod.``), and modules that hold SAM theirs (``net.sam.``).

* Dictionaries are searched, however deep; what is no tensor is passed over.
* ``module`` and its like are taken out of names wherever they stand. What is left before ``image_encoder``,
  ``prompt_encoder`` or ``mask_decoder`` is a prefix, and names with one prefix in one dictionary belong together. A
  dictionary without any of these is a mask decoder's if it has its names.
* Of several such sets the one with the most parts of SAM is taken; of those the first that is no moving average
  (``ema``); of those the first.
* Other tensors of that dictionary count as its own, so that a checkpoint with extra layers is not taken for a plain
  one. But single numbers by its side (``step``) and SAM's two constants are passed over.
* Hugging Face's names become the official ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from livesam.engine.models.hf_layout import from_hf, is_hf
from livesam.engine.values.errors import CheckpointError

T = TypeVar("T")

PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")
MAX_DEPTH = 5
MAX_ENTRIES = 100_000

_ROOTS = (*PARTS, "vision_encoder", "shared_image_embedding")
_DECODER = (
    *("iou_token", "mask_tokens", "transformer", "output_upscaling", "output_hypernetworks_mlps"),
    *("iou_prediction_head", "upscale_conv1", "upscale_conv2", "upscale_layer_norm"),
)
_TRANSPARENT = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_AVERAGES = {"ema", "swa", "averaged", "average", "shadow", "teacher"}
_CONSTANTS = ("pixel_mean", "pixel_std")


@dataclass(frozen=True, slots=True)
class Contents(Generic[T]):
    """SAM's tensors in a file.

    Attributes:
        tensors: by official names; names that are none are there too.
        place: the dictionaries and prefix that they stood under, e.g. ``model.net``; empty for a plain file.
        layout: whose names the file has.
        beside: what else the file holds, by its outermost names.
    """

    tensors: dict[str, T]
    place: str
    layout: str
    beside: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Which of SAM's three parts there are."""
        found = {name.partition(".")[0] for name in self.tensors}
        return tuple(part for part in PARTS if part in found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the tensors were found."""
        notes = [f"its weights are under {self.place!r}"] if self.place else []
        if self.beside:
            more = ", ..." if len(self.beside) > 5 else ""
            notes.append(f"beside the weights it holds {', '.join(map(repr, self.beside[:5]))}{more}, not looked at")
        return tuple(notes)


def find_weights(loaded: Mapping[Any, Any]) -> Contents[Any] | None:
    """SAM's tensors in what a weights file holds; None where there are none.

    Args:
        loaded: tensors, or anything with a ``shape``, by name, and dictionaries of such.

    Raises:
        CheckpointError: there are too many entries, or two tensors of one name.
    """
    best: tuple[tuple[bool, ...], _Found] | None = None
    total = 0
    for path, entries in _dictionaries(loaded, ()):
        total += len(entries)
        if total > MAX_ENTRIES:
            raise CheckpointError(f"it holds more than {MAX_ENTRIES} entries")
        for found in _sets(path, {str(k): v for k, v in entries.items() if hasattr(v, "shape")}):
            rank = found.rank
            if best is None or rank > best[0]:
                best = rank, found
    return None if best is None else _contents(best[1], loaded)


@dataclass(frozen=True, slots=True)
class _Found:
    """Tensors with one prefix in one dictionary, by what is left of their names, and the rest of that dictionary."""

    path: tuple[str, ...]
    prefix: tuple[str, ...]
    tensors: dict[str, Any]
    rest: dict[str, Any]

    @property
    def rank(self) -> tuple[bool, ...]:
        names = {name.partition(".")[0] for name in self.tensors}
        words = {word for part in (*self.path, *self.prefix) for word in re.split(r"[_\W]+", part.lower())}
        return ("mask_decoder" in names, bool(names & {"image_encoder", "vision_encoder"}), not words & _AVERAGES)


def _dictionaries(
    value: Mapping[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    yield path, value
    if len(path) < MAX_DEPTH:
        for key, inner in value.items():
            if isinstance(inner, Mapping):
                yield from _dictionaries(inner, (*path, str(key)))


def _sets(path: tuple[str, ...], tensors: dict[str, Any]) -> list[_Found]:
    names = {name: tuple(part for part in name.split(".") if part not in _TRANSPARENT) for name in tensors}
    bare = not any(set(parts) & set(_ROOTS) for parts in names.values())
    roots, before = (_DECODER, ("mask_decoder",)) if bare else (_ROOTS, ())
    sets: dict[tuple[str, ...], dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    for name, parts in names.items():
        at = next((i for i, part in enumerate(parts[:-1]) if part in roots), None)
        if at is None:
            rest[name] = tensors[name]
            continue
        group = sets.setdefault(parts[:at], {})
        short = ".".join((*before, *parts[at:]))
        if short in group:
            raise CheckpointError(f"it holds the tensor {short!r} twice")
        group[short] = tensors[name]
    if bare:  # `transformer` alone is anybody's
        sets = {prefix: group for prefix, group in sets.items() if "mask_decoder.iou_token.weight" in group}
    return [_Found(path, prefix, group, rest) for prefix, group in sets.items()]


def _contents(found: _Found, loaded: Mapping[Any, Any]) -> Contents[Any]:
    tensors, layout = dict(found.tensors), "official names"
    if is_hf(tensors):
        tensors, layout = from_hf(tensors), "Hugging Face's names"
    for name, value in found.rest.items():
        short = name.rpartition(".")[2]
        counter = "." not in name and math.prod(value.shape) == 1
        if not counter and short not in _CONSTANTS:
            tensors[name] = value
    outer = found.path[0] if found.path else ""
    beside = tuple(str(key) for key, value in loaded.items() if str(key) != outer and not hasattr(value, "shape"))
    return Contents(tensors, ".".join((*found.path, *found.prefix)), layout, beside)
