"""PyTorch's decoder for a GPU: one copy up, one recorded graph, one copy down.

A click there is bound by launches and waits, not by arithmetic. So all that a prompt says goes up in one piece; the
network is a graph that is recorded once for each shape; the answer is chosen, scaled up, thresholded and packed to bits
where it is; and what comes down does so in one piece, for which alone there is a wait. Shapes are few, because prompts
and points are filled up to the next one with what nothing attends to (``models/serving_decoder.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from livesam.engine.models.serving_decoder import ABSENT, OWN, ServingDecoder
from livesam.engine.runtimes.base import Float, GroupedDecoder, WeightBuffers
from livesam.engine.runtimes.packing import pack_in_parts
from livesam.engine.runtimes.recent import DECODER_GRAPHS, Recent
from livesam.engine.runtimes.recorder import CudaRecorder, Recorder, Work, eager
from livesam.engine.runtimes.streams import OwnStream, own_stream
from livesam.engine.runtimes.torch_place import DTYPES
from livesam.engine.runtimes.transfers import Transfers
from livesam.engine.values.errors import SessionError, SwapError
from livesam.engine.values.packed_masks import PackedMasks
from livesam.engine.values.result import DecoderOutput
from livesam.engine.view.points import geometry_of, point_rows
from livesam.engine.view.selection import Rule, chooses_best

if TYPE_CHECKING:
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.protocols import DecoderWeights, Painter
    from livesam.engine.view.geometry import ResizeGeometry
    from segment_anything.modeling import Sam
    from torch import Tensor

TOKENS = 8  # the decoder's own five and the points together fill a multiple of this that is a power of two
AT_ONCE = 64  # prompts


def _power(count: int) -> int:
    """The next power of two."""
    return 1 << max(count - 1, 0).bit_length()


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one run.

    Attributes:
        prompts, points: filled up.
        masked: some prompts have a mask.
        whole: all four masks are asked for, not one.
    """

    prompts: int
    points: int
    masked: bool
    whole: bool

    @classmethod
    def of(cls, prompts: int, points: int, masked: bool, whole: bool) -> Shape:
        """The shape for so many prompts of at most so many points."""
        return cls(_power(prompts), max(TOKENS, _power(points + OWN)) - OWN, masked, whole)


COMMON = tuple(Shape.of(1, points, masked, False) for points in (2, 4, 12) for masked in (False, True))


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    inputs: Tensor
    work: Work


