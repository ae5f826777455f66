"""An encoder that answers for another one until that is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from livesam.engine.values.errors import SessionError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.protocols import ImageEncoder


class StandIn:
    """An ``ImageEncoder`` that can be replaced by a better one of the same model between two images.

    Embeddings carry on: the keys of two runtimes with the same weights and precision are the same.

    Args:
        encoder: encodes until ``replace``.
    """

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder
        self._lock = threading.Lock()  # for the length of an encode
        self._open = True

    @property
    def runtime(self) -> str:
        """The runtime that encodes the next image."""
        return self._encoder.runtime

    def key(self, digest: str) -> str:
        """The key of the embedding of an image with this ``image_hash``."""
        return self._encoder.key(digest)

    def encode(self, image: npt.NDArray[np.uint8], digest: str | None = None) -> ImageEmbedding:
        """Encode one RGB image, uint8 ``(H, W, 3)``; ``digest`` is its ``image_hash`` where the caller has it already.

        Raises:
            ValueError: the image is not uint8 ``(H, W, 3)``, or empty, or too thin.
            SessionError: the encoder is closed.
        """
        with self._lock:
            return self._encoder.encode(image, digest)

    def replace(self, encoder: ImageEncoder) -> None:
        """Let another one encode from the next image on; the one before is closed. Waits for an image in work.

        Raises:
            SessionError: this one is closed; so is then the other.
        """
        with self._lock:
            before, self._encoder = self._encoder, encoder
            before.close()
            if not self._open:
                encoder.close()
                raise SessionError("the encoder is closed: open a new session")

    def close(self) -> None:
        """Free the engine; later calls raise ``SessionError``."""
        with self._lock:
            self._open = False
            self._encoder.close()
