"""Who is second waits for the first, however the first ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from livesam.engine.files.lock import exclusive

HOLD = """
import sys, time
from pathlib import Path
from livesam.engine.files.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_threads_take_turns(tmp_path: Path) -> None:
    order, waited, asked = [], [], threading.Event()

    def second() -> None:
        with exclusive(tmp_path / "lock", lambda: (waited.append(True), asked.set())):
            order.append("second")

    with exclusive(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert asked.wait(30)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert waited == [True]


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "below" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    waited: list[bool] = []

    def kill() -> None:
        waited.append(True)
        holder.kill()

    with exclusive(path, kill), holder:
        assert waited == [True]
    with exclusive(path, lambda: waited.append(False)):
        assert waited == [True]


def test_without_a_folder_it_runs_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = []
    with exclusive(tmp_path / "file" / "lock"):
        done.append(True)
    assert done == [True]
