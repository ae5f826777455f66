"""A fixed question that every new version of the decoder has to answer as PyTorch does, before it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from livesam.engine.serving.tolerance import TOLERANCE
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SwapError
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.protocols import DecoderWeights, MaskDecoder
from livesam.engine.values.result import DecoderOutput

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Probe:
    """An embedding and prompts, and a way to get the right answer.

    Attributes:
        embedding: any image of the model; ``Probe.standard`` makes one up.
        prompts: answered one by one; a lone click and a click in a box with a mask reach every tensor.
        reference: the right answer for given weights, in PyTorch float32; None checks for finite values only.
        tolerance: largest error that is allowed, of ``TOLERANCE``.
    """

    embedding: ImageEmbedding
    prompts: tuple[Prompt, ...]
    reference: Callable[[ImageEmbedding, tuple[Prompt, ...], DecoderWeights], DecoderOutput] | None = None
    tolerance: float = TOLERANCE["fp32"]

    @classmethod
    def standard(
        cls,
        embedding_hw: tuple[int, int],
        reference: Callable[[ImageEmbedding, tuple[Prompt, ...], DecoderWeights], DecoderOutput] | None = None,
        tolerance: float = TOLERANCE["fp32"],
    ) -> Probe:
        """A probe of fixed random numbers, the same in every process."""
        rng = np.random.default_rng(20)
        h, w = embedding_hw
        features = rng.standard_normal((1, 256, h, w), dtype=np.float32) * np.float32(0.3)
        size = (16 * h, 16 * w)
        mask = rng.standard_normal((4 * h, 4 * w), dtype=np.float32) * np.float32(5)
        middle = Click(8.0 * w, 8.0 * h)
        prompts = (Prompt((middle,)), Prompt((middle, Click(3.0, 5.0, False)), Box(4, 6, 12.0 * w, 11.0 * h), mask))
        return cls(ImageEmbedding(features, size, size, "probe"), prompts, reference, tolerance)

    def check(self, decoder: MaskDecoder, weights: DecoderWeights, give_way: Callable[[], None] | None = None) -> None:
        """Let the decoder answer (which also warms it up) and compare, prompt by prompt.

        The decoder answers ``aside``, so that no click loses its threads.

        Args:
            give_way: called before each answer.

        Raises:
            SwapError: a value is not finite, or further off than the tolerance.
        """
        decoder, answers = decoder.aside, []
        for prompt in self.prompts:  # one by one: a click that comes meanwhile waits for one answer, not for all
            if give_way is not None:
                give_way()
            answers.append(decoder.decode(self.embedding, (prompt,)))
        for name in ("low_res_logits", "ious"):
            if not all(np.isfinite(getattr(answer, name)).all() for answer in answers):
                raise SwapError(f"on the probe {name} holds values that are not finite")
        if self.reference is None:
            return
        if give_way is not None:
            give_way()
        expected = self.reference(self.embedding, self.prompts, weights)
        errors = {
            "low_res_logits": _mask_error(
                np.concatenate([answer.low_res_logits for answer in answers]), expected.low_res_logits
            ),
            "ious": _iou_error(np.concatenate([answer.ious for answer in answers]), expected.ious),
        }
        for name, error in errors.items():
            if not error <= self.tolerance:
                raise SwapError(
                    f"on the probe {name} is {error:.1e} of its size off PyTorch's, more than {self.tolerance:.1e}"
                )


def _mask_error(got: Float, right: Float) -> float:
    """The largest error of a mask's logits ``(P, 4, 4h, 4w)``, as a share of that mask's own size.

    By mask, because what is wrong in one mask's layers is lost in the size of the largest; by its root mean square,
    because rounding's largest error is thrice its mean one, and that of a wrong layer is not.
    """
    sizes = _rms(right)
    least = max(float(sizes.max()) / 100, 1e-6)  # of a mask that is all but empty nothing is left but rounding
    return float((_rms(got - right) / np.maximum(sizes, least)).max())


def _iou_error(got: Float, right: Float) -> float:
    return float(np.abs(got - right).max()) / max(float(np.abs(right).max()), 1e-6)


def _rms(maps: Float) -> Float:
    return np.asarray(np.sqrt(np.square(maps).mean((2, 3))), np.float32)
