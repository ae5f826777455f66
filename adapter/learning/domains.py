"""One method, and so one decoder copy, for each domain name."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from livesam.adapter.learning.loop_state import Domain
from livesam.adapter.learning.store import DecoderStore, Learned
from livesam.engine.values.errors import CheckpointError

if TYPE_CHECKING:
    from livesam.adapter.method import AdaptationMethod


class Domains:
    """Makes a domain's method when it is first asked for, begins it where it was left, and saves it.

    A domain whose saved file cannot be loaded starts at the base, is reported, and is not saved over that file. All
    calls but ``counts`` are the loop's thread's.

    Args:
        make_method: a method for a domain's name, with what the domain begins with where the store has nothing.
        store: where each domain is saved and, if it was, begun from.
        counts: what was counted of domains before, where the store does not say it.
    """

    def __init__(
        self,
        make_method: Callable[[str], AdaptationMethod],
        store: DecoderStore | None = None,
        counts: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self._make_method, self._store = make_method, store
        self._counted: dict[str, Counter[str]] = {name: Counter(found) for name, found in (counts or {}).items()}
        self._lock = threading.Lock()
        self._found: dict[str, Domain] = {}
        self._unsaved: set[str] = set()

    def find(self, name: str) -> Domain | None:
        """The domain, if it was asked for before."""
        return self._found.get(name)

    def get(self, name: str, report: Callable[[Exception], None]) -> Domain:
        """The domain, made when it is not there; ``report`` is told why it could not go on where it was left."""
        if name not in self._found:
            method = self._make_method(name)
            try:
                saved = self._store.read(name) if self._store is not None else None
                if saved is not None and self._store is not None:
                    method.load_domain(saved.resolve(self._store.base))
                    self._counted[name] = Counter(saved.info.counts)
            except (CheckpointError, ValueError) as error:
                self._unsaved.add(name)
                report(error)
            with self._lock:
                self._found[name] = Domain(method, counts=dict(self._counted.get(name, {})))
        return self._found[name]

    def kept(self, name: str) -> bool:
        """Whether there is a file of this domain."""
        return self._store is not None and self._store.path(name).exists()

    def offer(self, name: str) -> None:
        """Hand what the domain has learned to the store, which writes it when it is due."""
        domain = self._found[name]
        domain.counts = counts = dict(self._counted.get(name, Counter()) + Counter(domain.method.counts()))
        if self._store is not None and name not in self._unsaved:
            self._store.put(name, Learned(domain.to_save, counts, dict(domain.metrics), dict(domain.versions)))

    def save(self, final: bool = False) -> None:
        """Write what is due, or all of it at the end.

        Raises:
            OSError: a file could not be written.
        """
        if self._store is not None:
            if final:
                self._store.flush()
            else:
                self._store.tick()

    @property
    def saved(self) -> int | None:
        """Files written so far; None where nothing is saved."""
        return None if self._store is None else self._store.saved

    def counts(self) -> dict[str, dict[str, int]]:
        """Each domain's own counts."""
        with self._lock:
            return {name: dict(domain.counts) for name, domain in self._found.items()}
