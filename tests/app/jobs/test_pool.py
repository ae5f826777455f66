"""Ray itself runs in processes of its own: `livesam embed` as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from livesam.app.jobs import pool
from livesam.app.jobs.embeddings import Embed, read_embeddings
from livesam.app.jobs.manifest import verify
from livesam.app.jobs.pool import Cluster, Pool, pool_of
from livesam.app.jobs.shards import Record, Shard, divide, held, records
from livesam.app.jobs.worker import Job
from livesam.app.storage import Target
from livesam.embedding import embed_images, find_images
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.values.errors import LivesamError
from livesam.export.opening import Opening
from PIL import Image

COMMAND = [sys.executable, "-m", "livesam.app.main", "embed"]


@pytest.mark.parametrize(
    ("nodes", "cluster", "pool"),
    [
        ([{"CPU": 2.0}], Cluster(gpu=False), Pool(2, 1, 0)),
        ([{"CPU": 8.0}, {"CPU": 4.0, "memory": 1e9}], Cluster("auto"), Pool(12, 1, 0)),
        ([{"CPU": 64.0}], Cluster("auto", workers=3), Pool(3, 1, 0)),
        ([{"CPU": 16.0, "GPU": 1.0}], Cluster(gpu=True), Pool(1, 16, 1)),
        ([{"CPU": 96.0, "GPU": 8.0}, {"CPU": 40.0, "GPU": 4.0}, {"CPU": 8.0}], Cluster("auto"), Pool(12, 10, 1)),
        ([{"CPU": 2.0, "GPU": 8.0}], Cluster("auto", workers=20), Pool(8, 1, 1)),
        ([{"CPU": 2.0, "GPU": 8.0}], Cluster("auto", gpu=False), Pool(2, 1, 0)),
    ],
)
def test_workers_are_as_many_as_there_is_room_for(nodes: list[dict[str, float]], cluster: Cluster, pool: Pool) -> None:
    assert pool_of(nodes, cluster) == pool


def test_no_room_is_said() -> None:
    with pytest.raises(LivesamError, match="no machine with a GPU"):
        pool_of([{"CPU": 8.0}], Cluster("auto", gpu=True))
    with pytest.raises(LivesamError, match="no machine with a core"):
        pool_of([{}], Cluster("auto"))


def same_as_plain(photos: Path, out: Path, plain: Path) -> int:
    """How many embeddings of a target are bit for bit those of the plain command; all, or it fails."""
    embed_images(find_images([photos]), plain, Opening(device="cpu"))
    cache, found = EmbeddingCache(0, plain), list(read_embeddings(Target(str(out))))
    for name, one in found:
        other = cache.get(one.key)
        assert other is not None, name
        assert np.array_equal(one.numpy(), other.numpy()), name
    return len(found)


def test_on_ray_embeddings_are_those_of_the_plain_command(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (photos / "1.png").write_bytes(b"broken")
    out = tmp_path / "out"
    arguments = [str(photos), "--ray", "--workers", "1", "--out", str(out)]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert "8 encoded, 0 were there already" in done.stdout
    (reason,) = json.loads((out / "manifest.json").read_text())["left_out"].values()
    assert done.stderr == f"livesam: 1 of 9 images were left out: {reason}\n"
    assert verify(Target(str(out))) == []
    assert same_as_plain(photos, out, tmp_path / "plain") == 8


KILLER = """
import os, sys
from dataclasses import dataclass
from livesam.app.jobs.pool import Cluster
from livesam.app.jobs.run import Request, run
from livesam.app.jobs.worker import Made
from livesam.app.storage import Target

class Maker:
    made_by, runtime, suffix, batch = "toy", "toy", ".parquet", 1
    def make(self, pictures):
        if pictures[0].name == "3.png":
            os.kill(os.getpid(), 9)
        return [Made(one.name, {"key": one.name}, None) for one in pictures]
    def write(self, made, path):
        path.write_text("\\n".join(one.name for one in made))
    def close(self): ...

@dataclass(frozen=True)
class Work:
    kind = "toys"
    def open(self, threads):
        return Maker()

done = run(Request(Work(), [sys.argv[1]], Target(sys.argv[2]), Cluster(workers=1)))
print(done.made, dict(done.left_out))
"""


@pytest.mark.slow
def test_an_image_that_kills_its_workers_is_left_out(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script, target = tmp_path / "killer.py", Target(str(tmp_path / "out"))
    script.write_text(KILLER)
    done = subprocess.run([sys.executable, script, photos, target.url], capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("8 {'3.png': '3.png: 3 workers died of it'}\n"), done.stderr  # after what Ray says
    assert verify(target) == []


def test_what_kills_workers_is_found_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, names = Job(Embed(Opening()), "", Target(str(tmp_path))), [f"{i}.png" for i in range(20)]
    rounds: list[int] = []

    def survived(job: Job, shards: Sequence[Shard], pool: Pool) -> Iterator[Record]:
        rounds.append(len(shards))
        for one in shards:
            if not {"3.png", "17.png"} & set(one.images):
                yield Record(one.name, "f", "s", "toy", "cpu", {name: {} for name in one.images})

    monkeypatch.setattr(pool, "_round", survived)
    found = list(pool.run_on_ray(job, divide(names, 8, 1), Pool(1, 1, 0)))
    assert sorted(held(found)) == sorted(set(names) - {"3.png", "17.png"})
    assert [one.left_out for one in found if one.left_out] == [
        {name: f"{name}: 3 workers died of it"} for name in ("3.png", "17.png")
    ]
    assert sorted(records(job.target), key=str) == sorted((one for one in found if one.left_out), key=str)
    assert rounds == [4, 6, 4]
    monkeypatch.setattr(pool, "_round", lambda *_: iter(()))
    with pytest.raises(LivesamError, match=r"every worker died, the last at 0\.png"):
        list(pool.run_on_ray(job, divide(names[:4], 4), Pool(1, 1, 0)))


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_image(tmp_path: Path) -> None:
    """Killed without warning as soon as the first shard is there: its own shard is begun, and done again."""
    import psutil

    pytest.importorskip("ray")
    photos, out, rng = tmp_path / "photos", tmp_path / "out", np.random.default_rng(0)
    photos.mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (600, 800, 3), np.uint8)).save(photos / f"{i}.png", compress_level=1)
    arguments = [str(photos), "--ray", "--out", str(out), "--shard", "3"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 200
    while not list((out / "records").glob("*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = [one for one in psutil.Process(process.pid).children(recursive=True) if "MapWorker" in one.name()]
    os.kill(workers[0].pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    assert "40 encoded" in said
    assert verify(Target(str(out))) == []
    assert same_as_plain(photos, out, tmp_path / "plain") == 40
