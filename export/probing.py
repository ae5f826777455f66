"""What a model's serving decoders are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livesam.engine.runtimes.selection import Choice
from livesam.engine.serving.probe import Probe
from livesam.engine.serving.tolerance import TOLERANCE, served_precision
from livesam.export.graphs.graph_cache import GraphCache

if TYPE_CHECKING:
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.protocols import DecoderWeights
    from livesam.engine.values.result import DecoderOutput


class _Reference:
    """PyTorch's answers for the probe. The model is loaded at the first publish, so a start needs no torch."""

    def __init__(self, graphs: GraphCache) -> None:
        self._graphs = graphs
        self._answer: object = None

    def __call__(
        self, embedding: ImageEmbedding, prompts: tuple[Prompt, ...], weights: DecoderWeights
    ) -> DecoderOutput:
        from livesam.engine.runtimes.torch_graph import TorchGraph

        if not isinstance(self._answer, TorchGraph):
            self._answer = TorchGraph(self._graphs.sam())
        return self._answer.reference(embedding, prompts, weights)


def standard_probe(graphs: GraphCache, choice: Choice) -> Probe:
    """The probe of a model's decoders on this runtime, with the tolerance of its precision."""
    tolerance = TOLERANCE[served_precision(choice.precision, choice.name, choice.device)]
    return Probe.standard(graphs.spec.embedding_hw, _Reference(graphs), tolerance)
