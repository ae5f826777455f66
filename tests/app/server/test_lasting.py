"""What outlives a kill: everything that was accepted, the image, and the decoder, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import livesam
import numpy as np
import pytest
from livesam.app.main import run as livesam_command
from livesam.app.server.lock import only_here
from livesam.app.server.schema import seal
from livesam.app.server.store import Store
from livesam.engine.values.errors import LivesamError
from PIL import Image

COINS = ((44, 54), (155, 50), (335, 45), (46, 124), (270, 120))


def start(folder: Path, out: Path) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its address."""
    command = [sys.executable, "-c", "import sys; from livesam.app.main import main; main()", "serve", str(folder)]
    command += ["--out", str(out), "--port", "0", "--runtime", "torch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    line = process.stdout.readline() if process.stdout else ""
    assert line.startswith("open http://127.0.0.1:"), line
    return process, line.split()[1]


def replay(out: Path) -> int:
    """``livesam replay`` with the server's number of threads: with another one PyTorch's last bits differ."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return livesam_command(["replay", str(out), "--runtime", "torch"])
    finally:
        torch.set_num_threads(before)


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_a_killed_server_loses_nothing_and_replay_gives_the_same_masks(photos, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    process, url = start(photos, out)
    masks = []
    try:
        session = livesam.connect(url, domain="coins")
        session.set_image("coins.png")
        for x, y in COINS[:3]:
            session.click(x, y)
            masks.append(session.accept(label="coin"))
        session.click(*COINS[3])
        mask = session.click(COINS[3][0] + 30, COINS[3][1], positive=False).mask
        asked = []
        for outside in (2, -2, 2, -2, 2):  # from the sixth click on the border is moved, and no decoder asked
            column = int(np.flatnonzero(mask.any(0))[0])
            row = int(np.flatnonzero(mask[:, column])[0])
            moved = session.click(column - outside, row, positive=outside > 0)
            mask = moved.mask
            asked.append(moved.timings_ms.get("decode"))
        assert 0 in asked
        painted = mask.copy()
        painted[: COINS[3][1]] = False  # half of it erased
        session.paint(painted)
        session.click(COINS[3][0], COINS[3][1] + 3)
        masks.append(session.accept(label="coin"))
        session.box(250, 100, 290, 140)
        masks.append(session.accept(label="coin"))
        session.click(44, 54)  # on its way when the server dies
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        with pytest.raises(LivesamError):
            session.click(44, 54)
        session.close()
    finally:
        stop(process)

    store = Store(out)
    for one in masks:
        assert np.array_equal(store.mask(one.id), one.accepted_mask)
    served = store.versions("coins")
    clicks = sqlite3.connect(out / "annotations.sqlite").execute("SELECT said FROM clicks").fetchall()
    assert sum(json.loads(said)["op"] in ("click", "box") for (said,) in clicks) >= 6
    store.close()

    process, url = start(photos, out)
    try:
        with livesam.connect(url, domain="coins") as session:
            info = session._talk.get("/api/info")
            image = info["image"]
            assert session._talk.get("/api/images")["items"][info["index"]]["id"] == image
            assert session._talk.get(f"/api/images/{image}")["name"] == "coins.png"
            session.set_image(image)
            assert len(session._talk.get(f"/api/images/{image}")["objects"]) == 5
            version = session.learning()["version"]
            assert version == max((number for number, _, _ in served), default=0)
            session.click(212, 193)
            session.accept(label="coin")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)  # uvicorn closes everything, and then raises it again
    finally:
        stop(process)

    assert replay(out) == 0, capsys.readouterr().err
    assert "6 objects, 14 answers: every mask is the same" in capsys.readouterr().out
    assert livesam_command(["export", "annotations", str(out), "-f", "coco", "-o", str(tmp_path / "c.json")]) == 0
    assert len(json.loads((tmp_path / "c.json").read_text())["annotations"]) == 6

    database = sqlite3.connect(out / "annotations.sqlite")  # a mask that no recorded click gives
    with database:
        database.execute("UPDATE objects SET bits = (SELECT bits FROM objects WHERE id = 1), x0 = x0 WHERE id = 1")
        log = json.loads(database.execute("SELECT log FROM objects WHERE id = 2").fetchone()[0])
        log["steps"][0]["clicks"][0][0] += 3
        database.execute("UPDATE objects SET log = ? WHERE id = 2", (json.dumps(log),))
        log = {key: value for key, value in log.items() if key != "drawing"}  # the same, as it was before borders
        database.execute("UPDATE objects SET log = ? WHERE id = 3", (json.dumps(log),))
        for number in (1, 2, 3):
            seal(database, number)
    database.close()
    assert replay(out) == 1
    assert "1 of 5 objects differ: object 2 (coins.png): answer 1 differs" in capsys.readouterr().err


def test_two_servers_on_one_folder(photos, tmp_path, capsys) -> None:
    with only_here(tmp_path):
        assert livesam_command(["serve", str(photos), "--out", str(tmp_path), "--port", "0"]) == 1
    assert f"in use by another livesam serve (process {os.getpid()})" in capsys.readouterr().err
    with only_here(tmp_path):
        pass


def test_folders_that_cannot_be_used(photos, tmp_path, capsys, monkeypatch) -> None:
    assert livesam_command(["serve", str(tmp_path / "missing"), "--port", "0"]) == 2
    assert "missing" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert livesam_command(["serve", str(photos), "--out", str(tmp_path / "file"), "--port", "0"]) == 1
    assert "file" in capsys.readouterr().err
    monkeypatch.setattr(os, "open", _refused)  # as for a folder that may not be written to, which root may
    assert livesam_command(["serve", str(photos), "--out", str(tmp_path / "out"), "--port", "0"]) == 1
    assert "Permission denied" in capsys.readouterr().err


def _refused(path: object, *_: object) -> int:
    raise PermissionError(13, "Permission denied", str(path))


def test_a_damaged_or_later_database_is_said_to_be_one(tmp_path) -> None:
    (tmp_path / "annotations.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(LivesamError, match=r"cannot be used.*livesam salvage"):
        Store(tmp_path)
    later = tmp_path / "later"
    later.mkdir()
    database = sqlite3.connect(later / "annotations.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(LivesamError, match="update livesam"):
        Store(later)


def test_a_database_of_before_the_keys_is_made_into_todays(tmp_path) -> None:
    mask = np.ones((4, 6), bool)
    found = {
        "image": "a", "domain": "d", "label": "coin", "iou": 1.0, "version": 0, "clicks": 1, "source": "click",
    }  # fmt: skip
    store = Store(tmp_path)
    store.add_image("a", "a.png", "hash", mask.shape)
    first = store.accept(found, mask, {"steps": []})
    store.close()
    with sqlite3.connect(tmp_path / "annotations.sqlite") as database:
        database.execute("DROP TABLE keys")
        database.execute("PRAGMA user_version = 2")
    store = Store(tmp_path)
    assert store.object(first.id) == first
    second = store.accept(found, mask, {"steps": []}, key="k")
    assert store.accept(found, mask, {"steps": []}, key="k") == second
    assert [one.id for one in store.objects("a")] == [first.id, second.id]
    store.close()


def test_a_failed_write_is_no_accept(photos, tmp_path, run, monkeypatch) -> None:
    with run(photos, tmp_path / "out") as server, server.wire() as wire:
        wire.ask("open", image=server.images()["coins.png"])
        mask = wire.mask("click", x=44, y=54)

        def full(*_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(Store, "accept", full)
            assert wire.ask("accept", label="coin")["error"]["code"] == "disk"
        with monkeypatch.context() as patch:  # what is stored is answered as stored, whatever its log does
            patch.setattr(Store, "note_click", full)
            assert wire.ask("accept", label="coin")["object"]["area"] == mask.sum()  # the object was still there
            assert wire.mask("click", x=44, y=54).any()


def test_an_edit_ends_with_its_object_and_its_image(photos, tmp_path, run, monkeypatch) -> None:
    with run(photos, tmp_path / "out") as server, server.wire() as wire:
        ids = server.images()
        wire.ask("open", image=ids["coins.png"])
        wire.mask("click", x=44, y=54)
        first = wire.ask("accept", label="coin")["object"]["id"]
        wire.mask("edit", object=first)
        assert server.http.delete(f"/api/objects/{first}").status_code == 204
        assert wire.ask("accept", label="coin")["error"]["code"] == "not_found"
        second = wire.ask("accept", label="coin")["object"]["id"]  # as the message says

        wire.mask("edit", object=second)
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

            patch.setattr(Store, "note_image", full)
            assert wire.ask("open", image=ids["below/cat.jpg"])["error"]["code"] == "disk"
        assert wire.ask("open", image=ids["below/cat.jpg"])["width"] == 451
        wire.mask("click", x=210, y=60)
        third = wire.ask("accept", label="cat")["object"]["id"]
        assert len({second, third}) == 2
        assert len(server.http.get(f"/api/images/{ids['coins.png']}").json()["objects"]) == 1


def test_a_file_of_another_size_leaves_the_objects_as_they_are(photos, tmp_path, run) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes((photos / "coins.png").read_bytes())
    with run(folder, tmp_path / "out") as server, server.wire() as wire:
        image = server.images()["a.png"]
        wire.ask("open", image=image)
        wire.mask("click", x=270, y=120)
        number = wire.ask("accept", label="coin")["object"]["id"]
        Image.fromarray(np.zeros((64, 80, 3), np.uint8)).save(folder / "a.png")
        refused = wire.ask("open", image=image)["error"]
        assert refused["code"] == "state"
        assert "80 x 64 pixels now, and its 1 objects are of 384 x 303" in refused["message"]
        assert server.studio.store.mask(number).shape == (303, 384)
        for format in ("coco", "png", "cvat"):
            assert server.http.get(f"/api/export/{format}").status_code == 200
        with sqlite3.connect(tmp_path / "out" / "annotations.sqlite") as database:  # as earlier versions left it
            database.execute("UPDATE images SET width = 80, height = 64")
        assert server.http.get("/api/export/coco").json()["annotations"] == []
        server.http.delete(f"/api/objects/{number}")
        assert wire.ask("open", image=image)["width"] == 80
