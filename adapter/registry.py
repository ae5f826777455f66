"""Methods by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from livesam.adapter.method import (
    PAPER_PRESETS,
    AdaptationConfig,
    DcttaConfig,
    FrozenConfig,
    LiveConfig,
    PaperConfig,
)

if TYPE_CHECKING:
    from livesam.adapter.method import AdaptationMethod
    from livesam.adapter.torch_decoder import GiveWay
    from segment_anything.modeling import Sam

METHODS = ("frozen", "paper", "dctta", "live")


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
    if isinstance(config, FrozenConfig):
        from livesam.adapter.methods.frozen import FrozenMethod

        return FrozenMethod(sam, config, device=device, give_way=give_way)
    if isinstance(config, PaperConfig):
        from livesam.adapter.methods.paper import PaperMethod

        return PaperMethod(sam, config, name=name, device=device, give_way=give_way)
    if isinstance(config, DcttaConfig):
        from livesam.adapter.methods.dctta import DcttaMethod

        return DcttaMethod(sam, config, device=device, give_way=give_way)
    from livesam.adapter.methods.live import LiveMethod

    return LiveMethod(sam, config, device=device, give_way=give_way)


def config_of(name: str, **overrides: Any) -> AdaptationConfig:
    """The configuration that ``create`` would use.

    Raises:
        ValueError: there is no such method, preset or field.
    """
    family, _, preset = name.partition("/")
    if family not in METHODS or (preset and (family != "paper" or preset not in PAPER_PRESETS)):
        presets = ", ".join(f"paper/{p}" for p in PAPER_PRESETS)
        raise ValueError(f"unknown method {name!r}: choose one of {', '.join(METHODS)}, {presets}")
    base: AdaptationConfig
    if family == "frozen":
        base = FrozenConfig()
    elif family == "paper":
        base = PAPER_PRESETS[preset or "full-erosion"]
    elif family == "dctta":
        base = DcttaConfig()
    else:
        base = LiveConfig()
    unknown = sorted(set(overrides) - set(base.__dataclass_fields__))
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}: it has {', '.join(base.__dataclass_fields__)}")
    return replace(base, **overrides)
