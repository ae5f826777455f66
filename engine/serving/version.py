"""A version of the decoder's weights, and the labels that versions carry."""

from __future__ import annotations

from dataclasses import dataclass

BASE, CANDIDATE, STABLE = "base", "candidate", "stable"
MOVABLE_LABELS = (CANDIDATE, STABLE)


@dataclass(frozen=True, slots=True)
class Version:
    """A version that can be gone back to."""

    number: int
    labels: tuple[str, ...]
    current: bool


def require_label(label: str | None) -> None:
    """Refuse a label that cannot be moved; None is none.

    Raises:
        ValueError: there is no such label.
    """
    if label is not None and label not in MOVABLE_LABELS:
        raise ValueError(f"unknown label {label!r}: choose {' or '.join(MOVABLE_LABELS)} ({BASE} stays where it is)")
