"""Fuzzing by hand, led by the coverage.

``python tests/faults/fuzz.py --seconds 600 --out benchmarks/results/fuzzing.json``

Each target of ``fuzzing/targets.py`` runs in a process of its own for its share of the time, with atheris (`pip
install atheris`). What it finds is a file below ``--work``, and a line of the JSON; numbers add up over runs with one
``--out``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
MEMORY_MIB, HANG_S, LONGEST = 4096, 60, 1 << 16  # of one input, the last in bytes


def main() -> int:
    """Run it; exit code 1 if something was found."""
    from fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="only these")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/fuzzing"))
    parser.add_argument("--table", type=Path, help="Markdown file whose table of inputs is made anew")
    given = parser.parse_args()
    known = json.loads(given.out.read_text()) if given.out.is_file() else {"targets": {}, "inputs": 0}
    names = (given.target or list(TARGETS)) if given.seconds else []
    for name, one in known["targets"].items():
        look_again(name, one, given.work / name / "crashes")
    write(given.out, known)
    for name in names:
        found = run(name, given.seconds / len(names), given.work / name)
        before = known["targets"].get(name, {"inputs": 0, "seconds": 0.0, "findings": [], "mended": []})
        known["targets"][name] = {
            "inputs": before["inputs"] + found["inputs"], "seconds": round(before["seconds"] + found["seconds"], 1),
            "edges": found["edges"], "findings": before["findings"] + found["findings"],
            "mended": before.get("mended", []),
        }  # fmt: skip
        known["inputs"] = sum(one["inputs"] for one in known["targets"].values())
        write(given.out, known)
        sys.stdout.write(
            f"{name}: {found['inputs']} inputs in {found['seconds']} s, {len(found['findings'])} findings\n"
        )
        sys.stdout.flush()
    if given.table is not None:
        put_table(given.table, known)
    return int(any(one["findings"] for one in known["targets"].values()))


def look_again(name: str, known: dict[str, Any], crashes: Path) -> None:
    """Try what was found before once more; what is read or refused now is mended."""
    from fuzzing.targets import attempt

    for finding in list(known["findings"]):
        paths = [crashes / word for word in finding.partition(": ")[0].split()]
        try:
            for path in paths:
                attempt(name, path.read_bytes())
        except Exception:
            continue
        if paths:
            known["findings"].remove(finding)
            known.setdefault("mended", []).append(finding)


def put_table(document: Path, known: dict[str, Any]) -> None:
    """Between its two marks."""
    lines = ["| reader | inputs | seconds | findings that are open |", "| --- | --- | --- | --- |"]
    for name, one in known["targets"].items():
        lines.append(f"| {name} | {one['inputs']:,} | {one['seconds']:.0f} | {len(one['findings'])} |")
    lines.append(f"| all | {known['inputs']:,} | {sum(one['seconds'] for one in known['targets'].values()):.0f} | |")
    text = document.read_text()
    begin, end = "<!-- fuzzing -->", "<!-- /fuzzing -->"
    head, _, rest = text.partition(begin)
    document.write_text(head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.partition(end)[2])


def write(out: Path, known: dict[str, Any]) -> None:
    from livesam.benchmarks.reports.environment import environment
    from livesam.engine.files.atomic import write_json

    known["environment"] = environment().to_json()
    write_json(out, known)


def run(name: str, seconds: float, work: Path) -> dict[str, Any]:
    """One target for so long, in a process that may crash."""
    corpus, crashes = work / "corpus", work / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    before = set(crashes.iterdir())
    options = [
        f"-max_total_time={max(1, round(seconds))}", f"-artifact_prefix={crashes}/", "-print_final_stats=1",
        f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={HANG_S}", f"-max_len={LONGEST}", str(corpus),
    ]  # fmt: skip
    began, inputs, edges = time.monotonic(), 0, 0
    findings: list[str] = []
    while (left := seconds - (time.monotonic() - began)) > 1 and len(findings) < 20:
        options[0] = f"-max_total_time={max(1, round(left))}"
        process = subprocess.run(
            [sys.executable, "-c", CHILD, str(Path(__file__).parent), name, *options], capture_output=True, text=True,
            errors="replace",
        )  # fmt: skip
        said = process.stderr
        executed = re.findall(r"stat::number_of_executed_units:\s+(\d+)", said) or re.findall(r"^#(\d+)", said, re.M)
        inputs += int(executed[-1]) if executed else 0
        edges = max([edges, *map(int, re.findall(r"cov: (\d+)", said))])
        if process.returncode == 0:
            break
        new = sorted(path.name for path in set(crashes.iterdir()) - before)
        before = set(crashes.iterdir())
        last = [line for line in (process.stdout + said).splitlines() if "Error" in line or "ERROR" in line][:3]
        findings.append(f"{' '.join(new)}: {' | '.join(last) or said[-300:]}"[:500])
    return {"inputs": inputs, "seconds": round(time.monotonic() - began, 1), "edges": edges, "findings": findings}


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
name, options = sys.argv[2], sys.argv[3:]
import logging
import warnings
logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
import atheris
import PIL.Image, numpy, sqlite3, zipfile, base64
if name in ("pth", "safetensors"):
    import torch
with atheris.instrument_imports(include=["livesam", "fuzzing", "json", "zipfile", "pickletools"]):
    from fuzzing import targets
    for seed in targets.TARGETS[name].seeds():
        try:
            targets.attempt(name, seed)
        except Exception:
            pass
from pathlib import Path
corpus = Path(options[-1])
for number, seed in enumerate(targets.TARGETS[name].seeds()):
    (corpus / f"seed-{number}").write_bytes(seed)
atheris.Setup(["fuzz", *options], lambda data: targets.attempt(name, data))
atheris.Fuzz()
"""

if __name__ == "__main__":
    sys.exit(main())
