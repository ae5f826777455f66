"""``python -m livesam.benchmarks.scale``: ``livesam embed`` of 500 photos: plain, on Ray, and with a worker killed."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from livesam.benchmarks.reports.environment import environment
from livesam.benchmarks.scale.embedding import Run, check, rate, run
from livesam.benchmarks.scale.pictures import write_photos
from livesam.engine.files.atomic import write_json

TARGET = 0.9  # of the plain command's rate


def main() -> int:
    """Run it; exit code 1 if an image is missing, there twice, or another than the plain command's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--few", type=int, default=20, help="images of the runs that tell what starting takes")
    parser.add_argument("--side", type=int, default=1280, help="longer side of a photo in pixels")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="livesam-") as folder:
        work, runs = Path(folder), []
        for name, count in (("many", given.images), ("few", given.few)):
            write_photos(work / name, count, given.side)
        run("plain", work / "few", work / "warm")  # the engine is built, and files are read into memory
        for at, (how, name) in enumerate(
            (("plain", "few"), ("ray", "few"), ("plain", "many"), ("ray", "many"), ("killed", "many"))
        ):
            runs.append(run(how, work / name, work / f"{at} {how}"))
            sys.stdout.write(f"{runs[-1].to_json()}\n")
            sys.stdout.flush()
        checked = {how: check(work / "many", work / "2 plain", work / place) for how, place in PLACES.items()}
    found = _summary(runs)
    if given.out is not None:
        said = {"side": given.side, "runs": [one.to_json() for one in runs], **found, "checked": checked}
        write_json(given.out, {"environment": environment().to_json(), "load_after": os.getloadavg()[0], **said})
    sys.stdout.write(f"{found}\n{checked}\n")
    return int(any(one[wrong] != 0 for one in checked.values() for wrong in WRONG))


PLACES = {"ray": "3 ray", "killed": "4 killed"}
WRONG = ("missing", "twice", "changed", "different")


def _summary(runs: list[Run]) -> dict[str, object]:
    """Rates without starting and ending, and of the whole command; and what Ray's is of the plain one's."""
    plain_few, ray_few, plain, ray, killed = runs
    rates = {"plain": rate(plain_few, plain), "ray": rate(ray_few, ray)}
    return {
        "images_per_s": {name: round(value, 2) for name, value in rates.items()},
        "ray_of_plain": round(rates["ray"] / rates["plain"], 3),
        "ray_of_plain_whole": round(plain.s / ray.s, 3),
        "target": TARGET,
        "start_s": {
            "plain": round(plain_few.s - plain_few.images / rates["plain"], 2),
            "ray": round(ray_few.s - ray_few.images / rates["ray"], 2),
        },
        "a_kill_costs_s": round(killed.s - ray.s, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
