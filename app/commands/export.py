"""``livesam export``: weights to files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from livesam.app.commands.export_annotations import write_annotations
from livesam.app.commands.export_decoder import decoder
from livesam.app.options import CheckpointOption, ModelOption, Precision, SizeOption
from livesam.app.progress import working

export = typer.Typer(help="Write weights for other programs.", no_args_is_help=True, rich_markup_mode=None)


@export.command()
def encoder(
    out: Annotated[Path, typer.Option("--out", "-o", help="Graph to write, .onnx; its manifest goes beside it.")],
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    precision: Annotated[Precision, typer.Option("--precision", help="Weights and arithmetic.")] = Precision.fp32,
    opset: Annotated[int, typer.Option("--opset", min=17, max=23, help="ONNX operator set.")] = 17,
    uint8_input: Annotated[
        bool, typer.Option("--uint8-input", help="Take uint8 HxWx3, already resized; normalise and pad inside.")
    ] = False,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="Any number of images a call.")] = False,
) -> None:
    """Write the image encoder as ONNX, checked against PyTorch before it gets its name."""
    from livesam.app.arguments import check_output
    from livesam.engine.models.spec import spec

    check_output(out, "--out", (".onnx",))
    if uint8_input and dynamic_batch:
        raise ValueError("--uint8-input takes one image a call: leave out --dynamic-batch")
    wanted = spec(model, size)

    from livesam.engine.models.loading import load
    from livesam.export.graphs.encoder import export_encoder

    with working(f"exporting {model}'s encoder in {precision.value}"):
        manifest = export_encoder(
            load(model, checkpoint, size),
            wanted,
            out,
            precision.value,
            opset,
            uint8_input,
            batch=None if dynamic_batch else 1,
        )
    size_mib = sum((out.parent / name).stat().st_size for name in manifest.files) / 2**20
    what = f"{model} at {wanted.image_size} px in {precision.value}, opset {manifest.opset}"
    typer.echo(f"{out}: {what}, {size_mib:.1f} MiB, checked with PyTorch")


export.command()(decoder)
export.command("annotations")(write_annotations)
