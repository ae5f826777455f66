"""``livesam salvage``: what can still be read of a damaged database of `livesam serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def salvage(
    folder: Annotated[Path, typer.Argument(help="The output folder of `livesam serve`, which may not be serving.")],
) -> None:
    """Put the objects of a damaged annotations.sqlite that can still be read into a new one; the old one is kept."""
    from livesam.app.server.database import FILE
    from livesam.app.server.salvage import salvage as save

    if not (folder / FILE).is_file():
        raise ValueError(f"there is no {FILE} in {str(folder)!r}: give the output folder of `livesam serve`")
    found = save(folder)
    lost = f"; lost: {', '.join(map(str, found.lost))}" if found.lost else ""
    typer.echo(f"{found.objects} objects are in {folder / FILE}{lost}; the damaged one is {found.aside.name}")
