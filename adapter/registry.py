"""Methods by name. A new one is a file in ``methods`` with its own configuration, and its line in ``METHODS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from livesam.adapter.methods.dctta import DcttaConfig, DcttaMethod
from livesam.adapter.methods.frozen import FrozenConfig, FrozenMethod
from livesam.adapter.methods.live import LiveConfig, LiveMethod
from livesam.adapter.methods.paper import PAPER_PRESETS, PaperConfig, PaperMethod

if TYPE_CHECKING:
    from livesam.adapter.method import AdaptationConfig, AdaptationMethod
    from livesam.engine.models.mask_decoder import GiveWay
    from segment_anything.modeling import Sam

Make: TypeAlias = "Callable[..., AdaptationMethod]"  # (sam, config, *, device, give_way)

METHODS: dict[str, tuple[AdaptationConfig, Make]] = {
    "frozen": (FrozenConfig(), FrozenMethod),
    "paper": (PaperConfig(), PaperMethod),
    "dctta": (DcttaConfig(), DcttaMethod),
    "live": (LiveConfig(), LiveMethod),
    **{f"paper/{name}": (config, partial(PaperMethod, name=f"paper/{name}")) for name, config in PAPER_PRESETS.items()},
}


def create(
    name: str, sam: Sam, *, device: str = "cpu", give_way: GiveWay | None = None, **overrides: Any
) -> AdaptationMethod:
    """A method by name: ``frozen``, ``paper``, ``paper/PRESET``, ``dctta`` or ``live``. The model is copied.

    Args:
        sam: the model whose prompt encoder and mask decoder are adapted; its image encoder is not touched.
        give_way: called several times in each pass through the decoder; it waits while clicks are being answered.
        overrides: fields of the method's config to change, e.g. ``seed=1``.

    Raises:
        ValueError: there is no such method, preset or field; the message names those there are.
    """
    config = config_of(name, **overrides)
    return METHODS[name][1](sam, config, device=device, give_way=give_way)


def config_of(name: str, **overrides: Any) -> AdaptationConfig:
    """The configuration that ``create`` would use.

    Raises:
        ValueError: there is no such method, preset or field.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: choose one of {', '.join(METHODS)}")
    base = METHODS[name][0]
    unknown = sorted(set(overrides) - set(base.__dataclass_fields__))
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}: it has {', '.join(base.__dataclass_fields__)}")
    return replace(base, **overrides)


def obeys(config: AdaptationConfig) -> bool:
    """Whether a method's answers are to be corrected where they contradict clicks (``engine/view/obey.py``)."""
    return config.obey


def uses_size_prior(config: AdaptationConfig) -> bool:
    """Whether first clicks are to be looked at in a window of the objects' size (``engine/view/size_prior.py``)."""
    return config.size_prior
