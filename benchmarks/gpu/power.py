"""Power of an NVIDIA GPU while something runs, through nvidia-ml-py."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import numpy as np


class PowerMeter:
    """Samples the first GPU's power draw in a thread, as a context manager; where it cannot, it says why."""

    def __init__(self, interval_s: float = 0.1) -> None:
        self._interval_s = interval_s
        self._watts: list[float] = []
        self._reason: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PowerMeter:
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception as error:  # the library's own error type is only there with the library
            self._reason = f"no power readings: {error}"
            return self

        def sample() -> None:
            while not self._stop.wait(self._interval_s):
                self._watts.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3)

        self._thread = threading.Thread(target=sample, name="livesam-power", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def to_json(self) -> dict[str, Any]:
        """Mean and maximum in watts, or why there are none."""
        if not self._watts:
            return {"skipped": self._reason or "nothing was sampled"}
        return {
            "mean_w": round(float(np.mean(self._watts)), 1),
            "max_w": round(max(self._watts), 1),
            "samples": len(self._watts),
        }
