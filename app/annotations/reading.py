"""JSON files of others, read with care."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from livesam.app.annotations.values import Annotated
from livesam.engine.files.image import MAX_PIXELS

__all__ = ["MAX_PIXELS", "gathered", "parsed", "sized", "whole"]


def parsed(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is not {what}: it is no JSON ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise ValueError(f"this is not {what}: it is a JSON {type(found).__name__}, not an object")
    return found


def gathered(
    given: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], Annotated | None]
) -> tuple[tuple[Annotated, ...], tuple[str, ...]]:
    """The objects that can be read and are not empty, and a sentence for each of the others."""
    objects: list[Annotated] = []
    problems: list[str] = []
    for one in given:
        try:
            found = read(one)
        except Exception as error:  # one damaged object leaves the others
            problems.append(f"an object was left out: {str(error) or type(error).__name__}"[:300])
        else:
            objects += [] if found is None else [found]
    return tuple(objects), tuple(problems)


def whole(value: object) -> int:
    """A whole number.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"a whole number is wanted, got {value!r}")
    return int(value)


def sized(image: Mapping[str, Any], height: str = "height", width: str = "width") -> tuple[int, int]:
    """An image's height and width.

    Raises:
        ValueError: they are no size of an image that is read.
    """
    hw = (whole(image[height]), whole(image[width]))
    if min(hw) < 1 or hw[0] * hw[1] > MAX_PIXELS:
        raise ValueError(f"an image has 1 to {MAX_PIXELS} pixels, got {hw[1]} x {hw[0]}")
    return hw
