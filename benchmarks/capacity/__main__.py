"""``python -m livesam.benchmarks.capacity --out capacity.json --table docs/scale.md``.

Measures one and eight users on this machine, simulates them, and then as many as no machine here could hold.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from livesam.benchmarks.capacity.annotating import Capacity, Person, Replica, capacity
from livesam.benchmarks.capacity.embedding import bounds, scaled
from livesam.benchmarks.capacity.machines import ENCODINGS, MACHINES, PRICE, STORES, Encoding, Machine, Store
from livesam.benchmarks.capacity.measured import measured
from livesam.benchmarks.capacity.table import put_table, table
from livesam.benchmarks.reports.environment import environment
from livesam.engine.files.atomic import write_json

PEOPLE = (10, 1_000, 100_000)
GPUS = (1, 2, 4, 8, 16, 32, 64)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=25.0, help="of each real run")
    parser.add_argument("--simulated-seconds", type=float, default=300.0)
    parser.add_argument("--p99-ms", type=float, default=100.0)
    parser.add_argument("--think-s", type=float, default=1.0, help="of the real users, and of the same simulated")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--price-cpu", type=float, help=f"an hour of two cores, dollars; {PRICE}")
    parser.add_argument("--price-gpu", type=float, help="and of an H100 with 16 cores")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="Markdown file whose section Capacity is made anew")
    given = parser.parse_args()
    prices = (given.price_cpu, given.price_gpu)
    machines = [replace(one, price=price or one.price) for one, price in zip(MACHINES, prices, strict=True)]
    person = Person()
    found: dict[str, Any] = {
        "environment": environment().to_json(),
        "inputs": {"machines": [one.to_json() for one in machines], "person": asdict(person),
                   "encodings": [one.to_json() for one in ENCODINGS], "stores": [one.to_json() for one in STORES],
                   "p99_ms": given.p99_ms},
        "check": _check(machines[0], given.seconds, given.think_s, given.runtime),
        "annotators": [
            _annotators(machine, person, learns, given.p99_ms, given.simulated_seconds)
            for machine in machines for learns in (False, True)
        ],
        "embedding": [_embedding(kind, store) for store in STORES for kind in ENCODINGS],
    }  # fmt: skip
    write_json(given.out, found)
    text = table(found)
    if given.table is not None:
        put_table(given.table, text)
    sys.stdout.write(f"{text}\n")
    return 0


def _check(machine: Machine, seconds: float, think_s: float, runtime: str) -> list[dict[str, Any]]:
    """Real users beside simulated ones; a lone user's times are what the simulation draws from."""
    alone = measured(1, seconds, think_s, runtime)
    together = measured(8, seconds, think_s, runtime)
    person = Person(think_s=think_s, look_s=think_s, objects=4)
    rows = []
    for real in (alone, together):
        replica = Replica(machine, person, clicks_ms=alone["ms"], learns=False)
        simulated = replica.run(real["users"], 300.0)
        rows.append(
            {"real": {name: value for name, value in real.items() if name != "ms"}, "simulated": asdict(simulated)}
        )
    return rows


def _annotators(machine: Machine, person: Person, learns: bool, p99_ms: float, seconds: float) -> dict[str, Any]:
    found: Capacity = capacity(machine, person, learns=learns, p99_ms=p99_ms, seconds=seconds)
    rows = []
    for people in PEOPLE:
        replicas = -(-people // found.people)
        cost = replicas * machine.price
        rows.append({"people": people, "replicas": replicas, "dollars_an_hour": round(cost, 2),
                     "cents_an_annotator_hour": round(100 * cost / people, 2)})  # fmt: skip
    return {
        "machine": machine.name, "learns": learns, "people_a_replica": found.people, "limits": found.limits,
        "first": found.first, "at": found.at.to_json(), "rows": rows,
    }  # fmt: skip


def _embedding(kind: Encoding, store: Store) -> dict[str, Any]:
    one = scaled(kind, store, 1)
    rows = [one if gpus == 1 else scaled(kind, store, gpus, one.images_per_s) for gpus in GPUS]
    return {
        "model": kind.name, "store": store.name, "rows": [row.to_json() for row in rows],
        "bounds_at_64": bounds(kind, store, 64),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
