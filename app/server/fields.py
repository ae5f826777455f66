"""Fields of a client's message, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LONGEST = 200  # letters of a name


def text(said: Mapping[str, Any], name: str) -> str:
    """A text of at most 200 letters.

    Raises:
        ValueError: it is missing, or something else.
    """
    value = said.get(name)
    if not isinstance(value, str) or not value or len(value) > LONGEST:
        raise ValueError(f"{name} is a text of 1 to {LONGEST} letters, got {_short(value)}")
    return value


def label_of(said: Mapping[str, Any]) -> str:
    """The label: what an object is.

    Raises:
        ValueError: it is missing, or no name.
    """
    return check_label(text(said, "label"))


def check_label(name: str) -> str:
    """A label's name, without space around it.

    Raises:
        ValueError: it is empty, too long, or has letters that cannot be shown.
    """
    plain = name.strip()
    if not plain or len(plain) > LONGEST or not plain.isprintable():
        raise ValueError(f"a label is a name of 1 to {LONGEST} letters that can be shown, got {_short(name)}")
    return plain


def number(said: Mapping[str, Any], name: str) -> float:
    """A finite number.

    Raises:
        ValueError: it is missing, or something else.
    """
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError(f"{name} is a finite number, got {_short(value)}")
    return float(value)


def index(said: Mapping[str, Any], name: str) -> int:
    """A whole number from 0 on.

    Raises:
        ValueError: it is missing, or something else.
    """
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"{name} is a whole number from 0 on, got {_short(value)}")
    return value


def flag(said: Mapping[str, Any], name: str, default: bool) -> bool:
    """True or false.

    Raises:
        ValueError: it is something else.
    """
    value = said.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false, got {_short(value)}")
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:80]}..."