class GraphedDecoder(GroupedDecoder):
    """SAM's prompt encoder and mask decoder on a GPU, for one thread at a time.

    Args:
        sam: the model; its prompt encoder and mask decoder are copied.
        device: ``cuda``, ``cuda:N``; on ``cpu`` it does the same without graphs, for tests.
        precision: ``fp32``, ``fp16`` or ``bf16``. ``fp32`` is that, whatever PyTorch's switches for TF32 say.
        seen: shapes that were asked of this decoder or of another one that takes turns with it: new weights find their
            graphs recorded. Kept up to date.
        record: makes graphs; None for CUDA's where there is CUDA.
    """

    concurrent = False  # one set of buffers

    def __init__(
        self,
        sam: Sam,
        device: torch.device,
        *,
        precision: str = "fp32",
        seen: dict[Shape, None] | None = None,
        record: Recorder | None = None,
    ) -> None:
        super().__init__(f"torch:{device}:{precision}")
        self._device, self._exact = device, precision == "fp32"
        self._own: OwnStream | None = None
        self._caller: Any = None  # the stream of who asks
        if device.type == "cuda":
            with torch.cuda.device(device):
                self._own = own_stream(device)
                record = record or CudaRecorder(self._own.stream, exact=self._exact)
        self._record = record or eager
        with self._here():
            self._model: ServingDecoder | None = ServingDecoder(sam, device, DTYPES[precision])
            self._image = self._model.features(torch.zeros(1, 256, *self._model.hw))
        self._image_key: str | None = None
        self._staging = WeightBuffers({k: (k, False, tuple(v.shape)) for k, v in self._model.state.items()})
        self._runs: Recent[Shape, _Run] = Recent(DECODER_GRAPHS)
        self._seen = {} if seen is None else seen
        self.transfers = Transfers(device)

    @property
    def painter(self) -> Painter:
        return self

    def load_weights(self, weights: DecoderWeights) -> None:
        """Copy new weights into place, and record what the decoder beside this one was asked meanwhile.

        Raises:
            SwapError: they are no weights of a mask decoder.
        """
        if self._model is None:
            raise SwapError("the decoder is closed: open a new session")
        with self._here():
            try:
                for name in self._staging.fill(weights):
                    self._model.state[name].copy_(torch.from_numpy(self._staging.arrays[name]))
            except BaseException:
                self._staging.forget()  # some were copied, some were not: the next time all are
                raise
            for shape in list(self._seen)[-DECODER_GRAPHS:]:
                self._run_of(shape)
            if self._own is not None:
                self._own.stream.synchronize()

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        """All four masks of one prompt or many on the same image. Errors as ``decode_masks``."""
        size = 4 * self._model_().hw[0], 4 * self._model_().hw[1]
        logits = np.empty((len(prompts), 4, *size), np.float32)
        ious = np.empty((len(prompts), 4), np.float32)
        with self._here():
            for part, (maps, estimates) in self._answers(embedding, prompts, None):
                count = part.stop - part.start
                found = self._down(torch.cat([maps[:count].flatten(1), estimates[:count]], 1)).reshape(count, -1)
                logits[part], ious[part] = found[:, :-4].reshape(count, 4, *size), found[:, -4:]
        return DecoderOutput(logits, ious)

    def decode_masks(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], rule: Rule = "official", *, draw: bool = True
    ) -> PackedMasks:
        """One mask for each prompt. Without ``draw`` its logits only: ``packed`` is empty then.

        Raises:
            ValueError: there is no prompt or no such rule, or mask logits have another shape than the decoder's.
            SessionError: the decoder is closed.
        """
        geometry, (h, w) = geometry_of(embedding), self._model_().hw
        packed, logits, ious = [], [], []
        with self._here():
            for part, (chosen,) in self._answers(embedding, prompts, rule):
                found = chosen[: part.stop - part.start]
                bits = pack_in_parts(found[:, :-1].view(-1, 4 * h, 4 * w), geometry) if draw else None
                numbers, drawn = self._both_down(found, bits)
                logits.append(numbers[:, :-1].reshape(-1, 4 * h, 4 * w))
                ious.append(numbers[:, -1])
                packed.append(drawn)
        return PackedMasks(_joined(packed), _joined(logits), _joined(ious), geometry.original_hw)

    def draw(self, low_res: Float, geometry: ResizeGeometry) -> npt.NDArray[np.uint8]:
        """Low-res logits ``(P, 4h, 4w)`` as packed masks ``(P, H, ceil(W / 8))``.

        Raises:
            SessionError: the decoder is closed.
        """
        self._model_()
        with self._here():
            self.transfers.staging(low_res.size)[:] = low_res.ravel()
            logits = torch.empty(low_res.shape, device=self._device)
            self.transfers.up(logits)
            return self.transfers.down(pack_in_parts(logits, geometry))

    def _answers(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], rule: Rule | None
    ) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
        """Runs, each with which prompts it answers; what it gives is to be read before the next. No rule: all masks."""
        if not prompts:
            raise ValueError("give at least one prompt, got none")
        geometry = geometry_of(embedding)
        self._place(embedding)
        for start in range(0, len(prompts), AT_ONCE):
            part = slice(start, min(start + AT_ONCE, len(prompts)))
            chosen = prompts[part]
            rows = [point_rows(prompt, geometry) for prompt in chosen]
            masked = any(prompt.mask_logits is not None for prompt in chosen)
            shape = Shape.of(len(chosen), max(len(row) for row in rows), masked, rule is None)
            run = self._run_of(shape)
            self._fill(self.transfers.staging(run.inputs.numel()), shape, chosen, rows, rule)
            self.transfers.up(run.inputs)
            yield part, run.work()

    def _fill(
        self, staged: Float, shape: Shape, prompts: Sequence[Prompt], rows: Sequence[Float], rule: Rule | None
    ) -> None:
        points, given, best, masks = self._parts(staged, shape)
        points[:] = 0
        points[..., 2] = ABSENT
        given[:] = best[:] = 0
        for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
            points[i, : len(row)] = row
            best[i] = rule is not None and chooses_best(prompt, rule)
            if prompt.mask_logits is not None:
                given[i] = 1
                masks[i] = _checked(prompt.mask_logits, self._model_().hw).ravel()

    def _parts(self, numbers: Any, shape: Shape) -> tuple[Any, Any, Any, Any]:
        """Points ``(P, N, 3)``, whose masks count, whose best is asked for, masks ``(P, 4h * 4w)`` or ``(P, 0)``."""
        p, n, (h, w) = shape.prompts, shape.points, self._model_().hw
        pixels = 16 * h * w if shape.masked else 0
        ends = [3 * p * n, 3 * p * n + p, 3 * p * n + 2 * p, 3 * p * n + 2 * p + p * pixels]
        points, given, best, masks = (numbers[a:b] for a, b in zip([0, *ends], ends, strict=False))
        return points.reshape(p, n, 3), given, best, masks.reshape(p, pixels)

    def _run_of(self, shape: Shape) -> _Run:
        self._seen.pop(shape, None)
        self._seen[shape] = None  # the latest last
        return self._runs.find(shape, lambda: self._prepared(shape))

    def _prepared(self, shape: Shape) -> _Run:
        model = self._model_()
        pixels = 16 * model.hw[0] * model.hw[1] if shape.masked else 0
        inputs = torch.zeros(shape.prompts * (3 * shape.points + 2 + pixels), device=self._device)
        points, given, best, masks = self._parts(inputs, shape)
        fed = masks if shape.masked else None
        if shape.whole:
            return _Run(inputs, self._record(lambda: model.all_masks(self._image, points, fed, given)))
        return _Run(inputs, self._record(lambda: model.one_mask(self._image, points, fed, given, best)))

    def _place(self, embedding: ImageEmbedding) -> None:
        """Bring the image's features into the graphs' buffer, where it is another image; from the GPU itself, or up."""
        if embedding.key == self._image_key:
            return
        features = embedding.features
        if isinstance(features, np.ndarray):
            features = torch.from_numpy(features)
        elif self._own is not None:
            self._own.stream.wait_stream(self._caller)  # where an encoder may still be at work
        self._image.copy_(self._model_().features(features))
        self._image_key = embedding.key

    def _down(self, source: Tensor) -> Float:
        return self.transfers.down(source.contiguous().view(torch.uint8)).view(np.float32)

    def _both_down(self, numbers: Tensor, bits: Tensor | None) -> tuple[Float, npt.NDArray[np.uint8]]:
        """Float32 ``(P, n)`` and bytes ``(P, H, B)`` in one copy."""
        if bits is None:
            return self._down(numbers).reshape(numbers.shape), np.empty((len(numbers), 0, 0), np.uint8)
        size = numbers.numel() * 4
        both = torch.cat([numbers.reshape(-1).view(torch.uint8), bits.reshape(-1)])
        found = self.transfers.down(both)
        return found[:size].view(np.float32).reshape(numbers.shape), found[size:].reshape(bits.shape)

    @contextlib.contextmanager
    def _here(self) -> Iterator[None]:
        """On the decoder's GPU and stream."""
        with torch.inference_mode(), ExitStack() as stack:
            if self._own is not None:
                stack.enter_context(torch.cuda.device(self._device))
                self._caller = torch.cuda.current_stream()
                stack.enter_context(self._own.current())
            yield

    def _model_(self) -> ServingDecoder:
        if self._model is None:
            raise SessionError("the decoder is closed: open a new session")
        return self._model

    def _free(self) -> None:
        self._runs.clear()
        self._model = None


def _checked(mask: Float, hw: tuple[int, int]) -> Float:
    side = (4 * hw[0], 4 * hw[1])
    if mask.shape != side:
        raise ValueError(f"mask_logits must have the shape {side}, got {mask.shape}")
    return mask


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
