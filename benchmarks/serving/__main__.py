"""``python -m livesam.benchmarks.serving --out serving.json``: sessions that click at once on one server."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from livesam.benchmarks.reports.environment import environment
from livesam.benchmarks.serving.crowd import Crowd, click_together, known_masks
from livesam.benchmarks.serving.served import Served
from livesam.engine.files.atomic import write_json


def main() -> int:
    """Run it; exit code 1 if anything was refused or mixed up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--folder", type=Path, help="images; the sample photos when not given")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    crowd = Crowd(given.sessions, given.seconds)
    with tempfile.TemporaryDirectory(prefix="livesam-") as folder:
        options = ["--runtime", given.runtime, "--no-learn"]  # the masks must stay what they are
        with Served(given.folder, Path(folder) / "out", options) as server:
            items = server.json("/api/images?limit=20")["items"]
            details = [server.json(f"/api/images/{one['id']}") for one in items]
            images = [(one["name"], one["width"], one["height"]) for one in details]
            click_together(server.url, known_masks(server.url, images), crowd, server.process)
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


if __name__ == "__main__":
    sys.exit(main())
