"""kill -9 at random moments: nothing that was accepted is lost, and the decoder is the last that was published."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from livesam.app.server.store import Store
from livesam.app.server.weights import WeightFiles
from stored import mask_of

BASE = {name: np.ones((32, 32), np.float32) for name in ("a", "b")}

WRITER = """
import sys
from pathlib import Path
import numpy as np
from livesam.app.server.store import Store
from livesam.app.server.weights import WeightFiles
from stored import HW, accept
assert "torch" not in sys.modules
out = Path(sys.argv[1])
base = {name: np.ones((32, 32), np.float32) for name in ("a", "b")}
store, files = Store(out), WeightFiles(out / "decoders", base)
store.note_image("0" * 20, "0.png", "h", HW)
first = len(store.objects("0" * 20)) + 1
print("ready", flush=True)
for number in range(first, first + 100000):
    store.note_click("s", "0" * 20, {"op": "click"})
    assert accept(store, number) == number
    if number % 5 == 0:
        digest = files.write({**base, "b": np.full((32, 32), number, np.float32)})
        store.note_version("d", number, digest)
    print(number, flush=True)
"""


def test_killed_writers_lose_nothing(tmp_path: Path) -> None:
    """The store and the decoders' files without a model, many writes a second."""
    random, printed = np.random.default_rng(0), [0]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        printed.append(int(process.stdout.readline()))
        time.sleep(float(random.uniform(0, 0.2)))
        process.send_signal(signal.SIGKILL)
        printed += map(int, process.stdout.read().split())
        process.stdout.close()
        process.wait(30)
        store, files = Store(tmp_path), WeightFiles(tmp_path / "decoders", BASE)
        kept = store.objects("0" * 20)
        assert len(kept) in (printed[-1], printed[-1] + 1)
        assert all(np.array_equal(store.mask(one.id), mask_of(one.id)) for one in kept)
        versions = store.versions("d")
        noted = {number for number, _, _ in versions}
        assert {number for number in printed if number and number % 5 == 0} <= noted  # whose line came after its note
        assert all((files.read(digest)["b"] == number).all() for number, digest, _ in versions)
        store.close()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_of_a_server_that_is_used(tmp_path: Path) -> None:
    """`livesam serve` as a process, clicks, accepts, learning and swaps; killed fifty times."""
    from livesam.benchmarks.soak.kills import killed_often

    found = killed_often(tmp_path, kills=int(os.environ.get("LIVESAM_KILLS", "50")))
    assert found.lost == []
    assert found.kills >= 1
    assert found.accepted > found.kills
