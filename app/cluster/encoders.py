"""Images to embeddings, on replicas of Ray Serve that gather what several sessions ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.app.cluster.names import BATCH_WAIT_S
from livesam.engine.runtimes.base import PreparedEncoder
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    from livesam.engine.values.embedding import Features
    from livesam.export.opening import Opening

PATIENCE_S = 120.0  # for one image, where many wait before it; or a replica that is being started anew


def encoders_class(batch: int) -> type:
    """The class that replicas are made of; it is put together here, because Ray is imported by ``--ray`` alone.

    Args:
        batch: images that one run takes.
    """
    from ray import serve

    class Encoders:
        def __init__(self, opening: Opening) -> None:
            from livesam.export.opening import open_encoder

            self._encoder: Any = open_encoder(opening, batch=batch)

        def about(self) -> tuple[int, str, str]:
            """Side of the input, hash of the weights, and runtime."""
            return self._encoder.image_size, self._encoder.identity, self._encoder.runtime

        @serve.batch(max_batch_size=batch, batch_wait_timeout_s=BATCH_WAIT_S)  # type: ignore[untyped-decorator]
        async def encode(self, images: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float32]]:
            """What several callers want at once, in one run."""
            made = await asyncio.to_thread(self._encoder.encode_batch, images)
            return [one.numpy() for one in made]

    return Encoders


class RemoteEncoder(PreparedEncoder):
    """An encoder that asks the replicas. Called on threads, never on the replica's loop.

    Args:
        handle: of the deployment.
        batch: images that one run of a replica takes.

    Raises:
        LivesamError: no replica could be started.
    """

    def __init__(self, handle: Any, batch: int = 1) -> None:
        self._handle = handle
        size, identity, runtime = self._wait(handle.about.remote())
        super().__init__(size, identity, runtime, batch)

    def _features(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        asked = [self._handle.encode.remote(image) for image in images]
        # What Ray hands over lies in its store for as long as it is held, and a cache holds it for long: once the store
        # is full, whatever follows goes by the disk.
        return [np.array(self._wait(one)) for one in asked]

    def _free(self) -> None:
        """The replicas are everybody's."""

    def _wait(self, asked: Any) -> Any:
        try:
            return asked.result(timeout_s=PATIENCE_S)
        except (ValueError, LivesamError):
            raise
        except Exception as error:  # Ray wraps what was raised there
            cause = getattr(error, "cause", error)
            if isinstance(cause, ValueError | LivesamError):
                raise cause from error
            raise LivesamError(f"no encoder has answered: {str(cause) or type(cause).__name__}") from error
