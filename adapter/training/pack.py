"""Pack training images to carry them: ``python -m livesam.adapter.training.pack --data DATA --out PACKS``.

A pack is one zip of WebP images and PNG ids, at most 64 MiB unless told otherwise; as many are written as are needed,
each with an even share of every set.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from livesam.adapter.training.procedural import procedural_sources
from livesam.adapter.training.sources import read_sets, write_pack


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m livesam.adapter.training.pack", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds the permissive sets")
    parser.add_argument("--procedural", type=int, default=0, help="so many procedural images, in a pack of their own")
    parser.add_argument("--out", type=Path, required=True, help="folder for the packs")
    parser.add_argument("--limit-mib", type=float, default=60.0, help="of one pack")
    parser.add_argument("--quality", type=int, default=80, help="of WebP")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4, help="processes that make procedural images")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    rest = []
    if given.data is not None:
        sources = read_sets(given.data)
        rest = [sources[i] for i in np.random.default_rng(given.seed).permutation(len(sources))]
    number = 0
    while rest:
        path = given.out / f"pack{number}.zip"
        written = write_pack(path, rest, given.quality, int(given.limit_mib * 2**20))
        if written == 0:
            raise SystemExit(f"--limit-mib {given.limit_mib:g} holds no image: give at least 1")
        sys.stderr.write(f"{path}: {written} images, {path.stat().st_size / 2**20:.1f} MiB\n")
        rest, number = rest[written:], number + 1
    if given.procedural:
        path = given.out / "procedural.zip"
        made = procedural_sources(given.procedural, given.seed, given.workers)
        sys.stderr.write(f"{path}: {write_pack(path, made, 92)} images\n")


if __name__ == "__main__":
    main()
