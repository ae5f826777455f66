"""``livesam label``: masks for whole folders, proposed by a decoder that has learned what to look for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from livesam.app.options import (
    BandsOption,
    CheckpointOption,
    DeviceOption,
    EdgesOption,
    ModelOption,
    PrecisionOption,
    RayOption,
    Runtime,
    RuntimeOption,
    ShardOption,
    SizeOption,
    WorkersOption,
)


class LabelFormat(StrEnum):
    """Parquet shards alone, or with one COCO file of all of them."""

    coco = "coco"
    parquet = "parquet"


def label(
    paths: Annotated[
        list[str],
        typer.Argument(help="Images, folders of them, or .txt lists; paths or URLs.", metavar="SOURCE..."),
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for the masks; made when missing.", metavar="TARGET")],
    like: Annotated[
        str | None,
        typer.Option("--like", help="COCO file of examples: look for what is like its objects.", metavar="FILE"),
    ] = None,
    adapted: Annotated[
        str | None, typer.Option("--adapted", help="Decoder that was learned on this model.", metavar="FILE")
    ] = None,
    format: Annotated[
        LabelFormat, typer.Option("--format", "-f", help="coco also writes annotations.json, masks as RLE.")
    ] = LabelFormat.coco,
    grid: Annotated[
        int, typer.Option("--grid", help="Without --like, click on so many points along each side.", metavar="N")
    ] = 16,
    min_iou: Annotated[
        float, typer.Option("--min-iou", help="Of the grid's masks keep those of which the decoder is as sure.")
    ] = 0.7,
    most: Annotated[int, typer.Option("--most", help="Masks of an image at most.", metavar="N")] = 100,
    name: Annotated[str, typer.Option("--name", help="The label of the grid's masks.")] = "object",
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    edges: EdgesOption = None,
    bands: BandsOption = None,
    shard: ShardOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
) -> None:
    """Propose masks for whole folders; run again, it goes on where it stopped.

    With --like, what looks like the examples, by their labels; without, whatever a grid of clicks finds. Of masks that
    say the same the surest is kept. Images that cannot be used are named and left out, and the exit code is then 1.
    """
    from livesam.app.arguments import parse_bands
    from livesam.app.commands.job import JobOptions, run_job
    from livesam.app.jobs.examples import read_examples
    from livesam.app.jobs.labels import COCO, Label, write_coco
    from livesam.app.jobs.source import find
    from livesam.app.opening import look_of, opening_of
    from livesam.app.storage import Target, absolute, read
    from livesam.engine.session.everything import Sieve

    chosen = parse_bands(bands)
    opening = opening_of(model, checkpoint, runtime, precision, device, size)
    look = look_of(model, False, False, edges)  # one click each: nothing to obey or to look closer at
    examples = () if like is None else read_examples(like, find(paths).root, chosen)
    learned = None if adapted is None else read(adapted)
    work = Label(opening, look, learned, examples, Sieve(side=grid, iou=min_iou, most=most), name, chosen)
    said = {"like": like, "adapted": adapted, "grid": grid, "min_iou": min_iou, "most": most}
    done = run_job(work, opening, paths, out, JobOptions(ray, workers, shard, chosen, said))
    objects = sum(facts["objects"] for one in done.outcome.shards for facts in one.images.values())
    if format is LabelFormat.coco:
        names = list(dict.fromkeys(one.label for example in examples for one in example.objects)) or [name]
        write_coco(Target(absolute(out)), done.outcome.shards, names)
        done.tell("labelled", f" and {COCO}, {objects} masks")
    else:
        done.tell("labelled", f", {objects} masks")
