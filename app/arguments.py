"""Command-line values to prompts: ``X,Y``, ``X,Y,-`` and ``X0,Y0,X1,Y1``; to bands and paths."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livesam.engine.values.prompt import Box, Click, Prompt

_SIGNS = {"+": True, "-": False}


def parse_click(text: str) -> Click:
    """``X,Y`` or ``X,Y,+`` belongs to the object, ``X,Y,-`` does not.

    Raises:
        ValueError: another form, or a coordinate that is not a finite number.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in _SIGNS):
        raise ValueError(f"--click wants X,Y or X,Y,- (not part of the object), got {text!r}")
    x, y = _numbers(parts[:2], "--click", text)
    return Click(x, y, _SIGNS[parts[2]] if len(parts) == 3 else True)


def parse_box(text: str) -> Box:
    """``X0,Y0,X1,Y1``, the top-left corner first.

    Raises:
        ValueError: another form, an empty or reversed box, or a coordinate that is not a finite number.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4:
        raise ValueError(f"--box wants X0,Y0,X1,Y1, got {text!r}")
    return Box(*_numbers(parts, "--box", text))


def build_prompt(clicks: Sequence[str], box: str | None) -> Prompt:
    """All of the command line's clicks and its box as one prompt.

    Raises:
        ValueError: one of them is malformed, or there is none at all.
    """
    parsed = tuple(parse_click(text) for text in clicks)
    corners = None if box is None else parse_box(box)
    if not parsed and corners is None:
        raise ValueError("nothing says which object is meant: give at least one --click X,Y or a --box X0,Y0,X1,Y1")
    return Prompt(parsed, corners)


def parse_bands(text: str | None) -> tuple[int, ...] | None:
    """``3,2,1`` or ``4``, bands counted from 1; None where none are given.

    Raises:
        ValueError: another form.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (1, 3) or not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise ValueError(f"--bands wants one or three numbers from 1 on, e.g. 3,2,1, got {text!r}")
    return tuple(int(part) for part in parts)


def check_output(path: Path, option: str, suffixes: Sequence[str]) -> Path:
    """The path, when a file of one of these types could be written there; said before any work is done.

    Raises:
        ValueError: the suffix is another, the path is a folder, or its folder does not exist.
        OSError: its folder cannot be written to.
    """
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{option} must end in {' or '.join(suffixes)}, got {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"{option} names a folder, not a file: {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{option}: the folder {str(path.parent)!r} does not exist, make it first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise OSError(errno.EACCES, f"{option}: this folder cannot be written to", str(path.parent))
    return path


def check_not_input(path: Path, option: str, image: Path) -> None:
    """Refuse to write over the image that is read.

    Raises:
        ValueError: both are one file.
    """
    if path.exists() and image.exists() and path.samefile(image):
        raise ValueError(f"{option} names the image itself, which would be lost: {str(path)!r}")


def _numbers(parts: Sequence[str], option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"{option} wants numbers, got {text!r}") from None


def parse_settings(method: str, texts: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as values of the types that the method's configuration has.

    Raises:
        ValueError: another form, an unknown key, or a value of another type.
    """
    if not texts:
        return {}
    from livesam.adapter.registry import config_of

    config = config_of(method)
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not hasattr(config, key):
            raise ValueError(
                f"--set wants KEY=VALUE with a key of {', '.join(config.__dataclass_fields__)}, got {text!r}"
            )
        kind = type(getattr(config, key))
        if kind is bool:
            if value not in ("true", "false"):
                raise ValueError(f"--set {key} is true or false, got {value!r}")
            values[key] = value == "true"
        else:
            try:
                values[key] = kind(value)
            except (TypeError, ValueError):
                raise ValueError(f"--set {key} wants a value of type {kind.__name__}, got {value!r}") from None
    return values
