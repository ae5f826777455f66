from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs are exported once for all tests of this folder, and never into the user's cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LIVESAM_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("LIVESAM_DEBUG", raising=False)
    yield
    patch.undo()


@pytest.fixture
def memory() -> Iterator[str]:
    """A place that fsspec keeps in memory, as an object store is one, and empty again afterwards."""
    from fsspec.implementations.memory import MemoryFileSystem

    yield "memory://bucket/out"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
