"""An encoder with a cache for whole images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.finite import all_finite
from livesam.engine.files.hashing import image_hash
from livesam.engine.session.turns import Turns
from livesam.engine.values.errors import RuntimeUnavailable
from livesam.engine.view.geometry import require_rgb

if TYPE_CHECKING:
    from livesam.engine.session.cache import EmbeddingCache
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.protocols import ImageEncoder


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An image's embedding, and how it was come by.

    Attributes:
        embedding: of the whole image.
        digest: the image's ``image_hash``.
        found: it was in the cache, so nothing was encoded.
    """

    embedding: ImageEmbedding
    digest: str
    found: bool


class CachedEncoder:
    """Looks an image up by its hash in memory and on disk, and encodes it if it is not there.

    May be used by several threads, which encode in ``turns``.

    Args:
        encoder: runs once per image.
        cache: where embeddings are looked up and kept; None encodes every image anew.
        at_once: how many images the encoder takes from as many threads.
    """

    def __init__(self, encoder: ImageEncoder, cache: EmbeddingCache | None = None, at_once: int = 1) -> None:
        self.encoder, self.cache, self.turns = encoder, cache, Turns(at_once)

    @property
    def runtime(self) -> str:
        """The runtime that really runs, with device and precision."""
        return self.encoder.runtime

    def find(self, digest: str) -> ImageEmbedding | None:
        """The embedding of the image with this ``image_hash`` by this very encoder, if the cache has it."""
        return None if self.cache is None else self.cache.get(self.encoder.key(digest))

    def encode(self, image: npt.NDArray[np.uint8]) -> Encoded:
        """The embedding of an RGB image, uint8 ``(H, W, 3)``, from the cache or made now and kept there.

        Raises:
            ValueError: the image is not uint8 ``(H, W, 3)``, empty, or too thin.
            RuntimeUnavailable: the encoder's values are not finite; nothing is kept of them.
            OSError: it could not be written to a cache's folder that is ``required``.
        """
        require_rgb(image)
        digest = image_hash(image)
        found = self.find(digest)
        if found is not None:
            return Encoded(found, digest, True)
        with self.turns.now():
            # The hash is computed once: on a 12 Mpx image a second one would cost as much as a click.
            embedding = self._sound(self.encoder.encode(image, digest))
        if self.cache is not None:
            self.cache.put(embedding)
        return Encoded(embedding, digest, False)

    def window(self, pixels: npt.NDArray[np.uint8]) -> ImageEmbedding:
        """The embedding of a part of an image, RGB uint8 ``(H, W, 3)``. Not kept: hardly any is asked for twice."""
        with self.turns.now():
            return self._sound(self.encoder.encode(pixels))

    def _sound(self, embedding: ImageEmbedding) -> ImageEmbedding:
        """An embedding whose values are finite: of others every mask would be empty, and nobody be told why."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(embedding.features.sum())  # 0.1 ms for a MiB, on whichever device it is
        if not math.isfinite(total) and not all_finite(embedding.numpy()):
            raise RuntimeUnavailable(
                f"the image encoder on {self.runtime} gave values that are not finite for this image: take another "
                "--runtime or --precision, or get the checkpoint again"
            )
        return embedding

    def close(self) -> None:
        """Free the encoder, once it is not at work; embeddings stay in the cache."""
        with self.turns.alone():
            self.encoder.close()
