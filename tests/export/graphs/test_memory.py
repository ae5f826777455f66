"""What does not fit is not begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from livesam.engine.models.spec import MODELS
from livesam.engine.values.errors import ExportError
from livesam.export.graphs import memory
from livesam.export.graphs.graph_cache import GraphCache


def machine(root: Path, available_mib: int, limit: str = "", used_mib: int = 0) -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available_mib << 10} kB\n")
    if limit:
        folder = root / "sys/fs/cgroup"
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(limit + "\n")
        (folder / "memory.current").write_text(f"{used_mib << 20}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {100 << 20}\n")
    return root


def test_the_machine_or_its_container_says_what_is_free(tmp_path: Path) -> None:
    assert memory.free_mib(machine(tmp_path / "a", 5000)) == 5000
    assert memory.free_mib(machine(tmp_path / "b", 5000, "max")) == 5000
    assert memory.free_mib(machine(tmp_path / "c", 5000, str(4096 << 20), 3000)) == 1196
    assert memory.free_mib(tmp_path / "none") is None


def test_every_model_has_a_figure() -> None:
    assert set(memory.NEEDED_MIB) == set(MODELS)


def test_an_export_that_does_not_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_mib", lambda: 500)
    told: list[str] = []
    graphs = GraphCache("nano", cache_dir=tmp_path, progress=told.append)
    with pytest.raises(ExportError, match=r"nano takes 1\.\d GiB of memory, 0\.5 GiB are free: close"):
        graphs.encoder()
    assert [stage for stage in told if "loading" in stage] == []
    monkeypatch.setattr(memory, "free_mib", lambda: None)
    memory.require_memory("nano")
    monkeypatch.setattr(memory, "free_mib", lambda: 10**6)
    memory.require_memory("vit_h")
