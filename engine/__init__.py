"""Everything between an image or a click and a mask."""

from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import LivesamError
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.protocols import DecoderCompiler, DecoderWeights, ImageEncoder, MaskDecoder
from livesam.engine.values.result import DecoderOutput, MaskResult

__all__ = [
    "Box",
    "Click",
    "DecoderCompiler",
    "DecoderOutput",
    "DecoderWeights",
    "ImageEmbedding",
    "ImageEncoder",
    "LivesamError",
    "MaskDecoder",
    "MaskResult",
    "Prompt",
]
