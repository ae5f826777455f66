"""From nothing to the first mask of a model without an engine: ``python -m livesam.benchmarks.latency.cold_start``.

Each process begins with an empty cache. The peer loads the same checkpoint in PyTorch, and encodes and answers with
``SamPredictor``; livesam opens a session, which answers with PyTorch and builds its engine beside.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livesam.benchmarks.latency.random_weights import checkpoint_or_random
from livesam.benchmarks.reports.environment import environment

# What both begin with: how long PyTorch takes to import is neither's merit.
_CLOCK = """
import json, resource, sys, time
import numpy as np
from pathlib import Path
told, image = {}, np.load(sys.argv[3])
def lap(name, since=[time.perf_counter(), time.process_time()]):
    now = time.perf_counter(), time.process_time()
    told[name + "_s"], told[name + "_cpu_s"] = (round(a - b, 3) for a, b in zip(now, since))
    since[:] = now
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
import torch, segment_anything
lap("import")
"""
_PEER = """
from livesam.engine.models.loading import load
predictor = segment_anything.SamPredictor(load(sys.argv[1], Path(sys.argv[2])))
lap("open")
predictor.set_image(image)
lap("encode")
predictor.predict(np.array([[200.0, 150.0]]), np.array([1]), multimask_output=False)
lap("click")
told["peak_mib"] = peak()
print(json.dumps(told))
"""
_OURS = """
import livesam
session = livesam.open_session(sys.argv[1], checkpoint=sys.argv[2])
lap("open")
session.set_image(image)
lap("encode")
session.click(200, 150)
lap("click")
told["first_runtime"], told["peak_mib"], preparing = session.runtime, peak(), session.preparing
if sys.argv[4] == "build":
    preparing.wait(3000)
    lap("until_engine")
    told["build_s"], told["state"], told["error"] = round(preparing.elapsed_s, 1), preparing.state, preparing.error
    told["child_peak_mib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    told["peak_until_engine_mib"] = peak()
    session.set_image(image)
    lap("same_image_again")
    session.set_image(image[::-1])
    lap("engine_encode")
    session.reset()
    session.click(200, 150)
    lap("engine_click")
    told["engine_runtime"] = session.runtime
session.close()
print(json.dumps(told))
"""


def measure(model: str, checkpoint: Path, rounds: int) -> dict[str, Any]:
    """Both, in turns, each in a process of its own; the engine is waited for in the last round only."""
    import numpy as np
    from livesam.engine.models.spec import spec
    from livesam.export.graphs.encoder import probe_image

    peers: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="livesam-cold-") as name:
        np.save(Path(name) / "image.npy", probe_image(spec(model).image_size))
        for number in range(rounds):
            environ = os.environ | {"LIVESAM_CACHE": str(Path(name) / f"cache{number}")}
            for script, found in ((_PEER, peers), (_OURS, ours)):
                last = "build" if number == rounds - 1 else "leave"
                words = [sys.executable, "-c", _CLOCK + script, model, str(checkpoint), f"{name}/image.npy", last]
                done = subprocess.run(words, env=environ, check=True, capture_output=True, text=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
    return {"model": model, "pytorch": peers, "livesam": ours, **verdict(peers, ours)}


def verdict(peers: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The first mask's seconds beyond PyTorch's encoding, of the fastest round each: others had company.

    ``beyond`` without imports, ``beyond_own`` beside the encoding in livesam's own process, which had the same company,
    ``beyond_with_imports`` with them, and ``beyond_cpu`` in seconds of the processor.
    """
    stages = ("open", "encode", "click")

    def least(rows: Sequence[dict[str, Any]], names: Sequence[str], unit: str = "s") -> float:
        return float(min(sum(row[f"{name}_{unit}"] for name in names) for row in rows))

    encode = least(peers, ["encode"])
    found = {
        "beyond_s": least(ours, stages) - encode,
        "beyond_own_s": least(ours, ("open", "click")),
        "beyond_with_imports_s": least(ours, ("import", *stages)) - encode,
        "beyond_cpu_s": least(ours, stages, "cpu_s") - least(peers, ["encode"], "cpu_s"),
    }
    return {name: round(value, 3) for name, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m livesam.benchmarks.latency.cold_start", description=__doc__)
    parser.add_argument("--model", default="vit_b", choices=("vit_t", "vit_b", "vit_l", "vit_h"))
    parser.add_argument("--checkpoint", type=Path, help="its weights; random ones when not given")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write it as JSON")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("rounds must be at least 1")
    before = environment()
    with checkpoint_or_random(options.model, options.checkpoint, options.checkpoint is None) as checkpoint:
        if checkpoint is None:  # random where none is given
            parser.error("no checkpoint")
        found = measure(options.model, checkpoint, options.rounds)
    sys.stdout.write(json.dumps(found, indent=1) + "\n" + before.line() + "\n")
    if options.out is not None:
        from livesam.engine.files.atomic import write_json

        write_json(options.out, {"environment": before.to_json(), "load_after": environment().load_average, **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
