"""Every version of every domain's decoder, and which of them serves.

A domain is a list of entries that only grows: ``domains/HASH/00000001.json``, ``00000002.json``, ... Each names a blob
by its SHA-256 and the labels that point to it from then on; a version is the number of the entry that published it,
plus what ``adopt`` began with, so no two writers ever give one number to two decoders. Going back is one more entry.
Nothing is changed and nothing is deleted, so a reader that knows n entries asks for number n + 1 and for nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from livesam.app.storage import Target
from livesam.engine.serving.version import BASE, CANDIDATE, STABLE, require_label
from livesam.engine.values.errors import CheckpointError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened to a domain.

    Attributes:
        number: its place in the domain's history, from 1.
        version: that the labels point to, 0 for the base.
        digest: SHA-256 of the version's blob; empty for the base.
        labels: that point to it from now on.
        created: UTC, ISO 8601.
        note: what the writer says of it.
        published: whether it brought a new version.
    """

    number: int
    version: int
    digest: str
    labels: tuple[str, ...]
    created: str
    note: Mapping[str, Any] = field(default_factory=dict)
    published: bool = False


@dataclass(frozen=True, slots=True)
class _Said:
    """What a writer wants to say of a version."""

    version: int
    digest: str
    published: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a label leads to.

    Attributes:
        version: 0 for the base, whose blob is None.
        damaged: a sentence for each blob that should have come before this one and could not be read.
        passing: whether one of those may be readable later: its place gave an error, and no wrong bytes.
    """

    version: int
    digest: str
    blob: bytes | None
    damaged: tuple[str, ...] = ()
    passing: bool = False


class Registry:
    """Reads and writes one. Thread-safe; any number of processes may write at once.

    Args:
        url: a folder, or what fsspec makes of another address.

    Raises:
        LivesamError: fsspec, or what it needs for this address, is not installed.
        ValueError: it is no address that can be written to.
    """

    def __init__(self, url: str) -> None:
        self.url, self._place = url, Target(url)
        self._place.check()
        self._known: dict[str, list[Entry]] = {}
        self._lock = threading.Lock()

    # Writing

    def publish(
        self, domain: str, blob: bytes, labels: Sequence[str] = (CANDIDATE,), note: Mapping[str, Any] | None = None
    ) -> Entry:
        """A new version, with these labels.

        Raises:
            ValueError: there is no such label, or the note is no JSON.
            OSError: it cannot be written; nothing was published.
        """
        digest = self._write(blob)
        entry = self._append(domain, lambda known: _Said(_next(known), digest, True), labels, note)
        assert entry is not None
        return entry

    def adopt(self, domain: str, blob: bytes, version: int) -> Entry | None:
        """What served without a registry serves on, under its number, and later ones are counted from there.

        Returns:
            None where the registry has come so far by itself, or another process was faster.

        Raises:
            OSError: it cannot be written.
        """
        if self.last(domain) >= version:
            return None
        said = _Said(version, self._write(blob), True)
        return self._append(domain, lambda known: None if _last(known) >= version else said, (CANDIDATE, STABLE), None)

    def promote(self, domain: str, version: int, label: str = STABLE, note: Mapping[str, Any] | None = None) -> Entry:
        """Move a label to a version that was published before, or to 0; for ``stable`` that is a rollback.

        Raises:
            ValueError: there is no such version or label.
        """
        digest = "" if version == 0 else self._version(domain, version).digest
        entry = self._append(domain, lambda known: _Said(version, digest, False), (label,), note)
        assert entry is not None
        return entry

    # Reading

    def history(self, domain: str) -> tuple[Entry, ...]:
        """Everything that happened to a domain, the oldest first."""
        with self._lock:
            known = self._known.setdefault(domain, [])
            while True:
                number = known[-1].number + 1 if known else 1
                entry = self._entry(domain, number)
                if entry is None:
                    return tuple(known)
                known.append(entry)

    def last(self, domain: str) -> int:
        """The highest version; 0 where there is none."""
        return _last(self.history(domain))

    def labels(self, domain: str) -> dict[str, int]:
        """Where each label points; ``base`` is 0 always."""
        return {BASE: 0, **{label: entry.version for entry in self.history(domain) for label in entry.labels}}

    def read(self, domain: str, version: int) -> bytes:
        """A version's blob.

        Raises:
            ValueError: there is no such version.
            CheckpointError: its file is missing or damaged; the message names it.
            OSError, or what the place raises: it cannot be read now.
        """
        return self._blob(self._version(domain, version).digest)

    def find(self, domain: str, label: str = STABLE) -> Found:
        """What a label leads to, or led to before where that is damaged; the base where nothing else is left."""
        damaged: list[str] = []
        passing = False
        for entry in reversed(self.history(domain)):
            if label not in entry.labels:
                continue
            blob: bytes | None = None
            try:
                blob = None if entry.version == 0 else self._blob(entry.digest)
            except CheckpointError as error:
                said = str(error)
            except Exception as error:  # each of fsspec's file systems has errors of its own
                passing, said = True, f"{self._place.where(_blob(entry.digest))} cannot be read now: {error}"
            else:
                return Found(entry.version, entry.digest, blob, tuple(damaged), passing)
            if said not in damaged:
                damaged.append(said)
        return Found(0, "", None, tuple(damaged), passing)

    def _version(self, domain: str, version: int) -> Entry:
        for entry in self.history(domain):
            if entry.published and entry.version == version:
                return entry
        known = ", ".join(str(entry.version) for entry in self.history(domain) if entry.published) or "none"
        raise ValueError(f"domain {domain!r} has no version {version} in {self.url}: it has {known}")

    def _write(self, blob: bytes) -> str:
        digest = hashlib.sha256(blob).hexdigest()
        if not self._intact(digest):
            self._place.write(_blob(digest), blob)
        return digest

    def _append(
        self, domain: str, what: Callable[[Sequence[Entry]], _Said | None], labels: Sequence[str],
        note: Mapping[str, Any] | None,
    ) -> Entry | None:  # fmt: skip
        for label in labels:
            require_label(label)
        while True:
            known = self.history(domain)
            number = known[-1].number + 1 if known else 1
            one = what(known)
            if one is None:
                return None
            created = datetime.now(UTC).isoformat("T", "milliseconds")
            said = {
                "domain": domain, "version": one.version, "sha256": one.digest, "labels": list(labels),
                "created": created, "note": dict(note or {}), "published": one.published,
            }  # fmt: skip
            try:
                self._place.create(_name(domain, number), json.dumps(said, allow_nan=False).encode())
            except FileExistsError:
                continue  # another writer was faster: its entry comes first
            return Entry(number, one.version, one.digest, tuple(labels), created, note or {}, one.published)

    def _entry(self, domain: str, number: int) -> Entry | None:
        name = _name(domain, number)
        try:
            content = self._place.read(name)
            if content is None:
                return None
            said = json.loads(content)
            if said["domain"] != domain:
                raise ValueError(f"it is of domain {said['domain']!r}")
            version = int(said["version"])
            return Entry(
                number, version, str(said["sha256"]), tuple(said["labels"]), said["created"], said["note"],
                bool(said.get("published", number == version)),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            # It keeps its number, so that no later version gets it, and moves no label.
            log.error("%s is damaged and left out: %s", self._place.where(name), error)
            return Entry(number, -1, "", (), "", {"damaged": str(error)})

    def _blob(self, digest: str) -> bytes:
        where = self._place.where(_blob(digest))
        blob = self._place.read(_blob(digest))
        if blob is None:
            raise CheckpointError(f"the decoder {where} is missing")
        if hashlib.sha256(blob).hexdigest() != digest:
            raise CheckpointError(f"the decoder {where} is damaged: its content does not match its name")
        return blob

    def _intact(self, digest: str) -> bool:
        try:
            self._blob(digest)
        except Exception:  # damaged, or its place does not say: it is written again
            return False
        return True


def _last(known: Sequence[Entry]) -> int:
    return max((entry.version for entry in known if entry.published), default=0)


def _next(known: Sequence[Entry]) -> int:
    """The number of the next entry, moved on by as much as one that was adopted is ahead of its own."""
    number = known[-1].number + 1 if known else 1
    return number + max((entry.version - entry.number for entry in known if entry.published), default=0)


def _blob(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def _name(domain: str, number: int) -> str:
    """A domain's name is anybody's choice, so its folder is the name's hash."""
    return f"domains/{hashlib.sha256(domain.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}/{number:08d}.json"
