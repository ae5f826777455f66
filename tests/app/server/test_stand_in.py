"""PyTorch answers at once, and all decoders of a server go over to the engine; the child's work was done before."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from livesam import opening as front_door
from livesam.engine.models.loading import build
from livesam.export import opening
from livesam.export.opening import Opening
from livesam.export.preparing import background


def test_all_decoders_go_over_to_the_engine(photos, tmp_path, run, monkeypatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    go_on = threading.Event()

    class Child:
        def __init__(self, what) -> None:
            assert what["model"] == "nano"

        def follow(self, progress) -> None:
            assert go_on.wait(60)

        def kill(self) -> None:
            go_on.set()

    monkeypatch.setattr(background, "Child", Child)
    monkeypatch.setattr(opening, "is_prepared", lambda *_: False)
    monkeypatch.setattr(front_door, "missing_for", lambda *_: "beside")
    with (
        run(photos, tmp_path / "out", opening=Opening("nano")) as server,
        server.wire() as one,
        server.wire("?domain=other") as other,
    ):
        assert server.http.get("/api/info").json()["runtime"] == "torch:cpu:fp32"
        image, before = server.images()["coins.png"], []
        for wire in (one, other):
            wire.ask("open", image=image)
            before.append(wire.mask("click", x=44, y=54))
        assert "PyTorch answers until the engine is built" in server.http.get("/api/learning").json()["preparing"]
        go_on.set()
        deadline = time.monotonic() + 60
        while server.studio.engine.preparing.state == "building" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.studio.engine.preparing.state == "ready", server.studio.engine.preparing
        assert server.http.get("/api/info").json()["runtime"] == "openvino:cpu:fp32"
        assert server.http.get("/api/learning").json()["preparing"] is None
        slots = [decoder.slot for decoder in server.studio.decoders()] + [server.studio.original]
        assert [slot.runtime for slot in slots] == ["onnxruntime:cpu:fp32"] * 3
        for wire, mask in zip((one, other), before, strict=True):
            wire.ask("reset")
            again = wire.mask("click", x=44, y=54)
            assert (again & mask).sum() / (again | mask).sum() > 0.99


@pytest.mark.slow  # the child exports and compares two graphs of a vit: a minute on two idle cores
@pytest.mark.timeout(1800)
def test_a_real_vit_on_an_empty_cache(photos, tmp_path, run) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    torch.save(build("vit_t").state_dict(), tmp_path / "mobile_sam.pt")
    opening = Opening("vit_t", tmp_path / "mobile_sam.pt", cache_dir=tmp_path / "cache")
    with run(photos, tmp_path / "out", opening=opening) as server, server.wire() as wire:
        wire.ask("open", image=server.images()["coins.png"])
        before = wire.mask("click", x=44, y=54)
        assert server.http.get("/api/info").json()["runtime"] == "torch:cpu:fp32"
        preparing = server.studio.engine.preparing
        assert preparing.wait(1500), preparing
        assert server.http.get("/api/info").json()["runtime"] == "openvino:cpu:fp32"
        wire.ask("reset")
        again = wire.mask("click", x=44, y=54)
        assert (again & before).sum() / (again | before).sum() > 0.99
