"""Threads for work that numpy and hashlib do without the interpreter's lock."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def threads(of: str) -> ThreadPoolExecutor:
    """The process's pool for one purpose, whose name its threads bear."""
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1), f"livesam-{of}")


if hasattr(os, "register_at_fork"):  # a forked process has the pools and none of their threads
    os.register_at_fork(after_in_child=threads.cache_clear)
