"""The simulation against what is known without one, and its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from livesam.benchmarks.capacity.annotating import Load, Person, Replica
from livesam.benchmarks.capacity.embedding import STORES, Encoding, bounds, scaled, shard_s
from livesam.benchmarks.capacity.limits import Capacity, capacity
from livesam.benchmarks.capacity.machines import Costs, Machine, cpu_costs, late_of, like
from livesam.benchmarks.capacity.table import put_table, table

pytest.importorskip("simpy", reason="the simulation is written with SimPy")

COSTS = Costs(((4.0, 10.0),), (60.0,), 2.0, 3.0, 0.4, 0.0, 400.0, 0, 0.0, "made up")
CPU = Machine("two", 2, False, 1, COSTS, 500, 400, 8192, 700, 306.0, 5_000, 0.1)
CARD = replace(CPU, name="card", gpu=True, cores=16, processes=8, costs=replace(COSTS, steps=15, step_ms=7.0))
NANO = Encoding("nano", 300.0, 1 << 20, "made up")


def test_a_lone_click_takes_what_its_parts_take() -> None:
    """Two threads share the decoder's work, and a click whose window nobody foresaw encodes it first."""
    load = Replica(CPU, Person(), learns=False).run(1, 200.0)
    assert load.p50_ms == pytest.approx(2 + 4 + 10 / 2)
    late = replace(CPU, costs=replace(COSTS, late=1.0))
    assert Replica(late, Person(), learns=False).run(1, 150.0).p50_ms == pytest.approx(11 + 60 / 2)
    assert Replica(CARD, Person(), learns=False).run(1, 150.0).p50_ms == pytest.approx(2 + 4 + 10, abs=2.1)


def test_a_click_waits_for_a_window_that_is_not_there_yet() -> None:
    hasty = Person(think_s=0.08, spread=0.01)  # a window is begun after 60 ms and takes 30
    assert Replica(CPU, hasty, learns=False).run(1, 60.0).p95_ms > 15
    assert Replica(CPU, Person(spread=0.01), learns=False).run(1, 150.0).p95_ms == pytest.approx(11)


def test_more_people_and_other_programs_make_clicks_slower() -> None:
    loads = [Replica(CPU, Person(), learns=False).run(people, 10.0) for people in (2, 40, 80)]
    assert loads[0].p99_ms < loads[1].p99_ms < loads[2].p99_ms
    assert loads[0].cores < loads[1].cores < loads[2].cores <= 1.01
    alone, beside = (Replica(CPU, Person(), learns=False, others=others).run(2, 30.0).p50_ms for others in (0.0, 4.0))
    assert beside > 1.8 * alone


def test_the_card_is_shared_by_all_processes() -> None:
    """Eight processes have one card, so that twice the processes answer no more."""
    slow = replace(CARD, costs=replace(COSTS, clicks=((1.0, 40.0),)))
    twice = replace(slow, processes=16)
    loads = [Replica(one, Person(), learns=False).run(70, 20.0) for one in (slow, twice)]
    assert [load.card for load in loads] == [pytest.approx(1.0, abs=0.1)] * 2
    assert min(load.p50_ms for load in loads) > 80


def test_learning_falls_behind_before_clicks_are_slow() -> None:
    slow = replace(CPU, costs=replace(COSTS, lessons_ms=3000.0))
    load = Replica(slow, Person()).run(8, 20.0)
    assert load.learning + load.cores > 1
    assert load.behind > 3
    assert load.p95_ms < 100


