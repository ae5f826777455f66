"""What of the learned is in service."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from livesam.adapter.learning.loop_state import Domain, same_weights

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights


class Service:
    """Publishes a domain's weights where they are not what serves already.

    Args:
        publish: takes weights and puts them into service; the decoder slot's ``publish``.
        domain, serving: whose decoder serves at the start, and its weights; None where that is not known.
        counts: ``published`` and ``publish_failed`` are counted here.
        lock: around all changes that other threads read.

    Attributes:
        domain: whose decoder serves.
        refused: what was to be published last is not in service.
    """

    def __init__(
        self, publish: Callable[[DecoderWeights], object], counts: Counter[str], lock: threading.Condition,
        domain: str | None = None, serving: DecoderWeights | None = None,
    ) -> None:  # fmt: skip
        self._publish, self._counts, self._lock = publish, counts, lock
        self._served: DecoderWeights = serving or {}
        self.domain = domain
        self.refused = False

    def has(self, name: str, domain: Domain | None) -> bool:
        """Whether this domain serves as it is; the base does where nothing was learned anywhere."""
        return self.domain in (None, name) and not (domain is not None and domain.changed)

    def take(self, name: str, domain: Domain) -> None:
        """Publish a domain's weights, unless they serve already: a rejected candidate took nothing out of service.

        Raises:
            Exception: what ``publish`` raises. The weights are not offered again until something is learned.
        """
        try:
            weights = domain.method.weights()
            if same_weights(weights, self._served):
                return
            version, self._served = self._publish(weights), weights
            if isinstance(version, int):
                domain.versions["published"] = version
            self.refused = False
            self._counts["published"] += 1
        except Exception:
            self._counts["publish_failed"] += 1
            self.refused = True
            raise
        finally:
            with self._lock:
                domain.changed = False
                self.domain = name

    def forget(self) -> None:
        """Publish the next weights, whatever they are."""
        self._served = {}
