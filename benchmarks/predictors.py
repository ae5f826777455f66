"""SAM-shaped models in the evaluator: served by any runtime, or owned by a method that learns.

The mask that is shown and measured is the official single-mask rule's: the best of tokens 1 to 3 by predicted IoU after
the first click, token 0 afterwards (``segment_anything/utils/onnx.py``, ``select_masks``). ``token="single"`` shows
token 0 throughout, as the papers' own code does. From the second click on, the previous answer's low-res logits are fed
back.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from livesam.adapter.method import obeys
from livesam.benchmarks.datasets import Image, Mask
from livesam.benchmarks.protocol import Answer, Predictor
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.interaction import Interaction
from livesam.engine.prompt import Click, Prompt
from livesam.engine.protocols import ImageEncoder, MaskDecoder
from livesam.engine.result import DecoderOutput
from livesam.engine.step import Step
from livesam.engine.view import View
from livesam.engine.zoom import Zoom

if TYPE_CHECKING:
    from livesam.adapter.method import AdaptationMethod
    from livesam.export.formats.source import DecoderSource

TokenRule: TypeAlias = Literal["official", "single"]
Logits: TypeAlias = npt.NDArray[np.float32]

EMBEDDING_BYTES = 512 * 2**20  # 512 images of nano, 128 of a 1024-px model


def shown_token(output: DecoderOutput, clicks: int, rule: TokenRule) -> int:
    """Which of the four masks a user sees after so many clicks."""
    if rule == "single" or clicks > 1:
        return 0
    return 1 + int(np.argmax(output.ious[0, 1:]))


class _Embedded:
    """What both kinds of predictor share: embeddings kept by image, prompts with feedback, masks at image size."""

    def __init__(self, encoder: ImageEncoder, *, edges: bool, zoom: bool, obey: bool) -> None:
        self._encoder, self._edges, self._obey = encoder, edges, obey
        self._zoom = Zoom(encoder.encode) if zoom else None
        self._embeddings: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._whole: View | None = None
        self._steps: list[Step] = []  # of the object
        self._mask: Mask | None = None  # its last one
        self._number = 0  # of the object
        self._counts: Counter[str] = Counter()

    def begin_image(self, image: Image, key: str) -> None:
        if key in self._embeddings:
            self._embeddings.move_to_end(key)
        else:
            self._embeddings[key] = self._encoder.encode(image)
            size = 4 * int(np.prod(self._embeddings[key].features.shape))
            while len(self._embeddings) > max(1, EMBEDDING_BYTES // size):
                self._embeddings.popitem(last=False)
        self._whole = View.whole(self._embeddings[key], image)

    def begin_object(self) -> None:
        self._steps, self._mask = [], None
        self._number += 1

    @property
    def whole(self) -> View:
        if self._whole is None:
            raise ValueError("no image: call begin_image before the first click")
        return self._whole

    def look(self, clicks: tuple[Click, ...], previous: Logits | None) -> tuple[View, Prompt]:
        """Where the next answer comes from, and the prompt for it, in pixels of the whole image."""
        view, prompt = self.whole, Prompt(clicks)
        if self._zoom is not None and self._mask is not None:
            view = self._zoom.look(view, self._steps[-1], self._mask, prompt)
        if previous is not None and not np.isfinite(previous).all():
            self._counts["nonfinite_answers"] += 1
            previous = None
        if previous is not None and self._steps:
            previous = view.fed_back(replace(self._steps[-1], low_res_logits=previous))
        return view, prompt.with_mask(previous)

    def shown(self, view: View, prompt: Prompt, logits: Logits) -> Answer:
        logits, self._mask, _ = view.shown(logits, prompt.clicks, edges=self._edges, obey=self._obey)
        self._steps.append(Step(prompt, logits, 0.0, 0, view.window))
        return Answer(self._mask, logits)


class DecoderPredictor(_Embedded):
    """A decoder that never changes, on whatever runtime serves it."""

    adapts = False

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: MaskDecoder,
        token: TokenRule = "official",
        *,
        edges: bool = False,
        zoom: bool = False,
        obey: bool = False,
    ) -> None:
        super().__init__(encoder, edges=edges, zoom=zoom, obey=obey)
        self._decoder, self._token = decoder, token

    def begin_set(self, name: str, seed: int) -> None:
        self._counts.clear()

    def click(self, clicks: tuple[Click, ...], previous: Logits | None) -> Answer:
        view, prompt = self.look(clicks, previous)
        seen = view.inside(prompt)
        output = self._decoder.decode(view.embedding, [seen])
        token = shown_token(output, len(seen.clicks), self._token)
        return self.shown(view, prompt, output.low_res_logits[0, token])

    def after_click(self, clicks: tuple[Click, ...], answer: Answer, last: bool) -> None: ...

    def finish_object(self, clicks: tuple[Click, ...], accepted: Mask | None) -> None: ...

    def stats(self) -> dict[str, Any]:
        return dict(self._counts)


class MethodPredictor(_Embedded):
    """A method of ``livesam.adapter``, driven by the count of interactions and never by the clock.

    ``learn_click`` runs to its end after every click but an object's last; ``learn_object`` follows that one at once
    and sees its click too. ``method`` must have been created with the seed of the run; ``begin_set`` resets it.
    """

    def __init__(
        self,
        method: AdaptationMethod,
        encoder: ImageEncoder,
        token: TokenRule = "official",
        *,
        edges: bool = False,
        zoom: bool = False,
        obey: bool = False,
    ) -> None:
        super().__init__(encoder, edges=edges, zoom=zoom, obey=obey or obeys(method.config))
        self._method, self._token = method, token
        self._domain = "default"
        self._view: View | None = None  # of the last answer

    @property
    def adapts(self) -> bool:
        return self._method.name not in ("frozen", "paper/none")

    def begin_set(self, name: str, seed: int) -> None:
        self._method.reset()
        self._counts.clear()
        self._domain = name

    def click(self, clicks: tuple[Click, ...], previous: Logits | None) -> Answer:
        view, prompt = self.look(clicks, previous)
        answer = self._method.answer(view.embedding, view.inside(prompt))
        token = 0 if self._token == "single" else answer.token
        self._view = view
        return self.shown(view, prompt, np.array(answer.output.low_res_logits[0, token]))

    def after_click(self, clicks: tuple[Click, ...], answer: Answer, last: bool) -> None:
        if not last and self._view is not None:
            self._count("click", self._method.learn_click(self._interaction(self._view, None)))

    def finish_object(self, clicks: tuple[Click, ...], accepted: Mask | None) -> None:
        if self._steps:
            self._count("object", self._method.learn_object(self._interaction(self.whole, accepted)))

    def stats(self) -> dict[str, Any]:
        return {**dict(self._counts), "method": self._method.counts()}

    def _interaction(self, view: View, accepted: Mask | None) -> Interaction:
        answer = view.fed_back(self._steps[-1])
        return Interaction(
            view.embedding, view.prompts(self._steps), answer, accepted, 0, self._domain, number=self._number
        )

    def _count(self, when: str, reports: Any) -> None:
        for report in reports:
            self._counts[f"{when}_steps"] += 1
            self._counts[f"{when}_steps_skipped"] += not report.applied


def open_predictor(
    method: str,
    model: str,
    *,
    size: int | None = None,
    checkpoint: Path | None = None,
    adapted: Path | None = None,
    seed: int = 0,
    token: str = "official",
    runtime: str = "torch",
    device: str = "cpu",
    edges: bool = False,
    zoom: bool = False,
    obey: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[Predictor, dict[str, Any]]:
    """A predictor by its method's name, and the details that belong into its result.

    Args:
        method: ``grabcut``, ``frozen``, or a name that ``livesam.adapter.method.create`` takes.
        size: as in ``livesam.engine.models.spec``; None also takes the one at which ``adapted`` was learned.
        adapted: an adapted decoder's file, made on that base; the method starts, and resets, to it.
        edges: draw the shown masks to the image's own edges (``engine/edges.py``).
        zoom: from the second click on look at the object's surroundings (``engine/zoom.py``).
        obey: correct masks where they contradict clicks (``engine/obey.py``); `live` does so anyway.
        runtime: ``torch``; ``frozen`` also runs on what ``livesam.export.serving`` offers.
        overrides: numbers of the method's configuration to change.

    Raises:
        ValueError: an unknown method, model, token rule or setting, or a runtime that the method cannot learn on.
        CheckpointError: the weights or the adapted decoder are missing, damaged, or do not belong together.
    """
    if token not in ("official", "single"):
        raise ValueError(f"the token rule is official or single, got {token!r}")
    rule: TokenRule = "single" if token == "single" else "official"
    if method == "grabcut":
        from livesam.benchmarks.grabcut import GrabCutPredictor

        if overrides:
            raise ValueError("grabcut has no settings to change")
        if adapted is not None:
            raise ValueError("grabcut has no decoder: leave out the adapted one")
        if edges or zoom or obey:
            raise ValueError("grabcut draws to edges and obeys clicks already: leave out edges, zoom and obey")
        grabcut = GrabCutPredictor()
        return grabcut, {"settings": grabcut.settings()}
    looks = {"edges": edges, "zoom": zoom, "obey": obey}
    if runtime != "torch":
        if method != "frozen" or overrides:
            raise ValueError(f"{method} learns in PyTorch: the runtime must be torch, got {runtime}")
        return _served(model, size, checkpoint, adapted, rule, runtime, looks)
    return _learning(method, model, size, checkpoint, adapted, seed, rule, device, looks, dict(overrides or {}))


def _learning(
    name: str,
    model: str,
    size: int | None,
    checkpoint: Path | None,
    adapted: Path | None,
    seed: int,
    token: TokenRule,
    device: str,
    looks: dict[str, bool],
    overrides: dict[str, Any],
) -> tuple[Predictor, dict[str, Any]]:
    from livesam.export.formats.source import DecoderSource

    # Refuses a bad file without torch.
    source = DecoderSource.open(model, size=size, checkpoint=checkpoint, adapted=adapted)
    from livesam.adapter.method import create
    from livesam.engine.hashing import weights_hash
    from livesam.engine.runtimes.torch import TorchEncoder

    sam = source.sam
    encoder = TorchEncoder(sam, device)
    method = create(name, sam, device=device, **{"seed": seed, **overrides})
    looks = {**looks, "obey": looks["obey"] and not obeys(method.config)}  # what its own setting does is said there
    state: dict[str, npt.NDArray[Any]] = {key: value.detach().cpu().numpy() for key, value in sam.state_dict().items()}
    details = {
        "weights": weights_hash(state),
        "token": token,
        **looks,
        "runtime": encoder.runtime,
        "config": asdict(method.config),
        **_provenance(source, adapted),
    }
    return MethodPredictor(method, encoder, token, **looks), details


def _served(
    model: str,
    size: int | None,
    checkpoint: Path | None,
    adapted: Path | None,
    token: TokenRule,
    runtime: str,
    looks: dict[str, bool],
) -> tuple[Predictor, dict[str, Any]]:
    from livesam.engine.hashing import weights_hash
    from livesam.export.formats.source import DecoderSource
    from livesam.export.serving import decoder_compiler, open_encoder

    source = DecoderSource.open(model, size=size, checkpoint=checkpoint, adapted=adapted)
    weights = source.weights
    size = source.spec.image_size
    encoder = open_encoder(model, checkpoint, runtime=runtime, size=size)
    compile_decoder: Callable[[Mapping[str, Logits]], MaskDecoder] = decoder_compiler(
        model, checkpoint, runtime=runtime, size=size
    )
    decoder = compile_decoder(weights)
    details = {
        "decoder_weights": weights_hash(dict(weights)),
        "token": token,
        **looks,
        "runtime": f"{encoder.runtime}, {decoder.runtime}",
        **_provenance(source, adapted),
    }
    return DecoderPredictor(encoder, decoder, token, **looks), details


def _provenance(source: DecoderSource, adapted: Path | None) -> dict[str, Any]:
    """Nothing for a base's own decoder in its usual size, so such results keep their form."""
    from livesam.engine.adapted import base_hash
    from livesam.engine.models import spec

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
