"""livesam against PyTorch eager in float32, in one run: ``python -m livesam.benchmarks.peers [--out FILE]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from livesam.benchmarks.peers.comparison import Comparison, lines
from livesam.benchmarks.peers.contestants import bundled_or_random, cold_start, decoder, encoder, nano
from livesam.benchmarks.reports.environment import environment

ALL = ("vit_t", "vit_b", "decoder", "nano", "cold")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m livesam.benchmarks.peers", description=__doc__)
    parser.add_argument("--out", type=Path, help="write all samples, ratios and the environment as JSON")
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL), help="what to measure")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of short runs; vit_b gets a third")
    parser.add_argument("--threads", type=int, default=0, help="threads of every contestant; 0 is one for each core")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.threads < 0:
        parser.error("rounds must be at least 1 and threads at least 0")
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    threads, rounds = options.threads, options.rounds
    before = environment()
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="livesam-peers-") as name:
        folder = Path(name)
        checkpoint = bundled_or_random(folder)
        for part in options.only:
            if part == "vit_t":
                found.append(encoder("vit_t", folder, rounds, threads))
            elif part == "vit_b":
                found.append(encoder("vit_b", folder, max(1, rounds // 3), threads))
            elif part == "decoder":
                found.append(decoder(folder, rounds * 3, threads))
            elif part == "nano":
                found += nano(folder, checkpoint, rounds * 3)
            else:
                found.append(cold_start(folder, checkpoint, max(3, rounds // 3)))
            sys.stdout.write("\n".join(lines(found[-2:] if part == "nano" else found[-1:])) + "\n")
            sys.stdout.flush()
    sys.stdout.write(before.line() + "\n")
    if options.out is not None:
        from livesam.engine.files.atomic import write_json

        report = {
            "environment": before.to_json(),
            "threads": threads,
            "load_after": environment().load_average,
            "results": [comparison.to_json() for comparison in found],
        }
        write_json(options.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
