"""``livesam replay``: the recorded clicks of `livesam serve` once more, and whether the masks are the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from livesam.app.options import CheckpointOption, DeviceOption, ModelOption, Runtime, RuntimeOption, SizeOption


def replay(
    log: Annotated[Path, typer.Argument(help="The output folder of `livesam serve`, or its annotations.sqlite.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Where the images lie, if not where they were.", metavar="FOLDER")
    ] = None,
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    device: DeviceOption = None,
) -> None:
    """Answer every recorded click again with the decoder version of then, and compare the masks bit for bit.

    Exit code 1 if one differs. Other runtimes and other machines round otherwise, so give the runtime of then.
    """
    from livesam.app.opening import opening_of
    from livesam.app.progress import working
    from livesam.app.server.database import FILE
    from livesam.app.server.replay import Replay
    from livesam.app.server.store import Store
    from livesam.app.server.weights import FOLDER, WeightFiles
    from livesam.engine.values.errors import LivesamError
    from livesam.export.opening import open_encoder, open_engine

    out = log if log.is_dir() else log.parent
    if not (out / FILE).is_file():
        raise ValueError(f"there is no {FILE} in {str(out)!r}: give the output folder of `livesam serve`")
    store = Store(out)
    folder = images or Path(store.get("folder") or "")
    if not folder.is_dir():
        raise ValueError(f"the images are no longer in {str(folder)!r}: give --images")
    with working(f"opening {model}") as progress:
        opening = opening_of(model, checkpoint, str(runtime), None, device, size)
        engine = open_engine(opening, progress=progress)
    again = Replay(engine, store, WeightFiles(out / FOLDER, engine.base), folder, partial(open_encoder, opening))
    try:
        found = again.run()
    finally:
        again.close()
        engine.close()
        store.close()
    if found.differences:
        some = "; ".join(found.differences[:5])
        raise LivesamError(f"{len(found.differences)} of {found.objects} objects differ: {some}")
    left = f"; {found.left_out} without clicks were left out" if found.left_out else ""
    left += f"; {found.earlier} drawn by an earlier livesam: not compared" if found.earlier else ""
    typer.echo(f"{found.objects} objects, {found.answers} answers: every mask is the same, bit for bit{left}")
