"""A clock that jumps: time limits are by the monotonic clock, and the wall clock only writes dates."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Dates for people: when an object was accepted, when a candidate was refused, when a file was written.
DATES = {
    "adapter/learning/steps.py": "time.time",
    "app/registry/registry.py": "datetime.now",
    "app/server/database.py": "datetime.now",
    "engine/models/adapted.py": "datetime.now",
}
WALL = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "datetime.now", "datetime.utcnow", "date.today"}

# CLOCK_REALTIME leaps by up to a year, there or back, at every look.
JUMPS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long leap(void) { return (random() % (2L * 31536000)) - 31536000L; }
int clock_gettime(clockid_t clock, struct timespec *found) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, found);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) found->tv_sec += leap();
    return result;
}
int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec; found->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""


def test_only_dates_come_from_the_wall_clock() -> None:
    found = {}
    for folder in ("engine", "export", "adapter", "api", "app"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL:
                    found[path.relative_to(ROOT).as_posix()] = ast.unparse(node)
    assert found == DATES


@pytest.mark.slow
def test_a_server_whose_clock_jumps_by_months_at_every_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import livesam
    from livesam.benchmarks.serving.served import Served

    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a C compiler makes the clock that jumps")
    (tmp_path / "jumps.c").write_text(JUMPS)
    library = tmp_path / "jumps.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "jumps.c", "-ldl"], check=True)
    jumping = {**os.environ, "LD_PRELOAD": str(library)}
    looked = [
        float(subprocess.run(["date", "+%s"], env=jumping, capture_output=True, check=True).stdout) - time.time()
        for _ in range(4)
    ]
    assert max(map(abs, looked)) > 86400
    monkeypatch.setenv("LD_PRELOAD", str(library))
    served = Served(None, tmp_path / "out", ["--runtime", "torch"])
    served.start()
    monkeypatch.delenv("LD_PRELOAD")
    try:
        with livesam.connect(served.url, domain="jumps") as session:
            session.set_image("coins.png")
            for x, y in ((44, 54), (155, 50), (335, 45), (46, 124)):
                session.click(x, y)
                session.accept(label="coin")
            deadline = time.monotonic() + 300  # learning is at nice 19, and others may want the processors
            while (state := session.learning())["waiting"] and time.monotonic() < deadline:
                time.sleep(0.5)
            assert (state["objects"], state["waiting"], state["last_error"]) == (4, 0, None)
            assert [one["object"] for one in state["history"]] == [1, 2, 3, 4]
            time.sleep(2)  # the idle limit of an hour and the pings of a minute are looked at every second
            session.click(212, 193)
            last = max(one["version"] for one in state["versions"])
        served.kill()
        served.start()  # with a clock that goes on
        with livesam.connect(served.url, domain="jumps") as session:
            session.set_image("coins.png")
            assert session.learning()["version"] >= last
    finally:
        served.stop()
