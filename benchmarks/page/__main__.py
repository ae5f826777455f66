"""The page of `livesam serve`, in a real browser: ``python -m livesam.benchmarks.page latency|job|pictures``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livesam.benchmarks.reports.environment import environment
from livesam.engine.values.errors import LivesamError


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure or photograph, say it in lines, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m livesam.benchmarks.page", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    latency = what.add_parser("latency", help="click to painted mask, learning on")
    latency.add_argument("--clicks", type=int, default=120)
    latency.add_argument("--held", type=float, default=0.0, help="milliseconds for which the button is down")
    job = what.add_parser("job", help="objects from nothing to a COCO file")
    job.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    job.add_argument("--set", default="nov_wbc", help="the data set")
    job.add_argument("--objects", type=int, default=20)
    job.add_argument("--pause", type=float, default=1.0, help="seconds before each click")
    for one in (latency, job):
        one.add_argument("--out", type=Path, help="write all samples and the environment as JSON")
    pictures = what.add_parser("pictures", help="the documents' pictures of the page")
    pictures.add_argument("--states", action="store_true", help="every state at two widths in two themes instead")
    pictures.add_argument("--into", type=Path, required=True, help="a folder")
    options = parser.parse_args(arguments)
    before = environment()
    try:
        with tempfile.TemporaryDirectory(prefix="livesam-page-") as name:
            result, said = _run(options, Path(name))
    except (LivesamError, ValueError) as error:
        parser.error(str(error))
    sys.stdout.write("\n".join([*said, before.line()]) + "\n")
    if getattr(options, "out", None) is not None:
        from livesam.engine.files.atomic import write_json

        after = environment().load_average
        write_json(options.out, {"environment": before.to_json(), "load_after": after, **result})
    return 0


def _run(options: argparse.Namespace, work: Path) -> tuple[dict[str, Any], list[str]]:
    if options.what == "latency":
        from livesam.benchmarks.page import latency

        found = latency.measure(work, options.clicks, options.held / 1e3)
        return found, latency.lines(found)
    if options.what == "job":
        from livesam.benchmarks.page import job
        from livesam.benchmarks.page.person import Person

        found = job.do_job(options.data / options.set, options.objects, Person(pause_s=options.pause), work)
        return found, job.lines(found)
    from livesam.benchmarks.page import looks, pictures

    taken = looks.look_at(options.into, work) if options.states else pictures.take(options.into, work)
    return {}, [str(path) for path in taken]


if __name__ == "__main__":
    sys.exit(main())
