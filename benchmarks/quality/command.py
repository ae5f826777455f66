"""A benchmark's function as a command of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer
from livesam.engine.values.errors import LivesamError


def run_command(name: str, function: Callable[..., None]) -> None:
    """Run it on the command line's arguments: bad ones are one sentence and exit code 2, a failure is one and 1."""
    try:
        typer.run(function)
    except (LivesamError, ValueError) as error:
        if os.environ.get("LIVESAM_DEBUG"):
            raise
        typer.echo(f"{name}: {error}", err=True)
        sys.exit(1 if isinstance(error, LivesamError) else 2)
