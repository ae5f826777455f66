"""``python -m livesam.benchmarks.serving --out serving.json``: sessions that click at once on one server.

With ``--ray``: people who annotate, each with a decoder that learns, on one process and then on ``serve --ray``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from livesam.benchmarks.reports.environment import environment
from livesam.benchmarks.reports.marked import put_between
from livesam.benchmarks.serving.annotators import Annotators, annotate_together, check_replay
from livesam.benchmarks.serving.crowd import Crowd, click_together, known_masks
from livesam.benchmarks.serving.served import Served
from livesam.benchmarks.serving.table import BEGIN, END, table
from livesam.engine.files.atomic import write_json


def main() -> int:
    """Run it; exit code 1 if anything was refused or mixed up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--folder", type=Path, help="images; the sample photos when not given")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--table", type=Path, help="with --ray, Markdown file whose table is made anew")
    parser.add_argument("--ray", action="store_true", help="annotate, on one process and on serve --ray")
    parser.add_argument("--pause", type=float, default=1.0, help="with --ray, mean seconds before a click")
    given = parser.parse_args()
    if given.ray:
        return beside(given)
    crowd = Crowd(given.sessions, given.seconds)
    with tempfile.TemporaryDirectory(prefix="livesam-") as folder:
        options = ["--runtime", given.runtime, "--no-learn"]  # the masks must stay what they are
        with Served(given.folder, Path(folder) / "out", options) as server:
            click_together(server.url, known_masks(server.url, sizes(server)), crowd, server.process)
    if given.out is not None:
        write_json(given.out, {"environment": environment().to_json(), "crowd": crowd.to_json()})
    sys.stdout.write(
        f"{crowd.sessions} sessions, {crowd.seconds:.0f} s: {crowd.clicks} clicks on {crowd.opened} opened images, "
        f"p50 {crowd.p50_ms} ms, p95 {crowd.p95_ms} ms, {len(crowd.errors)} errors, {crowd.mixed_up} mixed up, "
        f"memory {crowd.memory_mib[0]} to {max(crowd.memory_mib)} MiB\n"
    )
    for error in crowd.errors:
        sys.stdout.write(f"{error}\n")
    return int(bool(crowd.errors) or crowd.mixed_up > 0)


def beside(given: argparse.Namespace) -> int:
    """The same users on one process and on Ray's; exit code 1 if any answer was wrong, or refused."""
    runtime, runs = ["--runtime", given.runtime], {}
    for name, options in {"one process": [], "serve --ray": ["--ray"]}.items():
        found = runs[name] = Annotators(given.sessions, given.seconds, given.pause)
        with tempfile.TemporaryDirectory(prefix="livesam-") as folder:
            out = Path(folder) / "out"
            with Served(given.folder, out, [*runtime, *options]) as server:
                annotate_together(server.url, sizes(server), found)
            check_replay(out, found, runtime)
        sys.stdout.write(
            f"{name}: {found.users} users, {found.seconds:.0f} s: {found.clicks} clicks ({found.learned} by "
            f"{found.versions} learned versions), {found.accepted} objects, p50 {found.p50_ms} ms, p95 {found.p95_ms} "
            f"ms, p99 {found.p99_ms} ms, {found.wrong} wrong, {len(found.errors)} errors; replay: {found.replayed}\n"
        )
        sys.stdout.writelines(f"{error}\n" for error in found.errors)
        sys.stdout.flush()
    here, content = environment().to_json(), {name: found.to_json() for name, found in runs.items()}
    if given.out is not None:
        write_json(given.out, {"environment": here, "annotators": content})
    if given.table is not None:
        put_between(given.table, BEGIN, END, table(here, content))
    return int(not all(found.good for found in runs.values()))


def sizes(server: Served) -> list[tuple[str, int, int]]:
    """Names, widths and heights of the server's images."""
    items = server.json("/api/images?limit=20")["items"]
    details = [server.json(f"/api/images/{one['id']}") for one in items]
    return [(one["name"], one["width"], one["height"]) for one in details]


if __name__ == "__main__":
    sys.exit(main())
