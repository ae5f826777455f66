"""``livesam demo``: real photos, a scripted user, pictures and timings; the main job of ``make run``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from livesam.app.options import (
    CheckpointOption,
    DeviceOption,
    EdgesOption,
    ModelOption,
    ObeyOption,
    PlainOption,
    PrecisionOption,
    Runtime,
    RuntimeOption,
    SizeOption,
    ZoomOption,
)

if TYPE_CHECKING:
    from livesam.app.photos import Photo, ScriptedObject
    from livesam.engine.session.session import Session
    from livesam.engine.values.result import MaskResult
    from livesam.engine.view.overlay import Pixels


@dataclass(frozen=True, eq=False)
class Answer:
    """What came back for one prompt of the script."""

    prompt: str
    result: MaskResult
    latency_ms: float


@dataclass(frozen=True, eq=False)
class PhotoRun:
    """One photo's embedding time and all answers, by object."""

    photo: Photo
    image: Pixels
    encode_ms: float
    answers: Mapping[str, Sequence[Answer]] = field(default_factory=dict)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pictures and report; made when missing.")],
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    zoom: ZoomOption = None,
    obey: ObeyOption = None,
    edges: EdgesOption = None,
    plain: PlainOption = False,
) -> None:
    """Segment real photos with scripted clicks; write overlays and a report, print a table with timings."""
    import numpy as np
    from livesam.app.opening import look_of, open_session, opening_of
    from livesam.app.photos import PHOTOS
    from livesam.engine.files.atomic import write_json
    from livesam.engine.models.spec import spec

    images = [photo.load() for photo in PHOTOS]
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out names a file, a folder is wanted: {str(out)!r}")
    out.mkdir(parents=True, exist_ok=True)

    started = time.perf_counter()
    look = look_of(model, zoom, obey, edges, plain=plain)
    session = open_session(opening_of(model, checkpoint, runtime, precision, device, size), look=look)
    open_ms = (time.perf_counter() - started) * 1e3

    # The first image and click of a runtime pay for its warm-up; the table is about every later one.
    session.set_image(np.ascontiguousarray(images[0][::-1]))
    session.click(0, 0)

    runs = [_run(session, photo, image) for photo, image in zip(PHOTOS, images, strict=True)]
    pictures = _write_pictures(runs, out)
    chosen = {"model": model, "size": spec(model, size).image_size, **asdict(look)}
    report = _report(session, chosen, open_ms, runs, pictures)
    write_json(out / "report.json", report)
    _print_table(runs, report, out)


def _run(session: Session, photo: Photo, image: Pixels) -> PhotoRun:
    started = time.perf_counter()
    session.set_image(image)
    encode_ms = (time.perf_counter() - started) * 1e3
    answers: dict[str, list[Answer]] = {}
    for item in photo.objects:
        answers[item.name] = _segment(session, item)
        session.accept()
    return PhotoRun(photo, image, encode_ms, answers)


def _segment(session: Session, item: ScriptedObject) -> list[Answer]:
    answers: list[Answer] = []
    session.reset()
    if item.box is not None:
        started = time.perf_counter()
        result = session.box(*item.box.as_tuple())
        answers.append(Answer("box", result, (time.perf_counter() - started) * 1e3))
    for click in item.clicks:
        started = time.perf_counter()
        result = session.click(click.x, click.y, positive=click.positive)
        prompt = f"{'+' if click.positive else '-'}({click.x:g}, {click.y:g})"
        answers.append(Answer(prompt, result, (time.perf_counter() - started) * 1e3))
    return answers


def _write_pictures(runs: Sequence[PhotoRun], out: Path) -> dict[str, str]:
    """An overlay for each photo, and one sheet with all of them."""
    from livesam.app.sheet import caption, tile
    from livesam.engine.files.picture import write_picture
    from livesam.engine.view.overlay import Layer, draw

    names: dict[str, str] = {}
    pictures = []
    for run in runs:
        layers = [Layer(run.answers[item.name][-1].result.mask, item.clicks, item.box) for item in run.photo.objects]
        picture = draw(run.image, layers)
        names[run.photo.name] = f"{run.photo.name}.png"
        write_picture(out / names[run.photo.name], picture)
        click_ms = sorted(answer.latency_ms for answers in run.answers.values() for answer in answers)
        pictures.append(caption(picture, f"{len(click_ms)} prompts, {click_ms[len(click_ms) // 2]:.0f} ms each"))
    names["overview"] = "overview.jpg"
    write_picture(out / names["overview"], tile(pictures, columns=3, cell_hw=(400, 560)))
    return names


def _report(
    session: Session,
    chosen: Mapping[str, object],
    open_ms: float,
    runs: Sequence[PhotoRun],
    pictures: Mapping[str, str],
) -> dict[str, object]:
    import numpy as np
    from livesam.benchmarks.reports.environment import environment

    clicks = [answer.latency_ms for run in runs for answers in run.answers.values() for answer in answers]
    return {
        **chosen,
        "runtime": session.runtime,
        "environment": environment().to_json(),
        "open_ms": round(open_ms, 1),
        "encode_p50_ms": round(float(np.median([run.encode_ms for run in runs])), 2),
        "click_p50_ms": round(float(np.median(clicks)), 2),
        "click_max_ms": round(max(clicks), 2),
        "photos": [
            {
                "name": run.photo.name,
                "image_hw": list(run.image.shape[:2]),
                "picture": pictures[run.photo.name],
                "encode_ms": round(run.encode_ms, 2),
                "objects": [
                    {
                        "name": name,
                        "area": round(float(answers[-1].result.mask.mean()), 4),
                        "answers": [
                            {
                                "prompt": answer.prompt,
                                "iou": round(float(answer.result.iou), 4),
                                "latency_ms": round(answer.latency_ms, 2),
                                "timings_ms": {k: round(v, 3) for k, v in answer.result.timings_ms.items()},
                                "decoder_version": answer.result.decoder_version,
                            }
                            for answer in answers
                        ],
                    }
                    for name, answers in run.answers.items()
                ],
            }
            for run in runs
        ],
        "overview": pictures["overview"],
    }


def _print_table(runs: Sequence[PhotoRun], report: Mapping[str, object], out: Path) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"livesam demo: {report['model']} on {report['runtime']}")
    for heading in ("photo", "size", "encode ms", "objects", "prompts", "click ms", "estimated IoU"):
        table.add_column(heading, justify="left" if heading == "photo" else "right")
    for run in runs:
        answers = [answer for group in run.answers.values() for answer in group]
        ious = [float(group[-1].result.iou) for group in run.answers.values()]
        table.add_row(
            run.photo.name,
            f"{run.image.shape[1]}x{run.image.shape[0]}",
            f"{run.encode_ms:.1f}",
            str(len(run.answers)),
            str(len(answers)),
            f"{np.median([answer.latency_ms for answer in answers]):.1f}",
            f"{np.mean(ious):.2f}",
        )
    console = Console()
    console.print(table)
    console.print("click ms: median; estimated IoU: mean of the decoder's own estimates", highlight=False)
    console.print(f"pictures and report.json are in {out}", highlight=False, soft_wrap=True)
