"""How long it takes to write a decoder in each format, and how large it gets.

``python -m livesam.benchmarks.latency.exports`` writes both.

``first_s`` is the first export of a format in this process, imports of its libraries included; ``later_s`` is the
median of those after it. No format traces: the ONNX graphs are written node by node, so later exports save imports and
nothing else. Every export includes reading the base and the check before the file gets its name. Other models than
``nano`` get random weights: speed and size do not depend on them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

TARGET_S = 5.0  # a decoder's export on two cores
TARGET_BYTES = 17_000_000  # of the decoder alone; a difference must be smaller


def cases() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Format, file name and options by the row's name."""
    return {
        "sam-onnx": ("sam-onnx", "decoder.onnx", {}),
        "sam-onnx single": ("sam-onnx", "single.onnx", {"single": True}),
        "sam-onnx single quantised": ("sam-onnx", "quantised.onnx", {"single": True, "quantised": True}),
        "cvat-onnx": ("cvat-onnx", "cvat.onnx", {}),
        "cvat": ("cvat", "cvat", {}),
        "openvino": ("openvino", "decoder.xml", {}),
        "safetensors": ("safetensors", "decoder.safetensors", {}),
        "safetensors difference": ("safetensors", "difference.safetensors", {"difference": True}),
        "triton, a new version": ("triton", "triton", {"encoder": False}),
        "sam-pth": ("sam-pth", "sam.pth", {}),
        "hf": ("hf", "hf", {}),
        "x-anylabeling": ("x-anylabeling", "anylabeling", {}),
    }


def measure(
    model: str,
    folder: Path,
    *,
    repeats: int = 3,
    only: Sequence[str] = (),
    checkpoint: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Export ``model``'s decoder, moved a little from its base, in every format.

    Args:
        folder: for the files; they stay there.
        repeats: later exports of each format, of which the median counts.
        only: names of ``cases``; all when empty.

    Returns:
        By case: ``first_s``, ``later_s`` (median), ``bytes``, ``claim``, ``precision``; or ``skipped`` with the reason.
    """
    from livesam.benchmarks.latency.swap import perturbed
    from livesam.engine.models.loading import decoder_weights, load
    from livesam.engine.values.errors import LivesamError
    from livesam.export.decoder_export import export_decoder

    weights = perturbed(decoder_weights(load(model, checkpoint, encoder=False)))
    found: dict[str, Any] = {}
    for name, (format_name, file, options) in cases().items():
        if only and name not in only:
            continue
        if progress is not None:
            progress(f"{model} {name}")
        seconds: list[float] = []
        try:
            for _ in range(1 + repeats):
                started = time.perf_counter()
                manifest = export_decoder(
                    model, format=format_name, out=folder / file, checkpoint=checkpoint, weights=weights, **options
                )
                seconds.append(time.perf_counter() - started)
        except LivesamError as error:
            found[name] = {"skipped": str(error)}
            continue
        root = folder / file if (folder / file).is_dir() else folder
        found[name] = {
            "first_s": round(seconds[0], 3),
            "later_s": round(float(np.median(seconds[1:])), 3) if repeats else None,
            "bytes": sum((root / part).stat().st_size for part in manifest.files),
            "precision": manifest.precision,
            "claim": manifest.parity["claim"],
        }
    return found


def table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures for reading, with the targets under them."""
    lines = [f"{'model':8}{'format':28}{'first s':>9}{'later s':>9}{'MB':>9}"]
    for model, rows in models.items():
        for name, row in rows.items():
            if "skipped" in row:
                lines.append(f"{model:8}{name:28} {row['skipped']}")
                continue
            later = "-" if row["later_s"] is None else f"{row['later_s']:.2f}"
            lines.append(f"{model:8}{name:28}{row['first_s']:9.2f}{later:>9}{row['bytes'] / 1e6:9.2f}")
    lines.append(f"targets: a decoder in at most {TARGET_S:g} s, alone at most {TARGET_BYTES / 1e6:g} MB")
    return "\n".join(lines)


def run(
    models: Annotated[list[str] | None, typer.Option("--models", help="A model; may be repeated.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the result.")] = None,
    repeats: Annotated[int, typer.Option(min=0, help="Later exports of each format; their median counts.")] = 3,
    formats: Annotated[list[str] | None, typer.Option("--format", help="A row; may be repeated.")] = None,
) -> None:
    """Time and size of every export format."""
    import torch
    from livesam.benchmarks.reports.environment import environment
    from livesam.engine.files.atomic import write_json
    from livesam.engine.models.loading import build
    from livesam.engine.models.spec import spec

    strange = sorted(set(formats or []) - set(cases()))
    if strange:
        raise typer.BadParameter(f"there is no row {strange[0]!r}: choose of {', '.join(cases())}")
    result: dict[str, Any] = {"environment": environment().to_json(), "repeats": repeats, "models": {}}
    for model in models or ["nano", "vit_b"]:
        spec(model)
        with tempfile.TemporaryDirectory(prefix="livesam-exports-") as work:
            checkpoint = None
            if model != "nano":
                checkpoint = Path(work) / "random.pth"
                torch.save(build(model).state_dict(), checkpoint)
            result["models"][model] = measure(
                model,
                Path(work),
                repeats=repeats,
                only=formats or (),
                checkpoint=checkpoint,
                progress=lambda line: typer.echo(line, err=True),
            )
        if json_path is not None:
            write_json(json_path, result)  # after each model: a long run that is stopped keeps what it has
    sys.stdout.write(table(result["models"]) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m livesam.benchmarks.latency.exports --models nano --models vit_b --json FILE``."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(run)
    app(list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
