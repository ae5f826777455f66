"""``livesam export annotations``: what was accepted in the page, as a file for another program."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class AnnotationFormat(StrEnum):
    """The formats of ``livesam.app.annotations.formats.EXPORTS``."""

    coco = "coco"
    coco_rle = "coco-rle"
    png = "png"
    labelme = "labelme"
    yolo = "yolo"
    cvat = "cvat"


def write_annotations(
    folder: Annotated[Path, typer.Argument(help="The output folder of `livesam serve`; it may be serving.")],
    format: Annotated[AnnotationFormat, typer.Option("--format", "-f", help="What to write.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
) -> None:
    """Write every object that was accepted."""
    from livesam.app.annotations.formats import EXPORTS
    from livesam.app.arguments import check_output
    from livesam.app.server.database import FILE
    from livesam.app.server.exchange import dataset
    from livesam.app.server.store import Store
    from livesam.engine.files.atomic import atomic_write

    chosen = EXPORTS[format.value]
    check_output(out, "--out", (chosen.suffix,))
    if not (folder / FILE).is_file():
        raise ValueError(f"there is no {FILE} in {str(folder)!r}: give the output folder of `livesam serve`")
    store = Store(folder)
    try:
        with atomic_write(out) as file:
            chosen.write(dataset(store), file)
    finally:
        store.close()
    typer.echo(f"{out}: {format.value}")
