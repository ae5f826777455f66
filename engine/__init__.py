"""Everything between an image or a click and a mask."""

from livesam.engine.embedding import ImageEmbedding
from livesam.engine.errors import LivesamError
from livesam.engine.prompt import Box, Click, Prompt
from livesam.engine.protocols import DecoderCompiler, DecoderWeights, ImageEncoder, MaskDecoder
from livesam.engine.result import DecoderOutput, MaskResult

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
