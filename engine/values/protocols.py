"""The interfaces at which runtimes, exporters and the learner meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.packed_masks import PackedMasks
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.result import DecoderOutput
    from livesam.engine.view.geometry import ResizeGeometry
    from livesam.engine.view.selection import Rule

# The 120 tensors of SAM's mask decoder by their official names, without the `mask_decoder.` prefix, float32.
DecoderWeights: TypeAlias = Mapping[str, npt.NDArray[np.float32]]


class ImageEncoder(Protocol):
    """Turns an image into an embedding, once per image."""

    @property
    def runtime(self) -> str:
        """The runtime that really runs, with device and precision, e.g. ``openvino:cpu:fp32``."""
        ...

    def key(self, digest: str) -> str:
        """The key of an image's embedding, by its ``image_hash``; other weights or precisions have other keys."""
        ...

    def encode(self, image: npt.NDArray[np.uint8], digest: str | None = None) -> ImageEmbedding:
        """Encode one RGB image, uint8 ``(H, W, 3)``; ``digest`` is its ``image_hash`` where the caller has it already.

        Raises:
            ValueError: the image is not uint8 ``(H, W, 3)``, or empty, or too thin.
            SessionError: the encoder is closed.
        """
        ...

    def close(self) -> None:
        """Free the engine; later calls raise ``SessionError``."""
        ...


class Painter(Protocol):
    """Draws masks where the decoder's logits are, instead of sending all four of them to the host."""

    def decode_masks(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], rule: Rule = "official", *, draw: bool = True
    ) -> PackedMasks:
        """One mask for each prompt; without ``draw`` its logits only.

        Raises:
            ValueError: there is no prompt or no such rule, or mask logits have another shape than the decoder's.
            SessionError: the decoder is closed.
        """
        ...

    def draw(self, low_res: npt.NDArray[np.float32], geometry: ResizeGeometry) -> npt.NDArray[np.uint8]:
        """Low-res logits ``(P, 4h, 4w)``, corrected on the host, as packed masks ``(P, H, ceil(W / 8))``."""
        ...


class MaskDecoder(Protocol):
    """Answers prompts on an embedding. The decoder slot keeps two, and fills the one that no click is using."""

    @property
    def runtime(self) -> str:
        """The runtime that really runs, with device and precision."""
        ...

    @property
    def concurrent(self) -> bool:
        """Whether one instance answers several threads at once; else the slot hands it to one click at a time."""
        ...

    @property
    def aside(self) -> MaskDecoder:
        """The same weights for answers that nobody waits for: itself, or one that leaves the clicks' threads alone."""
        ...

    @property
    def painter(self) -> Painter | None:
        """What draws masks on the decoder's device; None where the host draws them as fast."""
        ...

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        """Answer one prompt or many on the same image. Prompts with equally many points run as one batch.

        Points are never padded with label -1 beyond SAM's own rule, because SAM's decoder attends to padding.
        """
        ...

    def load_weights(self, weights: DecoderWeights) -> None:
        """Put new mask-decoder weights in place, without building anything anew. Never while a decode is running.

        Raises:
            SwapError: names, shapes or values are not those of a mask decoder, and the old weights stay in place; or
                the engine did not take them, and it may not serve before it is filled anew.
        """
        ...

    def close(self) -> None:
        """Free the engine; later calls raise ``SessionError``."""
        ...


class DecoderCompiler(Protocol):
    """Turns mask-decoder weights into a serving decoder of one runtime; implemented in ``livesam.export``."""

    def __call__(self, weights: DecoderWeights) -> MaskDecoder: ...
