"""The ``livesam`` command.

Every command sits in a module of its own, which imports nothing heavier than typer; torch and the runtimes are imported
by the function that needs them, so that ``livesam --help`` and ``livesam segment`` start fast.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer
from livesam.app.commands.bench import bench
from livesam.app.commands.demo import demo
from livesam.app.commands.doctor import doctor
from livesam.app.commands.download import download
from livesam.app.commands.embed import embed
from livesam.app.commands.evaluate import evaluate
from livesam.app.commands.export import export
from livesam.app.commands.inspect import import_, inspect, merge
from livesam.app.commands.label import label
from livesam.app.commands.prepare import prepare
from livesam.app.commands.replay import replay
from livesam.app.commands.salvage import salvage
from livesam.app.commands.segment import segment
from livesam.app.commands.serve import serve
from livesam.app.options import RayCommand
from livesam.engine.values.errors import LivesamError

# typer carries its own copy of click since 0.20 or so; the base of its public BadParameter is right for both.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="livesam",
    help="Interactive segmentation that learns while it is being used.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("livesam"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Interactive segmentation that learns while it is being used."""


app.command()(doctor)
app.command(cls=RayCommand)(serve)
app.command()(replay)
app.command()(salvage)
app.command()(demo)
app.command()(download)
app.command()(prepare)
app.command()(segment)
app.command(cls=RayCommand)(embed)
app.command(cls=RayCommand)(label)
app.command("eval")(evaluate)
app.add_typer(bench, name="bench")
app.add_typer(export, name="export")
app.command()(inspect)
app.command()(merge)
app.command("import")(import_)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for a failure, 2 for bad usage, 130 when interrupted.

    Every foreseen error is one sentence on stderr. ``LIVESAM_DEBUG=1`` shows the traceback instead.
    """
    try:
        outcome = app(args=None if arguments is None else list(arguments), prog_name="livesam", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except typer.Abort:
        return _say("interrupted", 130)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        # The reader (`| head`) has gone; a second flush at exit would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("LIVESAM_DEBUG"):
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    if isinstance(error, ClickException):
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "livesam"
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(message, err=True)
            return 2
        # typer's own wording of a wrong choice: "Value error, 'x' is not one of 'a', 'b'."
        message = message.replace(": Value error, ", ": ").rstrip(".")
        return _say(f"{message} (see `{command} --help`)", 2 if isinstance(error, UsageError) else 1)
    if isinstance(error, LivesamError):
        return _say(str(error), 1)
    if isinstance(error, ValueError):
        return _say(str(error), 2)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return _say(f"{error.strerror or error}{where}", 1)
    if type(error).__module__ == "sqlite3":  # not imported for this
        return _say(f"the database refused: {error}", 1)
    if isinstance(error, MemoryError):
        return _say("not enough memory for this", 1)
    return _say(f"unexpected {type(error).__name__}: {error} (set LIVESAM_DEBUG=1 for the traceback)", 1)


def _say(message: str, code: int) -> int:
    typer.echo(f"livesam: {' '.join(message.split())}", err=True)
    return code


def main() -> None:
    """Entry point of the ``livesam`` command."""
    if not sys.warnoptions:  # Pillow warns of corrupt EXIF and the like in images that it reads all the same
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    sys.exit(run())


if __name__ == "__main__":
    main()
