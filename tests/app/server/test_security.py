"""Who is refused, and what does not bring the server down."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from livesam.app.server import connection, studio
from livesam.app.server.decoder import SharedDecoder
from livesam.app.server.gallery import Gallery, image_id
from livesam.app.server.metrics import Metrics, shown
from livesam.app.server.security import Security
from livesam.app.server.settings import Limits, Settings
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def guarded(photos, tmp_path_factory, run):
    """A server that wants a token, with small limits."""
    limits = Limits(frame_mib=1, body_mib=1, import_mib=2, sessions=2)
    headers = {"authorization": f"Bearer {TOKEN}"}
    with run(photos, tmp_path_factory.mktemp("guarded"), headers, token=TOKEN, limits=limits) as found:
        yield found


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.nip.io", "a:b:c"]
)
def test_a_name_that_leads_here_is_not_ours(server, host) -> None:
    """DNS rebinding: the browser believes that the page of evil.example asks its own server."""
    assert server.http.get("/api/info", headers={"host": host}).status_code == 403
    with pytest.raises(InvalidStatus) as refused, server.wire(additional_headers={"Host": host}):
        pass
    assert refused.value.response.status_code in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "file://", "https://[", "x"])
def test_other_sites_are_refused(server, origin) -> None:
    assert server.http.get("/api/info", headers={"origin": origin}).status_code == 403
    with pytest.raises(InvalidStatus) as refused, server.wire(origin=origin):
        pass
    assert refused.value.response.status_code == 403
    own = server.url.rstrip("/")
    assert server.http.get("/api/info", headers={"origin": own}).status_code == 200
    with server.wire(origin=own) as wire:
        assert wire.ask("reset") == {"re": 1}


def test_browsers_say_who_asks(server) -> None:
    crossing = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert server.http.get("/api/info", headers=crossing).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert server.http.get("/healthz", headers=link).status_code == 200


def test_the_token(guarded) -> None:
    with httpx.Client(base_url=guarded.url) as nobody:
        for path in ("/api/info", "/", "/metrics", "/openapi.json", "/api/images", "/api/info?token=wrong"):
            assert nobody.get(path).status_code == 401, path
        assert nobody.get("/healthz").status_code == 200
        assert nobody.get("/api/info", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert nobody.get("/api/info", headers={"cookie": "livesam=wrong"}).status_code == 401
        taken = nobody.get(f"/?token={TOKEN}&image=1")
        assert (taken.status_code, taken.headers["location"]) == (303, "/?image=1")
        cookie = taken.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict"))
        assert nobody.get(f"/%2Fevil.example/x?token={TOKEN}").headers["location"] == "/evil.example/x"
        assert nobody.get("/api/info", headers={"cookie": f"livesam={TOKEN}"}).status_code == 200
    with pytest.raises(InvalidStatus) as refused, guarded.wire():
        pass
    assert refused.value.response.status_code in (401, 403)
    with guarded.wire(additional_headers={"Authorization": f"Bearer {TOKEN}"}) as wire:
        assert wire.ask("reset") == {"re": 1}


def test_beyond_this_machine_a_token_is_needed(photos, tmp_path, run) -> None:
    with pytest.raises(ValueError, match="token"), run(photos, tmp_path, host="0.0.0.0"):
        pass
    with pytest.raises(ValueError, match="cookie"), run(photos, tmp_path, token="a; b&c"):
        pass


def test_origins_of_a_proxy_are_whole(tmp_path) -> None:
    chosen = Settings(None, tmp_path, hosts=("Proxy.example", "other.example:8443"))
    security = Security(None, chosen, Metrics())
    assert security._is_same("https://proxy.example", "127.0.0.1:8300")
    assert security._is_same("https://proxy.example:444", "proxy.example:444")
    assert security._is_same("https://other.example:8443", "127.0.0.1:8300")
    assert security._is_ours("other.example:8443")
    for origin in ("https://proxy.example:444", "ftp://proxy.example", "https://a.proxy.example"):
        assert not security._is_same(origin, "127.0.0.1:8300")


def test_metrics_keep_private_names_to_themselves() -> None:
    metrics = Metrics()
    assert shown("coins") == "coins"
    metrics.learning["version"].labels(shown("coins@hunter2")).set(3)
    assert b"hunter2" not in metrics.text()
    assert b'domain="coins@' in metrics.text()
    metrics.forget("coins@hunter2")
    assert b"coins@" not in metrics.text()


def test_a_folder_that_may_not_be_read_leaves_the_others(photos, tmp_path, monkeypatch) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "real.png").write_bytes((photos / "coins.png").read_bytes())
    real = os.scandir

    def scandir(folder):
        if Path(folder).name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [one.name for one in Gallery(tmp_path, tmp_path / "out").pictures()] == ["real.png"]
    with pytest.raises(PermissionError):
        Gallery(tmp_path / "lost+found", tmp_path / "out").pictures()


def test_ids_are_no_paths(server, photos) -> None:
    (photos.parent / "secret.png").write_bytes((photos / "coins.png").read_bytes())
    tries = [
        "..%2fsecret.png",
        "../secret.png",
        "%2e%2e/secret.png",
        "/etc/passwd",
        "secret.png",
        "a" * 20,
        "\x00",
    ]
    tries += [image_id("../secret.png"), image_id("/etc/passwd"), image_id("notes.txt"), image_id(".hidden.png")]
    for one in tries:
        for place in (
            f"/api/images/{one}",
            f"/api/images/{one}/pixels",
            f"/api/objects/{one}/mask",
            f"/api/export/{one}",
        ):
            try:
                answer = server.http.get(place)
            except httpx.InvalidURL:
                continue
            assert answer.status_code in (404, 405, 422), place
            assert "root:" not in answer.text
    with server.wire() as wire:
        for one in tries:
            assert wire.ask("open", image=one)["error"]["code"] in ("not_found", "bad_request")


def test_links_and_hidden_files_are_not_shown(photos, tmp_path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link.png").symlink_to(photos / "coins.png")
    (folder / "linked").symlink_to(photos, target_is_directory=True)
    (folder / "real.png").write_bytes((photos / "coins.png").read_bytes())
    (folder / "out").mkdir()
    (folder / "out" / "mask.png").write_bytes(b"")
    (folder / b"\xff.png".decode("utf-8", "surrogateescape")).write_bytes(b"")
    assert [one.name for one in Gallery(folder, folder / "out").pictures()] == ["real.png"]


def test_bodies_are_limited_by_what_they_say_and_by_what_they_are(guarded) -> None:
    big = b'[{"name": "' + b"x" * (1 << 20) + b'"}]'
    assert guarded.http.put("/api/labels", content=big).status_code == 413

    def chunks():
        for _ in range(3 * 16):
            yield b" " * (1 << 16)

    assert guarded.http.put("/api/labels", content=chunks()).status_code == 413
    assert guarded.http.post("/api/import/coco", content=chunks()).status_code == 413
    assert guarded.http.put("/api/labels", json=[]).status_code == 200


def test_frames_are_limited(guarded) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with guarded.wire(additional_headers=headers) as wire:
        wire.socket.send(b"\0" * (2 << 20))
        with pytest.raises(ConnectionClosed):
            wire.receive()
    with guarded.wire(additional_headers=headers) as wire:
        assert wire.ask("reset") == {"re": 1}


def test_what_waits_is_limited_in_bytes(server, photos, monkeypatch) -> None:
    monkeypatch.setattr(connection, "WAITING_BYTES", 100)
    with server.wire("?domain=waiting") as wire:
        asked = [wire.send("reset", note="x" * 90) for _ in range(20)]
        assert [wire.receive()[0]["re"] for _ in asked] == asked  # each waits its turn, and none is lost


def test_sessions_are_limited(guarded) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with guarded.wire(additional_headers=headers) as one, guarded.wire(additional_headers=headers) as two:
        assert (one.ask("reset"), two.ask("reset")) == ({"re": 1}, {"re": 1})
        with guarded.wire(additional_headers=headers) as third:
            head, _ = third.receive()
            assert head["error"]["code"] == "at_capacity"


def test_a_decoder_that_nobody_uses_makes_room(photos, tmp_path, run) -> None:
    with run(photos, tmp_path / "out", limits=Limits(domains=2)) as server:
        with server.wire("?domain=one") as one, server.wire("?domain=two") as two:
            assert (one.ask("reset"), two.ask("reset")) == ({"re": 1}, {"re": 1})
            with server.wire("?domain=three") as three:
                assert three.receive()[0]["error"]["code"] == "at_capacity"
            looked = server.http.get("/api/learning?domain=three").json()
            assert (looked["version"], looked["domain"], looked["objects"]) == (0, "three", 0)  # looking makes none
            assert two.ask("domain", name="one")["domain"] == "one"  # two is nobody's now
            with server.studio.using("two"), server.wire("?domain=three") as three:  # but for an export, or a rollback
                assert three.receive()[0]["error"]["code"] == "at_capacity"
            with server.wire("?domain=three") as three:
                assert three.ask("reset") == {"re": 1}
        assert sorted(decoder.domain for decoder in server.studio.decoders()) == ["one", "three"]


def test_who_is_compiled_for_keeps_nobody_else_waiting(photos, tmp_path, run, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(SharedDecoder):
        def __init__(self, domain: str, *rest) -> None:
            if domain == "slow":
                begun.set()
                assert go_on.wait(60)
            super().__init__(domain, *rest)

    monkeypatch.setattr(studio, "SharedDecoder", Slow)
    with run(photos, tmp_path / "out") as server, server.wire("?domain=slow") as slow:
        slow.send("reset")
        assert begun.wait(60)
        with server.wire() as wire:
            assert wire.ask("reset") == {"re": 1}
        assert server.http.get("/api/learning?domain=slow").json()["version"] == 0
        assert [one.domain for one in server.studio.decoders()] == ["default"]
        go_on.set()
        assert slow.receive()[0] == {"re": 1}
        assert [one.domain for one in server.studio.decoders()] == ["default", "slow"]


def test_nobody_at_the_keyboard_and_nobody_at_the_other_end(photos, tmp_path, run, monkeypatch) -> None:
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=time.perf_counter)
    monkeypatch.setattr(connection, "time", clock)
    monkeypatch.setattr(connection, "LOOK_S", 0.01)
    with run(photos, tmp_path / "out", limits=Limits(idle_s=3600, alive_s=1.5)) as server, server.wire() as wire:
        host, port = server.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=60) as dead:
            head = f"GET /api/session HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            dead.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
            assert b"101" in dead.recv(64)
            while dead.recv(4096):  # pings, which it does not answer, until the server hangs up
                pass
        for second in (3599, 7198):  # never an hour since the last message
            now[0] = second
            assert wire.ask("reset")["re"]
        now[0] += 3601
        with pytest.raises(ConnectionClosed):
            wire.receive()
        assert {"event": "closing", "why": "idle"} in wire.events


def bomb(side: int) -> bytes:
    """A PNG of a few KB that says it has side * side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_files_that_are_no_images_or_would_fill_the_memory(photos, tmp_path, run) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "bomb.png").write_bytes(bomb(50_000))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.png").write_bytes(b"<html><script>alert(1)</script></html>")
    (folder / "svg.jpg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    (folder / "cut.jpg").write_bytes((photos / "below" / "cat.jpg").read_bytes()[:5000])
    (folder / "folder.png").mkdir()
    Image.fromarray(np.zeros((1, 4000, 3), np.uint8)).save(folder / "thin.png")
    with run(folder, tmp_path / "out") as server:
        ids = server.images()
        assert sorted(ids) == ["bomb.png", "cut.jpg", "empty.jpg", "page.png", "svg.jpg", "thin.png"]
        with server.wire() as wire:
            for name, image in ids.items():
                for what in ("", "/pixels", "/thumbnail"):
                    answer = server.http.get(f"/api/images/{image}{what}")
                    assert answer.status_code == (200 if name == "thin.png" else 422), (name, what)
                    assert b"alert" not in answer.content
                    assert answer.headers["x-content-type-options"] == "nosniff"
                assert wire.ask("open", image=image)["error"]["code"] in ("image", "bad_request")


def test_ten_thousand_files(tmp_path, photos, run) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    small = (photos / "coins.png").read_bytes()
    (folder / "00000.png").write_bytes(small)
    for i in range(1, 10_000):
        (folder / f"{i:05}.png").hardlink_to(folder / "00000.png")
    with run(folder, tmp_path / "out") as server:
        first = server.http.get("/api/images?limit=1000").json()
        last = server.http.get("/api/images?offset=9999").json()
        assert (first["total"], len(first["items"]), last["items"][0]["name"]) == (10_000, 1000, "09999.png")
        with server.wire() as wire:
            assert wire.ask("open", image=last["items"][0]["id"])["width"] == 384
            assert wire.mask("click", x=44, y=54).any()
        assert len(server.studio.pictures._kept) < 10  # nothing is read that nobody looks at


def test_headers_and_openapi(server) -> None:
    answer = server.http.get("/openapi.json")
    assert "/api/images/{image}" in answer.json()["paths"]
    for name in ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy"):
        assert name in answer.headers
    assert server.http.get("/nothing/here").status_code == 404
    assert server.http.request("TRACE", "/api/info").status_code == 405


def test_a_client_that_vanishes_leaves_nothing_behind(server) -> None:
    before = server.studio.metrics.sessions._value.get()
    for _ in range(5):
        with server.wire("?domain=vanish") as wire:
            wire.send("open", image=server.images()["coins.png"])
            wire.socket.socket.shutdown(socket.SHUT_RDWR)
    with server.wire("?domain=vanish") as wire:
        assert wire.ask("open", image=server.images()["coins.png"])["width"] == 384
        for _ in range(100):
            if server.studio.metrics.sessions._value.get() <= before + 1:
                break
            wire.ask("reset")
        assert server.studio.metrics.sessions._value.get() <= before + 1


def test_the_api_keeps_to_its_own_description(server, tmp_path: Path) -> None:
    """schemathesis makes up requests that its OpenAPI allows, and many that it does not; none is a mistake of ours."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi import checks

    described = [
        checks.response_schema_conformance, checks.status_code_conformance, checks.content_type_conformance,
    ]  # fmt: skip

    schema = schemathesis.openapi.from_dict(server.http.get("/openapi.json").json())
    schema.config.update(base_url=server.url.rstrip("/"))
    # What takes seconds a call, or changes what other tests look at.
    slow = ("/api/decoder/{format}", "/api/learning/rollback")
    checked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in slow:
            continue
        checked += 1

        @given(case=operation.as_strategy())
        @settings(
            max_examples=8, deadline=None, phases=[Phase.generate], derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def fuzz(case) -> None:
            response = case.call()
            assert response.status_code < 500 or response.status_code == 503, (case, response.text)
            case.validate_response(response, checks=described)

        fuzz()
    assert checked >= 15
