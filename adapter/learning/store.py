"""Adapted decoders on disk: one file a domain in one folder, saved at intervals, whole at any moment.

``livesam.engine.models.adapted`` describes the file's format. A file is replaced atomically, so a process that is
killed loses what was learned since the last save and nothing else; loading checks that the file belongs to the base.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.engine.models.adapted import AdaptedDecoder, Precision, read_adapted, write_adapted
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from livesam.engine.values.protocols import DecoderWeights

SUFFIX = ".livesam.safetensors"


@dataclass(frozen=True, slots=True)
class Learned:
    """What a domain has to save: ``weights`` is called when it is really written."""

    weights: Callable[[], DecoderWeights]
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)


class DecoderStore:
    """Saves what is offered to it, each domain at most every ``interval_s`` seconds. Used from one thread."""

    def __init__(
        self,
        folder: Path,
        base: DecoderWeights,
        info: AdaptedInfo,
        *,
        interval_s: float = 30.0,
        precision: Precision = "float16",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            folder: is made if it is missing.
            base: the decoder that everything is learned on.
            info: model, method, settings and input size, for the record; the domain and what was learned come with it.

        Raises:
            ValueError: the interval is negative.
            OSError: the folder cannot be made.
        """
        if interval_s < 0:
            raise ValueError(f"the interval must be at least 0 seconds, got {interval_s}")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.interval_s = folder, interval_s
        self.base, self._info, self._precision, self._clock = base, info, precision, clock
        self.saved = 0  # files written so far
        self._pending: dict[str, Learned] = {}
        self._tried_at: dict[str, float] = {}
        self._started = clock()
        self._known = {path: _stamp(path) for path in folder.glob(f"*{SUFFIX}")}  # as this process read or wrote them

    def path(self, domain: str) -> Path:
        """The domain's file. Names that are not plain get a hash, so none can leave the folder or meet another."""
        if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", domain):
            return self.folder / f"{domain}{SUFFIX}"
        readable = re.sub(r"[^a-z0-9]+", "-", domain.lower()).strip("-")[:40] or "domain"
        digest = hashlib.sha256(domain.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return self.folder / f"{readable}.{digest}{SUFFIX}"

    def offer(self, domain: str, learned: Learned) -> bool:
        """Something new was learned; saved now if the interval is over, else by a later ``tick``. True if saved.

        Raises:
            ValueError: the weights are not finite; the earlier file stays.
            CheckpointError: another process has written the file meanwhile; it stays.
            OSError: the disk is full or the folder is gone; the earlier file stays, and the offer stays pending.
        """
        self.put(domain, learned)
        return domain in self.tick()

    def put(self, domain: str, learned: Learned) -> None:
        """Something new was learned; a later ``tick`` or ``flush`` saves it."""
        self._pending[domain] = learned

    def tick(self) -> list[str]:
        """Save what is due; call it at least as often as the interval. Returns the domains that were saved.

        Raises:
            ValueError, CheckpointError, OSError: as ``offer``.
        """
        now = self._clock()
        due = [d for d in self._pending if now - self._tried_at.get(d, self._started) >= self.interval_s]
        return self._save_all(due)

    def flush(self) -> list[str]:
        """Save everything that is pending, due or not.

        Raises:
            ValueError, CheckpointError, OSError: as ``offer``.
        """
        return self._save_all(list(self._pending))

    def load(self, domain: str) -> dict[str, npt.NDArray[np.float32]] | None:
        """The domain's weights, float32; None if nothing was saved.

        Raises:
            CheckpointError: the file is damaged, or of another base, model or domain.
        """
        decoder = self.read(domain)
        return None if decoder is None else decoder.resolve(self.base)

    def read(self, domain: str) -> AdaptedDecoder | None:
        """The domain's file, to be resolved on ``base``; None if nothing was saved.

        Raises:
            CheckpointError: the file is damaged, or of another model or domain.
        """
        path = self.path(domain)
        if not path.exists():
            return None
        stamp, decoder = _stamp(path), read_adapted(path)
        self._known[path] = stamp
        if decoder.info.domain != domain or decoder.info.model != self._info.model:
            raise CheckpointError(
                f"{path} holds domain {decoder.info.domain!r} of model {decoder.info.model}, wanted {domain!r} of "
                f"{self._info.model}: it was renamed or copied; give it back its name"
            )
        return decoder

    @property
    def pending(self) -> list[str]:
        """Domains that were learned and are not saved yet."""
        return sorted(self._pending)

    def domains(self) -> list[str]:
        """The names of all saved domains, sorted; files that cannot be read are left out."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            if path.name.startswith("."):
                continue  # an unfinished file of a killed process
            try:
                found.append(read_adapted(path).info.domain)
            except CheckpointError:
                continue
        return sorted(found)

    def _save_all(self, domains: list[str]) -> list[str]:
        """Try each of them, also when one fails; what they raise comes out as one chain."""
        with contextlib.ExitStack() as stack:
            for domain in reversed(domains):
                stack.callback(self._save, domain)
        return domains

    def _save(self, domain: str) -> None:
        learned = self._pending[domain]
        self._tried_at[domain] = self._clock()
        info = replace(
            self._info, domain=domain, counts=learned.counts, metrics=learned.metrics, versions=learned.versions
        )
        path = self.path(domain)
        if _stamp(path) != self._known.get(path):
            raise CheckpointError(
                f"{path} was written by another process since it was read here, and is left as it is: let one process "
                "at a time learn a domain in a folder, or give each a folder of its own"
            )
        write_adapted(path, learned.weights(), self.base, info, precision=self._precision)
        self._known[path] = _stamp(path)
        del self._pending[domain]
        self.saved += 1


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another of the same name; None where there is none. Every save makes a new file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
