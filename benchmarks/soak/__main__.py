"""``python -m livesam.benchmarks.soak --minutes 30 --out soak.json``, or ``--kills 50 --out kills.json``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from livesam.benchmarks.reports.environment import environment
from livesam.benchmarks.soak.kills import Killed, killed_often
from livesam.benchmarks.soak.soak import Leg, Soak, summary
from livesam.engine.files.atomic import write_json


def main() -> int:
    """Run it; exit code 1 if something was lost, left, or grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clickers", type=int, default=8)
    parser.add_argument("--think-s", type=float, default=1.0, help="median of the pause before a click")
    parser.add_argument("--folder", type=Path, help="images; the sample photos when not given")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--kills", type=int, help="kill the server so often instead")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; an unfinished one is gone on with")
    given = parser.parse_args()
    if given.kills is not None:
        return _kill(given.kills, given.out)
    legs = _read_legs(given.out)
    done = sum(leg.seconds for leg in legs)
    left = given.minutes * 60 - done
    if left < 1:
        sys.stdout.write(f"{given.out} has its {given.minutes:g} minutes already\n")
        return 0
    soak = Soak(given.clickers, given.think_s, given.folder, ["--runtime", given.runtime])
    legs.append(soak.run(left, _shown(left)))
    found = summary(legs)
    settings = {
        "clickers": given.clickers,
        "think_s": given.think_s,
        "runtime": given.runtime,
        "minutes": given.minutes,
    }
    content = {"environment": environment().to_json(), "settings": settings, "summary": found}
    write_json(given.out, {**content, "legs": [asdict(leg) for leg in legs]})
    sys.stdout.write(f"\n{json.dumps(found)}\n")
    left_over = any(value > 0 for one in found["left"] for value in one.values())
    return int(bool(found["errors"]) or not found["flat"] or left_over)


def _kill(kills: int, out: Path) -> int:
    def tell(found: Killed) -> None:
        done = f"{found.accepted} objects accepted, {found.versions} versions published, {len(found.lost)} lost"
        _line(f"{found.kills} of {kills} kills, {done}")
        write_json(out, {"environment": here, "killed": found.to_json()})

    here = environment().to_json()
    with tempfile.TemporaryDirectory(prefix="livesam-kills-") as work:
        found = killed_often(Path(work), kills, tell=tell)
    write_json(out, {"environment": here, "killed": found.to_json()})
    sys.stdout.write(f"\n{json.dumps(found.to_json())}\n")
    return int(bool(found.lost))


def _read_legs(out: Path) -> list[Leg]:
    if not out.is_file():
        return []
    return [Leg(**one) for one in json.loads(out.read_text()).get("legs", [])]


def _shown(seconds: float) -> Callable[[Leg], None]:
    begun = time.monotonic()

    def tell(leg: Leg) -> None:
        last, passed = leg.samples[-1], time.monotonic() - begun
        _line(
            f"{passed / 60:5.1f} of {seconds / 60:.1f} min: {sum(one['clicks'] for one in leg.samples)} clicks, "
            f"{last['memory_mib']} MiB, {last['descriptors']} descriptors, {last['threads']} threads"
        )

    return tell


def _line(said: str) -> None:
    sys.stderr.write(f"\r\x1b[K{said}" if sys.stderr.isatty() else f"{said}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
