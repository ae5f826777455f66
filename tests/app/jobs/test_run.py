"""Jobs in this process; tests/app/jobs/test_pool.py has them on Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livesam.app.jobs import embeddings
from livesam.app.jobs.embeddings import Embed, read_embeddings
from livesam.app.jobs.manifest import verify
from livesam.app.jobs.run import Outcome, Request, run
from livesam.app.jobs.shards import Record, records
from livesam.app.main import run as command
from livesam.app.storage import Target
from livesam.embedding import embed_images, find_images
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.values.errors import LivesamError
from livesam.export.opening import Opening
from PIL import Image


def embed(photos: Path, out: str, format: str = "parquet", **options: Any) -> Outcome:
    return run(Request(Embed(Opening(device="cpu"), format), [str(photos)], Target(out), size=4, **options))


@pytest.mark.parametrize("format", ["parquet", "safetensors"])
def test_shards_hold_what_the_plain_command_makes(photos: Path, tmp_path: Path, toy: list[int], format: str) -> None:
    target = Target(str(tmp_path / "out"))
    done = embed(photos, target.url, format)
    assert (done.made, done.found, done.left_out, done.runtime) == (9, 0, {}, "toy:cpu:fp32")
    assert verify(target) == []
    embed_images(find_images([photos]), tmp_path / "plain", Opening())
    plain, index = EmbeddingCache(0, tmp_path / "plain"), json.loads((tmp_path / "plain" / "index.json").read_text())
    found = dict(read_embeddings(target))
    assert len(found) == 9
    for name, one in found.items():
        assert index[str(photos / name)]["key"] == one.key
        other = plain.get(one.key)
        assert other is not None
        assert np.array_equal(other.numpy(), one.numpy())
        assert (other.original_hw, other.resized_hw) == (one.original_hw, one.resized_hw)


def test_parquet_is_read_by_pyarrow_alone(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    from pyarrow import parquet

    embed(photos, str(tmp_path / "out"))
    table = parquet.read_table(tmp_path / "out" / "shards")
    assert sorted(table["image"].to_pylist())[-1] == "below/4.png"
    assert table["features"].combine_chunks().to_numpy_ndarray().shape == (9, 256, 4, 4)


def test_an_object_store_is_a_target(photos: Path, memory: str, toy: list[int]) -> None:
    assert embed(photos, memory).made == 9
    assert verify(Target(memory)) == []
    assert embed(photos, memory).found == 9
    assert len(list(read_embeddings(Target(memory)))) == 9


def test_a_second_run_does_what_is_new_and_nothing_twice(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    target = Target(str(tmp_path / "out"))
    embed(photos, target.url)
    toy.clear()
    done = embed(photos, target.url)
    assert (done.made, done.found, toy) == (0, 9, [])
    Image.new("RGB", (9, 9)).save(photos / "new.png")
    done = embed(photos, target.url)
    assert (done.made, done.found, toy) == (1, 9, [1])
    assert verify(target) == []
    assert sorted(name for name, _ in read_embeddings(target))[-1] == "new.png"


def test_a_run_that_was_killed_leaves_whole_shards_and_the_next_goes_on(
    photos: Path, tmp_path: Path, toy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the third shard's file and before its record, which is the worst moment."""
    target, write = Target(str(tmp_path / "out")), Record.write
    written: list[str] = []

    def stop(self: Record, target: Target) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(self.shard)
        write(self, target)

    monkeypatch.setattr(Record, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        embed(photos, target.url)
    assert target.read("manifest.json") is None
    assert len(records(target)) == 2
    monkeypatch.setattr(Record, "write", write)
    half = tmp_path / "out" / "shards" / f".{'0' * 24}.parquet.{'0' * 12}.tmp"
    half.write_bytes(b"of a process that was killed while it wrote")
    toy.clear()
    done = embed(photos, target.url)
    assert done.made + done.found == 9
    assert len(toy) == done.made < 9
    assert verify(target) == []
    assert {f"shards/{name}" for name in target.names("shards")} == {one.file for one in done.shards}


def test_what_others_have_put_beside_shards_stays(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    shards = tmp_path / "out" / "shards"
    (shards / "below").mkdir(parents=True)
    others = [shards / name for name in ("mine.parquet", ".hidden", f"{'0' * 24}.parquet", f"{'1' * 24}.parquet.bak")]
    for one in others:
        one.write_bytes(b"of somebody")
    embed(photos, str(tmp_path / "out"))
    assert all(one.exists() for one in others)  # before the first run nothing says whose they are
    embed(photos, str(tmp_path / "out"))
    assert [one.exists() for one in others] == [True, True, False, True]
    assert (shards / "below").is_dir()


def test_nothing_is_removed_where_the_model_cannot_be_opened(
    photos: Path, tmp_path: Path, other_toy: Callable[[], None]
) -> None:
    embed(photos, str(tmp_path / "out"))
    left = tmp_path / "out" / "shards" / f"{'0' * 24}.parquet"
    left.write_bytes(b"")
    Image.new("RGB", (9, 9)).save(photos / "new.png")
    other_toy()
    with pytest.raises(LivesamError, match="made by"):
        embed(photos, str(tmp_path / "out"))
    assert left.exists()


def test_a_damaged_record_stops_the_job_and_its_shard_stays(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    target = Target(str(tmp_path / "out"))
    first, *_ = embed(photos, target.url).shards
    target.write(f"records/{first.shard}.json", b"{")
    with pytest.raises(LivesamError, match=rf"{first.shard}\.json is damaged \(1 in all\)"):
        embed(photos, target.url)
    assert target.read(first.file) is not None
    for name in (f"records/{first.shard}.json", first.file):
        target.remove(name)
    done = embed(photos, target.url)
    assert (done.made, done.found, verify(target)) == (len(first.images), 9 - len(first.images), [])


@pytest.mark.parametrize("place", ["local", "memory"])
def test_two_jobs_on_one_target_are_refused(
    photos: Path, tmp_path: Path, memory: str, toy: list[int], place: str
) -> None:
    from livesam.app.jobs.claim import claimed

    target = Target(str(tmp_path / "out") if place == "local" else memory)
    with claimed(target), pytest.raises(LivesamError, match=r"another job writes to .*out \(process \d+ on "):
        embed(photos, target.url)
    assert embed(photos, target.url).made == 9
    if place == "memory":  # the first was killed: nobody lets go of what is not a file of this machine
        target.create("job.lock", b"process 1 on elsewhere")
        with pytest.raises(LivesamError, match=r"if it was killed, remove .*job\.lock and run again"):
            embed(photos, target.url)
        target.remove("job.lock")
        assert embed(photos, target.url).found == 9


def test_a_worker_that_died_on_the_way_home_does_not_work_again(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    from livesam.app.jobs.shards import divide
    from livesam.app.jobs.worker import Job, Worker

    worker = Worker(Job(Embed(Opening(device="cpu")), str(photos), Target(str(tmp_path / "out"))))
    (shard,) = divide(["0.png"], 4)
    first = worker.do(shard)
    assert worker.do(shard) == first
    assert toy == [1]


def test_bad_images_are_named_and_cost_no_other(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    (photos / "1.png").write_bytes(b"\x89PNG broken")
    Image.new("RGB", (2000, 1)).save(photos / "2.png")  # too thin
    target = Target(str(tmp_path / "out"))
    done = embed(photos, target.url)
    assert (done.made, done.of) == (7, 9)
    assert set(done.left_out) == {"1.png", "2.png"}
    assert "1.png" in done.left_out["1.png"]
    assert "2.png" in done.left_out["2.png"]
    assert set(json.loads(target.read("manifest.json") or b"")["left_out"]) == {"1.png", "2.png"}
    Image.new("RGB", (9, 9), (1, 2, 3)).save(photos / "1.png")  # mended
    done = embed(photos, target.url)
    assert (done.made, done.found, set(done.left_out)) == (1, 7, {"2.png"})
    assert set(json.loads(target.read("manifest.json") or b"")["left_out"]) == {"2.png"}
    assert verify(target) == []


def test_a_batch_is_encoded_at_once_and_one_bad_image_takes_none_with_it(
    photos: Path, tmp_path: Path, toy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from livesam.engine.runtimes.selection import Choice

    Image.new("RGB", (2000, 1)).save(photos / "2.png")
    monkeypatch.setattr(embeddings, "GPU_BATCH", 3)
    monkeypatch.setattr(Opening, "choice", lambda *_: Choice("torch", "fp32", "cuda"))
    done = embed(photos, str(tmp_path / "out"))
    assert (done.made, set(done.left_out)) == (8, {"2.png"})
    assert max(toy) == 3
    assert sum(toy) == 8


def test_another_model_is_refused(photos: Path, tmp_path: Path, other_toy: Callable[[], None]) -> None:
    embed(photos, str(tmp_path / "out"))
    Image.new("RGB", (9, 9)).save(photos / "new.png")
    other_toy()
    with pytest.raises(LivesamError, match=r"made by toy:64:fp32, this would be other:64:fp32"):
        embed(photos, str(tmp_path / "out"))


def test_damage_is_found(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    target = Target(str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"no manifest\.json"):
        verify(target)
    first, second, *_ = embed(photos, target.url).shards
    target.write(first.file, b"other bytes")
    target.remove(second.file)
    assert verify(target) == [f"{first.file} has changed", f"{second.file} is missing"]


def test_progress_is_told_after_each_shard(photos: Path, tmp_path: Path, toy: list[int]) -> None:
    told: list[tuple[int, int]] = []
    request = Request(Embed(Opening(device="cpu")), [str(photos)], Target(str(tmp_path / "out")), size=4)
    run(request, lambda *position: told.append(position))
    assert told == [(0, 9), (3, 9), (6, 9), (9, 9)]


def test_the_command(photos: Path, tmp_path: Path, toy: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    (photos / "1.png").write_bytes(b"broken")
    assert command(["embed", str(photos), "--out", out, "--format", "safetensors", "--shard", "2"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("8 encoded, 0 were there already, 5 shards, toy:cpu:fp32\n")
    assert captured.err.startswith("livesam: 1 of 9 images were left out: 1.png")
    assert len(list((tmp_path / "out" / "shards").glob("*.safetensors"))) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["s3://bucket/photos"], "in shards only"),
        (["--shard", "3"], "--format parquet or --ray"),
        (["--workers", "3", "--format", "parquet"], "add --ray"),
        (["--workers", "0", "--ray"], "must be 1 or more"),
        (["--shard", "0", "--ray"], "1 or more images"),
        (["--device", "cuda:1", "--ray"], "the GPU that Ray gives it"),
    ],
)
def test_what_does_not_go_together_is_said_before_any_work(
    photos: Path, tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["embed", str(photos), *options, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
