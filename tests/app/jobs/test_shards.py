from __future__ import annotations

from pathlib import Path

import pytest
from livesam.app.jobs.shards import Record, divide, held, one_maker, record_of, records
from livesam.app.storage import Target
from livesam.engine.values.errors import LivesamError

NAMES = [f"{i}.png" for i in range(100)]


@pytest.mark.parametrize(("size", "workers"), [(64, 1), (64, 2), (7, 3), (1, 1), (1000, 8)])
def test_every_image_is_in_one_shard(size: int, workers: int) -> None:
    shards = divide(NAMES, size, workers)
    assert [name for one in shards for name in one.images] == NAMES
    assert max(len(one.images) for one in shards) <= size
    assert len(shards) >= 3 * workers
    assert len({one.name for one in shards}) == len(shards)


def test_the_same_images_have_the_same_name_and_others_another() -> None:
    first, *others = divide(NAMES, 10)
    assert divide(NAMES[:40], 10)[0] == first
    assert first.name not in {one.name for one in others}


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        divide(NAMES, 0)


def record(name: str, made_by: str = "m") -> Record:
    return Record(name, f"shards/{name}.parquet", "0", made_by, "cpu", {f"{name}.png": {"key": "k"}}, {"x": "bad"})


def test_records_come_back_and_damaged_ones_count_as_absent(tmp_path: Path) -> None:
    target = Target(str(tmp_path))
    assert records(target) == []
    record("b").write(target)
    record("a").write(target)
    assert records(target) == [record("a"), record("b")]
    assert list(held(records(target))) == ["a.png", "b.png"]
    shard = divide(["a.png"], 1)[0]
    assert record_of(target, shard) is None
    for damage in (b"", b"{", b"[]", b'{"shard": "a"}'):
        target.write("records/a.json", damage)
        assert records(target) == [record("b")]


def test_shards_of_two_makers_are_refused() -> None:
    assert one_maker([]) == ""
    assert one_maker([record("a"), record("b")]) == "m"
    with pytest.raises(LivesamError, match="different models or precisions"):
        one_maker([record("a"), record("b", "n")])
