"""Saving at intervals, and what is left after a kill -9."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from livesam.adapter.learning.store import DecoderStore, Learned
from livesam.engine.models.adapted import read_adapted
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def base(rng):
    return {"a": rng.normal(size=(8, 4)).astype(np.float32), "b": rng.normal(size=3).astype(np.float32)}


def shifted(base, by):
    return {k: v + np.float32(by) for k, v in base.items()}


def make(folder, base, clock=None, **options):
    return DecoderStore(folder, base, AdaptedInfo(model="nano", method="live"), clock=clock or Clock(), **options)


def test_saves_at_intervals_and_at_the_end(tmp_path, base):
    clock = Clock()
    store = make(tmp_path / "deep" / "folder", base, clock, interval_s=10)
    assert store.load("steel") is None
    assert not store.offer("steel", Learned(lambda: shifted(base, 1)))
    clock.now = 9.9
    assert store.tick() == []
    clock.now = 10.0
    assert store.tick() == ["steel"]
    np.testing.assert_allclose(store.load("steel")["a"], base["a"] + 1)
    assert not store.offer("steel", Learned(lambda: shifted(base, 2), counts={"accepted": 2}))
    clock.now = 19.0
    assert not store.offer("steel", Learned(lambda: shifted(base, 4), counts={"accepted": 3}))
    assert store.flush() == ["steel"]
    assert store.flush() == []
    np.testing.assert_allclose(store.load("steel")["a"], base["a"] + 4)
    assert read_adapted(store.path("steel")).info.counts == {"accepted": 3}
    assert store.domains() == ["steel"]


def test_any_name_is_one_file_in_the_folder(tmp_path, base):
    store = make(tmp_path, base, interval_s=0)
    names = ["steel", "Steel", "../steel", "a/b", "", "ä b", "x" * 300, ".hidden", "steel "]
    for i, name in enumerate(names):
        assert store.offer(name, Learned(lambda i=i: shifted(base, i)))
    assert len(list(tmp_path.iterdir())) == len(names)
    assert store.domains() == sorted(names)
    for i, name in enumerate(names):
        np.testing.assert_allclose(store.load(name)["b"], base["b"] + i, atol=1e-2)


def test_other_bases_and_renamed_files_are_refused(tmp_path, base):
    store = make(tmp_path, base, interval_s=0)
    store.offer("steel", Learned(lambda: shifted(base, 1)))
    with pytest.raises(CheckpointError, match="another base"):
        make(tmp_path, shifted(base, 1e-3)).load("steel")
    store.path("steel").rename(store.path("wood"))
    with pytest.raises(CheckpointError, match="domain 'steel'"):
        store.load("wood")
    store.path("wood").write_bytes(b"rubbish")
    assert store.domains() == []


def test_a_failed_save_keeps_the_file_and_the_offer(tmp_path, base):
    store = make(tmp_path, base, interval_s=0)
    store.offer("steel", Learned(lambda: shifted(base, 1)))
    with pytest.raises(ValueError, match="not finite"):
        store.offer("steel", Learned(lambda: shifted(base, np.nan)))
    np.testing.assert_allclose(store.load("steel")["a"], base["a"] + 1)
    store.put("steel", Learned(lambda: shifted(base, 3)))
    assert store.flush() == ["steel"]
    with pytest.raises(ValueError, match="interval"):
        make(tmp_path, base, interval_s=-1)


def test_a_failed_save_is_tried_again_an_interval_later_and_keeps_no_other_from_being_saved(tmp_path, base):
    clock, calls = Clock(), []
    store = make(tmp_path, base, clock, interval_s=10)

    def broken():
        calls.append(clock.now)
        return shifted(base, np.nan)

    store.put("a", Learned(broken))
    store.put("b", Learned(lambda: shifted(base, 1)))
    clock.now = 10.0
    with pytest.raises(ValueError, match="not finite"):
        store.tick()
    assert store.domains() == ["b"]
    clock.now = 19.0
    assert store.tick() == []
    assert calls == [10.0]
    store.put("c", Learned(lambda: shifted(base, 1)))
    with pytest.raises(ValueError, match="not finite"):
        store.flush()
    assert store.domains() == ["b", "c"]
    assert store.saved == 2


WRITER = """
import sys
from pathlib import Path
import numpy as np
from livesam.adapter.learning.store import DecoderStore, Learned
from livesam.engine.values.adapted_info import AdaptedInfo
assert "torch" not in sys.modules
base = {"a": np.zeros((300, 1000), np.float32)}
store = DecoderStore(Path(sys.argv[1]), base, AdaptedInfo(model="nano", method="live"), interval_s=0)
print("ready", flush=True)
for i in range(1, 100000):
    store.offer("d", Learned(lambda: {"a": np.full((300, 1000), i % 2000, np.float32)}, counts={"turn": i}))
    print(i, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_killed_process_loses_at_most_the_last_interval(tmp_path, rng):
    base = {"a": np.zeros((300, 1000), np.float32)}
    store = DecoderStore(tmp_path, base, AdaptedInfo(model="nano", method="live"))
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(3):
            process.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.05)))
        os.kill(process.pid, signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().splitlines() if line.strip()]
        process.stdout.close()
        process.wait()
        turn = read_adapted(store.path("d")).info.counts["turn"]
        assert turn >= (reported[-1] if reported else 3)
        assert (store.load("d")["a"] == turn % 2000).all()
        assert store.domains() == ["d"]
