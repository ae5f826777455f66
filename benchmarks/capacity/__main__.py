"""``python -m livesam.benchmarks.capacity --out capacity.json --table docs/scale.md``.

Simulates as many annotators as no machine here could hold, from costs that were measured alone, and says how far the
simulation is from real users. ``--measure`` measures costs and real users anew, on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from livesam.benchmarks.capacity.alone import alone
from livesam.benchmarks.capacity.annotating import Person, Replica
from livesam.benchmarks.capacity.embedding import STORES, Encoding, Store, bounds, encodings, scaled
from livesam.benchmarks.capacity.limits import Capacity, capacity
from livesam.benchmarks.capacity.machines import PRICE, Machine, cpu_costs, machines
from livesam.benchmarks.capacity.measured import measured
from livesam.benchmarks.capacity.table import QUANTILES, put_table, table
from livesam.benchmarks.reports.environment import environment
from livesam.engine.files.atomic import write_json

RESULTS = Path("benchmarks/results")
PEOPLE = (10, 1_000, 100_000)
GPUS = (1, 2, 4, 8, 16, 32, 64)
FACTOR = 2.0  # between a real and a simulated percentile; farther apart, the command fails


def main() -> int:
    """Run it; 1 where the simulation is farther from real users than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure costs and real users of this machine first")
    parser.add_argument("--measured", type=Path, default=RESULTS / "capacity_measured.json", help="what was measured")
    parser.add_argument("--h100", type=Path, default=RESULTS / "gpu_h100.json")
    parser.add_argument("--page", type=Path, default=RESULTS / "page_latency.json")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each real run")
    parser.add_argument("--think-s", type=float, default=1.0, help="of the real users, and of the same simulated")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--simulated-seconds", type=float, default=600.0, help="at most; few people need the longest")
    parser.add_argument("--p99-ms", type=float, default=100.0)
    parser.add_argument("--factor", type=float, default=FACTOR, help="that simulated and real times may be apart")
    parser.add_argument("--price-cpu", type=float, help=f"an hour of two cores, dollars; {PRICE}")
    parser.add_argument("--price-gpu", type=float, help="and of an H100 with 16 cores")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="Markdown file whose section Capacity is made anew")
    given = parser.parse_args()
    if given.measure:
        write_json(given.measured, _measure(given.runtime, given.seconds, given.think_s))
    real, h100, page = (json.loads(one.read_text()) for one in (given.measured, given.h100, given.page))
    found = _simulated(real, h100, page, given)
    write_json(given.out, found)
    text = table(found)
    if given.table is not None:
        put_table(given.table, text)
    sys.stdout.write(f"{text}\n")
    far = [row for row in found["check"] if max(row["factors"].values()) > given.factor]
    for row in far:
        sys.stderr.write(f"{row['real']['users']} users: {row['factors']}, and {given.factor:g} is allowed\n")
    return int(bool(far))


def _measure(runtime: str, seconds: float, think_s: float) -> dict[str, Any]:
    begun = environment().to_json()
    costs = alone(runtime, 50, 5)
    users = [measured(users, seconds, think_s, runtime) for users in (1, 8)]
    return {"environment": begun, "load_after": os.getloadavg()[0], "think_s": think_s, "alone": costs, "users": users}


def _simulated(
    real: Mapping[str, Any], h100: Mapping[str, Any], page: Mapping[str, Any], given: argparse.Namespace
) -> dict[str, Any]:
    prices = (given.price_cpu, given.price_gpu)
    kinds = [replace(one, price=price or one.price)
             for one, price in zip(machines(real["alone"], h100, page), prices, strict=True)]  # fmt: skip
    person, encoders = Person(), encodings(h100)
    return {
        "environment": environment().to_json(),
        "inputs": {"machines": [one.to_json() for one in kinds], "person": asdict(person), "p99_ms": given.p99_ms,
                   "encodings": [one.to_json() for one in encoders], "stores": [one.to_json() for one in STORES]},
        "check": check(kinds[0], real),
        "annotators": [
            _annotators(machine, person, learns, given.p99_ms, given.simulated_seconds)
            for machine in kinds for learns in (False, True)
        ],
        "embedding": [_embedding(kind, store) for store in STORES for kind in encoders],
    }  # fmt: skip


def check(machine: Machine, real: Mapping[str, Any], seconds: float = 400.0) -> list[dict[str, Any]]:
    """Real users beside simulated ones.

    Nothing of the real users' times goes into the simulation but the processor time of their own program: costs were
    measured alone, in another process.
    """
    users, think_s = real["users"], real["think_s"]
    person = Person(think_s=think_s, look_s=think_s, clicks=(1, 2, 3, 4), new_images=0.0,
                    own_ms=users[0]["users_ms"])  # fmt: skip
    like_them = replace(machine, costs=cpu_costs(real["alone"], "anywhere"))
    rows = []
    for one in users:
        replica = Replica(like_them, person, learns=False, others=one["others"])
        load = replica.run(one["users"], seconds if one["users"] > 1 else 3 * seconds)
        simulated = load.to_json()
        pairs = {name: (float(one[name]), float(getattr(load, name))) for name in QUANTILES}
        factors = {name: round(max(a, b) / min(a, b), 2) for name, (a, b) in pairs.items()}
        kept = {name: value for name, value in one.items() if name != "ms"}
        rows.append({"real": kept, "simulated": simulated, "factors": factors})
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
        "machine": machine.name, "learns": learns, "people_a_replica": found.people, "kept": found.kept,
        "limits": found.limits, "first": found.first, "alone": found.alone.to_json(), "at": found.at.to_json(),
        "rows": rows,
    }  # fmt: skip


def _embedding(kind: Encoding, store: Store, gpus: Sequence[int] = GPUS) -> dict[str, Any]:
    one = scaled(kind, store, 1)
    rows = [one if count == 1 else scaled(kind, store, count, one.images_per_s) for count in gpus]
    return {
        "model": kind.name, "store": store.name, "rows": [row.to_json() for row in rows],
        "bounds_at_64": bounds(kind, store, 64),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
