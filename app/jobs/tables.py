"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livesam.engine.values.errors import LivesamError


def parquet() -> tuple[Any, Callable[..., None]]:
    """The ``pyarrow`` module, and what writes a table to a path.

    Raises:
        LivesamError: it is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet as files
    except ImportError as error:
        raise LivesamError(f"Parquet needs pyarrow ({error}): pip install 'livesam[scale]'") from error
    return pyarrow, files.write_table