def test_capacity_is_the_smallest_of_its_limits() -> None:
    """What few people need is not rounded before it is divided by."""
    found = capacity(CPU, Person(), learns=True, p99_ms=100.0, seconds=60.0)
    assert found.kept
    assert found.people == min(found.limits.values()) == found.limits[found.first]
    assert found.limits["memory"] == int((8192 - 700) / 306)
    assert found.limits["learning"] < found.limits["cores"]
    assert (found.limits["sessions"], found.limits["domains"]) == (500, 400)
    few = capacity(replace(CPU, sessions=3), Person(), learns=False, p99_ms=100.0, seconds=60.0)
    assert (few.people, few.first) == (3, "sessions")
    light = replace(
        CARD, sessions=1, costs=replace(COSTS, clicks=((0.1, 0.01),), encodes=(0.01,), server_ms=0.1, open_ms=0.1)
    )
    assert capacity(light, Person(), learns=False, p99_ms=100.0, seconds=60.0).limits["card"] > 20_000


def test_a_lone_person_who_waits_too_long_is_told_apart() -> None:
    found = capacity(replace(CPU, sessions=2), Person(), learns=False, p99_ms=5.0, seconds=60.0)
    assert not found.kept
    assert found.people == 2


def test_costs_are_those_that_were_measured() -> None:
    row = {"cpu": 40.0, "wall": 30.0}
    stream = {"windows_a_click": 0.5, "late_share": 0.1, "click_ms": [{"host": 3.0, "decode": 9.0}]}
    alone = {"streams": {"near": stream}, "encode_ms": [row], "open_ms": [row], "lesson": {"object_ms": [row, row]}}
    costs = cpu_costs(alone, "near")
    assert (costs.clicks, costs.encodes, costs.lessons_ms, costs.windows) == (((3.0, 9.0),), (40.0,), 40.0, 0.5)
    assert late_of({"samples": [{"zoom": 0.6}, {"zoom": 93.0}]}) == 0.5
    samples = like(7.5, 23.9)
    assert samples[50] == pytest.approx(7.5)
    assert samples[99] == pytest.approx(23.9, rel=0.1)


def test_embedding_is_linear_until_the_store_ends_it() -> None:
    narrow, wide = STORES
    one = scaled(NANO, wide, 1, seconds=30.0)
    assert one.images_per_s == pytest.approx(64 / shard_s(NANO), rel=0.1)
    assert one.busy < 0.6, "a shard is written before the next is encoded"
    assert scaled(NANO, wide, 16, one.images_per_s, seconds=10.0).linear > 0.95
    tight = replace(narrow, reads=1000.0)
    ended = scaled(NANO, tight, 32, one.images_per_s, seconds=10.0)
    assert ended.first == "store's requests"
    assert ended.images_per_s == pytest.approx(min(bounds(NANO, tight, 32).values()), rel=0.1)


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    real = {"users": 1, "clicks": 2, "p50_ms": 3.0, "p95_ms": 4.0, "p99_ms": 5.0}
    check = {"real": real, "simulated": real, "factors": {"p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.25}}
    rows = [{"people": 10, "replicas": 1, "dollars_an_hour": 0.1}]
    found = Capacity(9, False, {"memory": 9, "cores": 20}, "memory", Load(1, p99_ms=110.0), Load(9, p99_ms=120.0))
    annotators = {
        "machine": "m", "learns": True, "people_a_replica": 9, "first": found.first, "kept": found.kept, "rows": rows,
        "limits": found.limits, "alone": found.alone.to_json(), "at": found.at.to_json(),
    }  # fmt: skip
    scale = {"model": "nano", "store": "s", "rows": [scaled(NANO, STORES[0], 1, seconds=2.0).to_json()]}
    text = table({"check": [check], "annotators": [annotators], "embedding": [scale]})
    document = tmp_path / "scale.md"
    document.write_text("# Scale\n\n## Another\n\ntext\n")
    put_table(document, text)
    first = document.read_text()
    assert "| 1 | factor |  | 1.00 | 1.00 | 1.25 |" in first
    assert "memory 9; cores 20 | 120.0: too slow |" in first
    put_table(document, "new")
    assert "## Another\n\ntext\n\n## Capacity" in document.read_text()
    assert "simulated" not in document.read_text()
