"""`livesam serve` as a process of its own, which may be killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from livesam.engine.values.errors import LivesamError

READY_S = 300.0  # a cluster of its own begins with six processes, and others may want the processors


class Served:
    """A server on a free port of this machine, until the context ends.

    Args:
        folder: of images; None for the sample photos.
        out: where it keeps annotations and decoders; its log lies beside it.
        options: more of the command's options.
    """

    def __init__(self, folder: Path | None, out: Path, options: Sequence[str] = ()) -> None:
        self._folder, self._out, self._options = folder, out, options
        self._log = out.with_name(out.name + ".log")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def process(self) -> int:
        """The number of its process.

        Raises:
            LivesamError: it does not run.
        """
        if self._process is None:
            raise LivesamError("the server does not run")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, or start it again on the same port; returns when it answers.

        Raises:
            LivesamError: it ended, or was not ready in five minutes; its log is in the message.
        """
        folder = [] if self._folder is None else [str(self._folder)]
        options = ["--out", str(self._out), "--port", str(self._port), *self._options]
        command = [sys.executable, "-m", "livesam.app.main", "serve", *folder, *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LivesamError(f"livesam serve did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def kill(self) -> None:
        """As a power cut would: no handler runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As Ctrl+C would."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def read(self, path: str) -> bytes:
        """What GET answers."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        """What GET answers, read as JSON."""
        return json.loads(self.read(path))


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
