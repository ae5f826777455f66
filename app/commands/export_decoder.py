"""``livesam export decoder``: what was learned, in the format of another program."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from livesam.app.options import CheckpointOption, ModelOption, Precision
from livesam.app.progress import working


class DecoderFormat(StrEnum):
    """The formats of ``livesam.export.decoder_export.FORMATS``."""

    sam_pth = "sam-pth"
    sam_onnx = "sam-onnx"
    cvat_onnx = "cvat-onnx"
    cvat = "cvat"
    x_anylabeling = "x-anylabeling"
    hf = "hf"
    openvino = "openvino"
    tensorrt = "tensorrt"
    safetensors = "safetensors"
    triton = "triton"


def decoder(
    format: Annotated[DecoderFormat, typer.Option("--format", "-f", help="What to write.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File or folder to write; a manifest goes with it.")],
    model: ModelOption = "nano",
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Side of nano's input, 512 or 1024; 1024 for what wants SAM's own frame, else what it learned at.",
            metavar="PIXELS",
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    adapted: Annotated[
        Path | None, typer.Option("--adapted", help="Adapted decoder; the base's own when not given.", metavar="FILE")
    ] = None,
    single: Annotated[
        bool, typer.Option("--single", help="One mask by the official rule (sam-onnx, openvino, triton).")
    ] = False,
    quantised: Annotated[
        bool, typer.Option("--quantised", "--quantized", help="uint8 weights in linear layers (sam-onnx).")
    ] = False,
    uint8_input: Annotated[
        bool, typer.Option("--uint8-input", help="The encoder takes one uint8 picture, already resized (triton).")
    ] = False,
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="onnxruntime, or python for servers without it (triton).", metavar="NAME"),
    ] = None,
    difference: Annotated[
        bool, typer.Option("--difference", help="Only what was learned, as float16 (safetensors).")
    ] = False,
    opset: Annotated[int | None, typer.Option("--opset", help="ONNX operator set, from 17 (ONNX formats).")] = None,
    precision: Annotated[
        Precision | None, typer.Option("--precision", help="Number format (openvino, tensorrt).")
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option("--capability", help="GPU to build for ahead of time, e.g. SM86 (tensorrt).", metavar="SM"),
    ] = None,
    library: Annotated[
        str | None, typer.Option("--library", help="tensorrt or tensorrt_rtx (tensorrt).", metavar="NAME")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name there (x-anylabeling, triton).", metavar="NAME")
    ] = None,
) -> None:
    """Write a decoder for another program; it is checked before it gets its name, and the manifest says how."""
    options: dict[str, Any] = {}
    for key, flag in (
        ("single", single),
        ("quantised", quantised),
        ("difference", difference),
        ("uint8_input", uint8_input),
    ):
        if flag:
            options[key] = True
    if precision is not None:
        options["precision"] = precision.value
    given = {"opset": opset, "capabilities": capability, "library": library, "name": name, "backend": backend}
    for key, value in given.items():
        if value:
            options[key] = value

    from livesam.export.decoder_export import export_decoder

    with working(f"exporting {model}'s decoder as {format.value}"):
        manifest = export_decoder(
            model,
            format=format.value,
            out=out,
            size=size,
            checkpoint=checkpoint,
            adapted=adapted,
            **options,
        )
    folder = out if out.is_dir() else out.parent
    size_mib = sum((folder / file).stat().st_size for file in manifest.files) / 2**20
    what = f"{model}'s decoder as {format.value}, {manifest.precision}, {size_mib:.1f} MiB"
    typer.echo(f"{out}: {what}; {manifest.parity['claim']}")
