"""The simulation against what is known without one, and its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from livesam.benchmarks.capacity.annotating import Person, Replica, capacity
from livesam.benchmarks.capacity.embedding import bounds, scaled
from livesam.benchmarks.capacity.machines import ENCODINGS, MACHINES, STORES
from livesam.benchmarks.capacity.table import put_table, table

pytest.importorskip("simpy", reason="the simulation is written with SimPy")

CPU = MACHINES[0]


def test_a_lone_person_waits_for_nobody() -> None:
    load = Replica(CPU, Person(), clicks_ms=[5.0, 7.0, 9.0], learns=False).run(1, 300.0)
    assert (load.p50_ms, load.p99_ms) == (7.0, 9.0)
    assert load.clicks > 30
    assert load.behind == 0


def test_more_people_wait_longer_and_one_core_less_is_full_earlier() -> None:
    loads = [Replica(CPU, Person(), learns=False).run(people, 20.0) for people in (10, 100, 200)]
    assert loads[0].p99_ms < loads[1].p99_ms < loads[2].p99_ms
    assert loads[0].busy < loads[1].busy < loads[2].busy <= 1.0
    assert Replica(replace(CPU, lanes=1), Person(), learns=False).run(100, 20.0).busy > 1.6 * loads[1].busy


def test_learning_falls_behind_before_clicks_are_slow() -> None:
    """Clicks go first: what a machine cannot do in time is learning, which waits."""
    load = Replica(CPU, Person()).run(60, 60.0)
    assert load.learning + load.busy > 1
    assert load.behind > 5
    assert load.p99_ms < 100


def test_capacity_is_the_smallest_of_its_limits() -> None:
    small = replace(CPU, memory_mib=4000)
    found = capacity(small, Person(), learns=True, p99_ms=100.0, seconds=20.0)
    assert found.people == min(found.limits.values()) == found.limits[found.first]
    assert found.limits["memory"] == int((4000 - small.base_mib) / small.per_user_mib)
    assert found.limits["learning"] < found.limits["cores"]
    strict = capacity(small, Person(), learns=False, p99_ms=20.0, seconds=20.0)
    assert strict.first == "p99"
    assert strict.people < strict.limits["cores"]
    assert strict.at.p99_ms <= 20.0


def test_embedding_is_linear_until_the_store_ends_it() -> None:
    narrow, wide = STORES
    nano = ENCODINGS[0]
    one = scaled(nano, wide, 1, seconds=10.0)
    assert one.images_per_s == pytest.approx(nano.images_per_s, rel=0.03)
    assert scaled(nano, wide, 16, one.images_per_s, seconds=5.0).linear > 0.95
    ended = scaled(nano, narrow, 32, one.images_per_s, seconds=5.0)
    assert ended.first == "store's requests"
    assert ended.images_per_s == pytest.approx(min(bounds(nano, narrow, 32).values()), rel=0.06)


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    check = {"users": 1, "clicks": 2, "p50_ms": 3.0, "p95_ms": 4.0, "p99_ms": 5.0}
    rows = [{"people": 10, "replicas": 1, "dollars_an_hour": 0.1}]
    annotators = {"machine": "m", "learns": True, "people_a_replica": 9, "first": "memory", "at": check, "rows": rows}
    scale = {"model": "nano", "store": "s", "rows": [scaled(ENCODINGS[0], STORES[0], 1, seconds=2.0).to_json()]}
    found = {"check": [{"real": check, "simulated": check}], "annotators": [annotators], "embedding": [scale]}
    document = tmp_path / "scale.md"
    document.write_text("# Scale\n\n## Another\n\ntext\n")
    put_table(document, table(found))
    first = document.read_text()
    assert "| 1 | simulated | 2 | 3.0 | 4.0 | 5.0 |" in first
    put_table(document, "new")
    assert "## Another\n\ntext\n\n## Capacity" in document.read_text()
    assert "simulated" not in document.read_text()
