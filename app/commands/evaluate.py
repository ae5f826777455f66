"""``livesam eval``: quality under simulated clicks (``benchmarks/quality/evaluation.py``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from livesam.app.options import SizeOption

if TYPE_CHECKING:
    from livesam.benchmarks.quality.protocol import Predictor
    from livesam.benchmarks.quality.settings import Settings
    from livesam.benchmarks.quality.side_by_side import MakePredictor
    from rich.console import Console

TABLE_COLUMNS = 140
LINES_A_SET = 10  # progress lines where there is no terminal to draw a bar on


def evaluate(
    sets: Annotated[list[str], typer.Argument(help="Sets below --data, by name or pattern ('nov_*'), or folders.")],
    data: Annotated[
        Path, typer.Option(help="Folder that holds the sets.", envvar="LIVESAM_DATA", show_envvar=True)
    ] = Path("."),
    method: Annotated[
        str, typer.Option(help="frozen, paper, paper/PRESET, dctta, live, or grabcut (OpenCV, no network).")
    ] = "frozen",
    model: Annotated[str, typer.Option("--model", "-m", help="nano (bundled), vit_t, vit_b, vit_l or vit_h.")] = "nano",
    size: SizeOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights file of that model; not needed for nano, nor after `livesam download`.")
    ] = None,
    adapted: Annotated[
        Path | None, typer.Option(help="Adapted or merged decoder to start from, made on that model.", metavar="FILE")
    ] = None,
    target_iou: Annotated[float, typer.Option(help="A mask this good is accepted.")] = 0.85,
    max_clicks: Annotated[int, typer.Option(help="The user gives up after so many clicks.")] = 20,
    seed: Annotated[int, typer.Option(help="Decides order and choice of the objects, and what a method draws.")] = 0,
    limit: Annotated[int | None, typer.Option(help="At most so many objects a set.")] = None,
    only: Annotated[
        str, typer.Option(help="Objects of one class alone, as a domain of its own.", metavar="CLASS")
    ] = "",
    token: Annotated[str, typer.Option(help="official: best of 3 at the first click; single: token 0 always.")] = (
        "official"
    ),
    runtime: Annotated[str, typer.Option("--runtime", "-r", help="torch; frozen also on the others.")] = "torch",
    device: Annotated[str, typer.Option(help="cpu or cuda, for torch.")] = "cpu",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A number of the method's, KEY=VALUE; may be repeated.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the result; FILE.jsonl beside it lets a killed run go on.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the curve of IoU over clicks, PNG.")] = None,
    learning_plot: Annotated[Path | None, typer.Option(help="Write failures over objects seen, PNG.")] = None,
    compare: Annotated[
        list[Path] | None, typer.Option(help="Another result's JSON for table and plots; may be repeated.")
    ] = None,
    edges: Annotated[bool, typer.Option("--edges", help="Draw masks to the image's own edges.")] = False,
    zoom: Annotated[
        bool, typer.Option("--zoom", help="From the second click on look at the object's surroundings.")
    ] = False,
    obey: Annotated[
        bool, typer.Option("--obey", help="Correct masks where they contradict clicks, as live does anyway.")
    ] = False,
    size_prior: Annotated[
        bool, typer.Option("--size-prior", help="Look at a first click in a window of the objects' size, as live does.")
    ] = False,
    grabcut: Annotated[bool, typer.Option("--grabcut", help="Run GrabCut with the same rules beside it.")] = False,
    processes: Annotated[
        int, typer.Option(help="Sets that are evaluated side by side, each with its share of the cores.", min=1)
    ] = 1,
    embeddings: Annotated[
        Path | None, typer.Option(help="Keep embeddings in this folder, and take them from there in the next run.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run of this --json recorded.")] = False,
) -> None:
    """Measure quality under simulated clicks: NoC, failure rate, IoU after k clicks."""
    from livesam.app.arguments import parse_settings
    from livesam.benchmarks.quality.datasets import resolve_sets
    from livesam.benchmarks.quality.opening import open_predictor
    from livesam.benchmarks.quality.result import read_result
    from livesam.benchmarks.quality.settings import Settings
    from livesam.benchmarks.reports.quality_table import quality_table
    from livesam.engine.files.atomic import write_json
    from livesam.engine.view.look import PLAIN, Look
    from livesam.export.opening import Opening
    from rich.console import Console

    # Without a terminal rich assumes 80 columns and cuts the table.
    screen, log = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS), Console(stderr=True)
    folders = resolve_sets(sets, data)
    others = {path.stem: read_result(path) for path in compare or []}
    for path in (json_path, plot, learning_plot):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"the folder {str(path.parent)!r} does not exist, make it first")
    results: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys([method, *(["grabcut"] if grabcut else [])]):
        own = name == method  # GrabCut beside it has no settings, and draws as it does anyway
        opening = partial(
            open_predictor,
            name,
            Opening(model, checkpoint, runtime, device=device, size=size),
            adapted=adapted if own else None,
            seed=seed,
            token=token,
            look=Look(zoom, obey, edges, size_prior) if own else PLAIN,
            overrides=parse_settings(name, settings or []) if own else None,
            embeddings=embeddings,
        )
        predictor, details = opening()
        chosen = Settings(
            name, "" if name == "grabcut" else model, seed, target_iou, max_clicks, limit, only=only, details=details
        )
        diary = _diary(json_path, name, own, fresh)
        results[name] = _run(folders, predictor, chosen, diary, log, processes, partial(_predictor, opening))
    main_result = results[method]
    if grabcut and method != "grabcut":
        main_result = {**main_result, "baseline": results["grabcut"]}
    if json_path is not None:
        write_json(json_path, main_result)
    shown = {**results, **others}
    screen.print(quality_table(shown))
    if plot is not None or learning_plot is not None:
        from livesam.benchmarks.reports.plots import plot_iou_curve, plot_learning_curve

        if plot is not None:
            plot_iou_curve(shown, plot)
        if learning_plot is not None:
            plot_learning_curve(shown, learning_plot)


def _predictor(opening: Callable[[], tuple[Predictor, dict[str, Any]]]) -> Predictor:
    return opening()[0]


def _run(
    folders: Sequence[Path],
    predictor: Predictor,
    settings: Settings,
    diary: Path | None,
    log: Console,
    processes: int,
    make: MakePredictor,
) -> dict[str, Any]:
    from livesam.benchmarks.quality.evaluation import Progress, run
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    if not log.is_terminal:

        def line(at: Progress) -> None:
            if at.done == at.total or at.done % max(1, at.total // LINES_A_SET) == 0:
                log.print(f"{settings.method} {at.dataset} {at.done}/{at.total} NoC {at.noc:.2f} FR {at.fr:.3f}")

        return run(folders, predictor, settings, diary, line, processes=processes, make=make)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=log) as bars:
        tasks: dict[str, Any] = {}

        def advance(at: Progress) -> None:
            if at.dataset not in tasks:
                tasks[at.dataset] = bars.add_task(f"{settings.method} {at.dataset}", total=at.total, figures="")
            bars.update(tasks[at.dataset], completed=at.done, figures=f"NoC {at.noc:.2f} FR {at.fr:.1%}")

        return run(folders, predictor, settings, diary, advance, processes=processes, make=make)


def _diary(json_path: Path | None, method: str, main_run: bool, fresh: bool) -> Path | None:
    if json_path is None:
        return None
    path = json_path.with_suffix(".jsonl" if main_run else f".{method}.jsonl")
    if fresh:
        path.unlink(missing_ok=True)
    return path
