"""The options that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand

CHECKPOINT_HELP = "Weights file of that model; not needed for nano, nor after `livesam download`."
RUNTIME_HELP = "What runs it; onnxruntime:tensorrt is ONNX Runtime with its own TensorRT provider."


class Runtime(StrEnum):
    """What runs the encoder and the decoder; ``auto`` takes the fastest that is usable here."""

    auto = "auto"
    torch = "torch"
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    tensorrt = "tensorrt"
    onnxruntime_tensorrt = "onnxruntime:tensorrt"
    tensorrt_rtx = "tensorrt_rtx"


class Precision(StrEnum):
    """Number format of weights and arithmetic."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"


ModelOption: TypeAlias = Annotated[
    str, typer.Option("--model", "-m", help="nano (bundled), vit_t, vit_b, vit_l or vit_h.", metavar="MODEL")
]
SizeOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--size", help="Side of the model's input: 512 (nano's usual) or 1024 for nano.", metavar="PIXELS"),
]
CheckpointOption: TypeAlias = Annotated[Path | None, typer.Option("--checkpoint", help=CHECKPOINT_HELP, metavar="FILE")]
RuntimeOption: TypeAlias = Annotated[Runtime, typer.Option("--runtime", "-r", help=RUNTIME_HELP)]
PrecisionOption: TypeAlias = Annotated[
    Precision | None,
    typer.Option("--precision", help="Number format; the runtime's usual one when not given. int8: OpenVINO, on CPUs."),
]
DeviceOption: TypeAlias = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda or cuda:N; asking for cuda where there is none fails.")
]
# None: as the front door does it, all three with nano and none with the official models.
ZoomOption: TypeAlias = Annotated[
    bool | None,
    typer.Option("--zoom/--no-zoom", help="From the second click on look at the object's surroundings.  [nano: on]"),
]
ObeyOption: TypeAlias = Annotated[
    bool | None,
    typer.Option("--obey/--no-obey", help="Correct the mask around clicks that it contradicts.  [nano: on]"),
]
EdgesOption: TypeAlias = Annotated[
    bool | None, typer.Option("--edges/--no-edges", help="Draw masks to the image's own edges.  [nano: on]")
]
PlainOption: TypeAlias = Annotated[bool, typer.Option("--plain", help="None of the three: SamPredictor's answers.")]
BandsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--bands",
        help="Read these bands, from 1 on, of images that do not say which are colours: red, green and blue, or one.",
        metavar="N[,N,N]",
    ),
]
RayOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Let Ray do it: on this machine, or on the cluster at auto, HOST:PORT or ray://HOST:PORT.",
        metavar="[ADDRESS]",
    ),
]
WorkersOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--workers", help="With --ray, at most so many workers.  [one a GPU, or one a core]", metavar="N"),
]
ShardOption: TypeAlias = Annotated[
    int | None, typer.Option("--shard", help="Images of a shard at most.  [64]", metavar="N")
]
RAY_ADDRESS = re.compile(r"local|auto|ray://.+|[\w.-]+:\d+")


class RayCommand(TyperCommand):
    """A command whose ``--ray`` may stand without a value, which is ``local``; typer's options always take one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        said: list[str] = []
        for i, word in enumerate(args):
            said.append(word)
            following = args[i + 1] if i + 1 < end else ""
            if word == "--ray" and i < end and not RAY_ADDRESS.fullmatch(following):
                said.append("local")
        return super().parse_args(ctx, said)
