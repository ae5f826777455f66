"""A predictor by its method's name, and the details that belong into its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.adapter.registry import create, obeys, uses_size_prior
from livesam.benchmarks.quality.predictors import DecoderPredictor, MethodPredictor, TokenRule
from livesam.benchmarks.quality.protocol import Predictor
from livesam.engine.view.look import PLAIN, Look

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource
    from livesam.export.opening import Opening


def open_predictor(
    method: str,
    opening: Opening,
    *,
    adapted: Path | None = None,
    seed: int = 0,
    token: str = "official",
    look: Look = PLAIN,
    overrides: Mapping[str, Any] | None = None,
    embeddings: Path | None = None,
) -> tuple[Predictor, dict[str, Any]]:
    """A predictor by its method's name, and the details that belong into its result.

    Args:
        method: ``grabcut``, ``frozen``, or a name that ``livesam.adapter.registry.create`` takes.
        opening: the model; without a size it takes that at which ``adapted`` was learned. Its runtime is ``torch`` or,
            for ``frozen``, any that ``livesam.export.opening`` offers.
        adapted: an adapted decoder's file, made on that base; the method starts, and resets, to it.
        look: how answers are looked for and drawn; `live` obeys clicks and has a size prior anyway.
        overrides: numbers of the method's configuration to change.
        embeddings: folder in which embeddings are kept from one run to the next.

    Raises:
        ValueError: an unknown method, model, token rule or setting, or a runtime that the method cannot learn on.
        CheckpointError: the weights or the adapted decoder are missing, damaged, or do not belong together.
    """
    if token not in ("official", "single"):
        raise ValueError(f"the token rule is official or single, got {token!r}")
    rule: TokenRule = "single" if token == "single" else "official"
    if method == "grabcut":
        return _grabcut(adapted, look, overrides)
    if look.size_prior and not look.zoom:
        raise ValueError("the size prior chooses a window: it needs zoom")
    if opening.runtime != "torch":
        if method != "frozen" or overrides:
            raise ValueError(f"{method} learns in PyTorch: the runtime must be torch, got {opening.runtime}")
        return _served(opening, adapted, rule, look, embeddings)
    changed = {"seed": seed, **(overrides or {})}
    return _learning(method, opening, adapted, rule, look, embeddings, changed)


def _grabcut(adapted: Path | None, look: Look, overrides: Mapping[str, Any] | None) -> tuple[Predictor, dict[str, Any]]:
    from livesam.benchmarks.quality.grabcut import GrabCutPredictor

    if overrides:
        raise ValueError("grabcut has no settings to change")
    if adapted is not None:
        raise ValueError("grabcut has no decoder: leave out the adapted one")
    if look != PLAIN:
        raise ValueError("grabcut draws to edges and obeys clicks already: leave out edges, zoom, obey, size_prior")
    grabcut = GrabCutPredictor()
    return grabcut, {"settings": grabcut.settings()}


def _learning(
    name: str,
    opening: Opening,
    adapted: Path | None,
    token: TokenRule,
    look: Look,
    embeddings: Path | None,
    settings: Mapping[str, Any],
) -> tuple[Predictor, dict[str, Any]]:
    # Refuses a bad file without torch.
    source = _source(opening, adapted)
    from livesam.engine.files.hashing import weights_hash
    from livesam.engine.runtimes.torch_encoder import TorchEncoder

    sam, device = source.sam, opening.device or "cpu"
    encoder = TorchEncoder(sam, device)
    method = create(name, sam, device=device, **settings)
    obey, sizes = not obeys(method.config), not uses_size_prior(method.config)  # what its own settings do is said there
    look = replace(look, obey=look.obey and obey, size_prior=look.size_prior and sizes)
    state: dict[str, npt.NDArray[Any]] = {key: value.detach().cpu().numpy() for key, value in sam.state_dict().items()}
    details = {
        "weights": weights_hash(state),
        "token": token,
        **_looks(look),
        "runtime": encoder.runtime,
        "config": asdict(method.config),
        **_provenance(source, adapted),
    }
    return MethodPredictor(method, encoder, token, look, embeddings), details


def _served(
    opening: Opening, adapted: Path | None, token: TokenRule, look: Look, embeddings: Path | None
) -> tuple[Predictor, dict[str, Any]]:
    from livesam.engine.files.hashing import weights_hash
    from livesam.export.opening import decoder_compiler, open_encoder

    source = _source(opening, adapted)
    opening = replace(opening, size=source.spec.image_size)
    encoder = open_encoder(opening)
    decoder = decoder_compiler(opening)(source.weights)
    weights: dict[str, npt.NDArray[np.float32]] = dict(source.weights)
    details = {
        "decoder_weights": weights_hash(weights),
        "token": token,
        **_looks(look),
        "runtime": f"{encoder.runtime}, {decoder.runtime}",
        **_provenance(source, adapted),
    }
    return DecoderPredictor(encoder, decoder, token, look, embeddings), details


def _source(opening: Opening, adapted: Path | None) -> DecoderSource:
    from livesam.export.formats.source import DecoderSource

    return DecoderSource.open(opening.model, size=opening.size, checkpoint=opening.checkpoint, adapted=adapted)


def _looks(look: Look) -> dict[str, bool]:
    """In the order that results have had from the first."""
    told = {"edges": look.edges, "zoom": look.zoom, "obey": look.obey}
    return {**told, "size_prior": True} if look.size_prior else told


def _provenance(source: DecoderSource, adapted: Path | None) -> dict[str, Any]:
    """Nothing for a base's own decoder in its usual size, so such results keep their form."""
    from livesam.engine.models.adapted import base_hash
    from livesam.engine.models.spec import spec

    usual = source.spec == spec(source.spec.name)
    size = {} if usual else {"image_size": source.spec.image_size}
    if adapted is None:
        return size
    return {
        **size,
        "adapted": {
            "file": adapted.name,
            "weights": base_hash(source.weights),
            "base": base_hash(source.base),
            "method": source.info.method,
            "domain": source.info.domain,
        },
    }
