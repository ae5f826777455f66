"""The base decoder as it is: what every other method is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.method import AdaptationConfig, Answer, StepReport
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.models.mask_decoder import GiveWay
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.selection import select_token

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam


@dataclass(frozen=True, slots=True)
class FrozenConfig(AdaptationConfig):
    """The base decoder, unchanged."""

    seed: int = 0


class FrozenMethod:
    """Learns nothing."""

    name = "frozen"

    def __init__(self, sam: Sam, config: FrozenConfig, *, device: str = "cpu", give_way: GiveWay | None = None) -> None:
        self.config = config
        self._decoding = Decoding(sam, device, give_way)
        self._decoder = FlatDecoder(sam.mask_decoder, device)
        self._base = self._decoder.vector.clone()

    def answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Answer:
        output = self._decoding.decode(self._decoder, embedding, [prompt])
        return Answer(output, select_token(output.ious[0], prompt))

    def learn_click(self, interaction: Interaction) -> Iterator[StepReport]:
        yield from ()

    def learn_object(self, interaction: Interaction) -> Iterator[StepReport]:
        yield from ()

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        return self._decoder.weights()

    def domain_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        return self._decoder.weights()

    def load_domain(self, weights: DecoderWeights) -> None:
        self._decoder.load(weights)

    def reset(self) -> None:
        self._decoder.vector.copy_(self._base)

    def counts(self) -> dict[str, int]:
        return {}
