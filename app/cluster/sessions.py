"""Replicas that hold sessions: the application of ``livesam serve``, whose WebSockets stay where they were opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from livesam.app.cluster.studio import ClusterStudio

if TYPE_CHECKING:
    from pathlib import Path

    from livesam.app.cluster.remote_decoder import RemoteDecoder
    from livesam.app.server.settings import Settings


class Kept:
    """A decoder in Serve's cache. What Serve calls when another one needs the room is ``__del__``."""

    def __init__(self, decoder: RemoteDecoder, studio: ClusterStudio) -> None:
        self.decoder, self._studio = decoder, studio

    def __del__(self) -> None:
        self.decoder.retired = True
        self._studio.tidy(self.decoder)


def sessions_class(decoders: int) -> type:
    """The class that replicas are made of; it is put together here, because Ray is imported by ``--ray`` alone.

    Args:
        decoders: of a replica at a time, beyond those that sessions still use.
    """
    from ray import serve

    @serve.ingress()
    class Sessions:
        async def __init__(  # type: ignore[misc]  # Ray's wrapper waits for it
            self, settings: Settings, folder: Path, encoders: Any, learners: Sequence[Any], registry: str, replicas: int
        ) -> None:
            from livesam.app.server.gallery import Gallery

            loop = asyncio.get_running_loop()

            def multiplexed(domain: str) -> RemoteDecoder:
                kept: Kept = asyncio.run_coroutine_threadsafe(self.kept(domain), loop).result()
                return kept.decoder

            gallery = Gallery(folder, settings.out)
            self._studio = ClusterStudio(settings, gallery, encoders, learners, registry, replicas, multiplexed)

        @serve.multiplexed(max_num_models_per_replica=decoders)  # type: ignore[untyped-decorator]
        async def kept(self, domain: str) -> Kept:
            """A domain's decoder."""
            return Kept(await asyncio.to_thread(self._studio.make, domain), self._studio)

        def __serve_build_asgi_app__(self) -> Any:
            from livesam.app.server.application import make_app

            return make_app(self._studio)

    return Sessions
