"""The console side of ``benchmarks/quality.py``: arguments, progress, table, files; also ``livesam eval``."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from livesam.engine.errors import LivesamError

if TYPE_CHECKING:
    from livesam.benchmarks.quality import Settings
    from rich.console import Console
    from rich.table import Table

TABLE_COLUMNS = 140
NO_STEP_S = 1e-4  # calls that learn nothing take microseconds
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
    size: Annotated[int | None, typer.Option(help="Side of the model's input: 512 or 1024 for nano.")] = None,
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
    grabcut: Annotated[bool, typer.Option("--grabcut", help="Run GrabCut with the same rules beside it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run of this --json recorded.")] = False,
) -> None:
    """Measure quality under simulated clicks: NoC, failure rate, IoU after k clicks."""
    from livesam.benchmarks.predictors import open_predictor
    from livesam.benchmarks.quality import Settings
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
        predictor, details = open_predictor(
            name,
            model,
            size=size,
            checkpoint=checkpoint,
            adapted=adapted if name == method else None,
            seed=seed,
            token=token,
            runtime=runtime,
            device=device,
            edges=edges and name == method,  # GrabCut beside it draws as it does anyway
            zoom=zoom and name == method,
            obey=obey and name == method,
            overrides=parse_overrides(name, settings or []) if name == method else None,
        )
        chosen = Settings(
            name, "" if name == "grabcut" else model, seed, target_iou, max_clicks, limit, details=details
        )
        results[name] = _run(folders, predictor, chosen, _diary(json_path, name, name == method, fresh), log)
    main_result = results[method]
    if grabcut and method != "grabcut":
        main_result = {**main_result, "baseline": results["grabcut"]}
    if json_path is not None:
        _write_json(json_path, main_result)
    shown = {**results, **others}
    screen.print(quality_table(shown))
    if plot is not None or learning_plot is not None:
        from livesam.benchmarks.plots import plot_iou_curve, plot_learning_curve

        if plot is not None:
            plot_iou_curve(shown, plot)
        if learning_plot is not None:
            plot_learning_curve(shown, learning_plot)


def resolve_sets(names: Sequence[str], data: Path) -> list[Path]:
    """Folders for set names, patterns and paths, in the order given and each once.

    Raises:
        ValueError: a name or a pattern matches no folder.
    """
    present = sorted(p.name for p in data.iterdir() if (p / "images").is_dir()) if data.is_dir() else []
    folders: list[Path] = []
    for name in names:
        matches = fnmatch.filter(present, name)
        if matches:
            folders += [data / match for match in matches]
        elif (Path(name) / "images").is_dir():
            folders.append(Path(name))
        else:
            known = ", ".join(present) if present else "no set at all"
            raise ValueError(f"no set {name!r} below {str(data)!r} (--data), which holds {known}")
    return list(dict.fromkeys(folders))


def parse_overrides(method: str, texts: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as values of the types that the method's configuration has.

    Raises:
        ValueError: another form, an unknown key, or a value of another type.
    """
    if not texts:
        return {}
    from livesam.adapter.method import config_of

    config = config_of(method)
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not hasattr(config, key):
            raise ValueError(
                f"--set wants KEY=VALUE with a key of {', '.join(config.__dataclass_fields__)}, got {text!r}"
            )
        kind = type(getattr(config, key))
        if kind is bool:
            if value not in ("true", "false"):
                raise ValueError(f"--set {key} is true or false, got {value!r}")
            values[key] = value == "true"
        else:
            try:
                values[key] = kind(value)
            except (TypeError, ValueError):
                raise ValueError(f"--set {key} wants a value of type {kind.__name__}, got {value!r}") from None
    return values


def read_result(path: Path) -> dict[str, Any]:
    """A result that was written with ``--json``.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    from livesam.benchmarks.quality import FORMAT

    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a result: {error}") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise ValueError(f"{path} is not a result of this command (format {FORMAT})")
    return result


def quality_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """All results in one table, a block of rows a set, the mean over the sets last."""
    from rich import box
    from rich.table import Table

    first = next(iter(results.values()))
    table = Table(
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        title=f"target IoU {first['target_iou']:g}, at most {first['max_clicks']} clicks, seed {first['seed']}",
    )
    table.add_column("set")
    table.add_column("method")
    for heading in ("objects", "NoC", "FR", *(f"IoU@{k}" for k in first["mean"]["iou_at"]), "s/click", "s/step"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in dict.fromkeys(name for result in results.values() for name in result["sets"]):
        present = {label: result["sets"][name] for label, result in results.items() if name in result["sets"]}
        _add_rows(table, name, present)
    if any(len(result["sets"]) > 1 for result in results.values()):
        means = {label: {**result["mean"], "seconds": result["seconds"]} for label, result in results.items()}
        _add_rows(table, "mean of sets", means)
    return table


def main() -> None:
    """``python -m livesam.benchmarks.quality``."""
    try:
        typer.run(evaluate)
    except (LivesamError, ValueError) as error:
        if os.environ.get("LIVESAM_DEBUG"):
            raise
        typer.echo(f"quality: {error}", err=True)
        sys.exit(1 if isinstance(error, LivesamError) else 2)


def _run(
    folders: Sequence[Path], predictor: Any, settings: Settings, diary: Path | None, log: Console
) -> dict[str, Any]:
    from livesam.benchmarks.quality import Progress, run
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    if not log.is_terminal:

        def line(at: Progress) -> None:
            if at.done == at.total or at.done % max(1, at.total // LINES_A_SET) == 0:
                log.print(f"{settings.method} {at.dataset} {at.done}/{at.total} NoC {at.noc:.2f} FR {at.fr:.3f}")

        return run(folders, predictor, settings, diary, line)
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

        return run(folders, predictor, settings, diary, advance)


def _diary(json_path: Path | None, method: str, main_run: bool, fresh: bool) -> Path | None:
    if json_path is None:
        return None
    path = json_path.with_suffix(".jsonl" if main_run else f".{method}.jsonl")
    if fresh:
        path.unlink(missing_ok=True)
    return path


def _write_json(path: Path, result: Mapping[str, Any]) -> None:
    from livesam.engine.atomic import atomic_write

    with atomic_write(path) as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())


def _add_rows(table: Table, name: str, blocks: Mapping[str, Mapping[str, Any]]) -> None:
    for row, (label, figures) in enumerate(blocks.items()):
        seconds = figures["seconds"]
        step = seconds["per_click_step"]
        table.add_row(
            name if row == 0 else "",
            label,
            str(figures["objects"]),
            f"{figures['noc']:.2f}",
            f"{figures['fr']:.3f}",
            *("-" if value is None else f"{value:.3f}" for value in figures["iou_at"].values()),
            f"{seconds['per_click']['p50']:.3f}",
            "-" if step is None or step["p95"] < NO_STEP_S else f"{step['p50']:.3f}",
            end_section=row == len(blocks) - 1,
        )
