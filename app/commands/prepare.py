"""``livesam prepare``: build a model's engines ahead of time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from livesam.app.options import (
    CheckpointOption,
    DeviceOption,
    PrecisionOption,
    Runtime,
    RuntimeOption,
    SizeOption,
)


def prepare(
    model: Annotated[str, typer.Argument(help="nano, vit_t, vit_b, vit_l or vit_h.", metavar="MODEL")],
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    photos: Annotated[
        Path | None,
        typer.Option("--photos", help="With --precision int8: calibrate on photos of this folder.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Export, check and build a model's engines, so that every later start finds them.

    Run again after an interruption, it goes on after the last file that was finished. An encoder in int8 is kept only
    where masks on photos that it was not calibrated on agree with those of fp32.
    """
    from livesam.app.opening import opening_of
    from livesam.export.preparing.prepare import prepare as prepare_it

    started = time.perf_counter()

    def tell(stage: str) -> None:
        typer.echo(f"{time.perf_counter() - started:6.1f} s  {stage}", err=True)

    opening = opening_of(model, checkpoint, runtime, precision, device, size)
    if photos is not None and precision != "int8":
        raise ValueError(f"--photos {photos} calibrates int8: give --precision int8 too, or leave it out")
    made = prepare_it(opening, tell, photos=photos)
    typer.echo(
        f"{made.model} at {made.size} px: encoder {made.encoder}, {made.difference:.0e} of its range off PyTorch, "
        f"decoder {made.decoder}; built in {made.seconds:.0f} s with {made.peak_mib / 1024:.1f} GiB"
    )
