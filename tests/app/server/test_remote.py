"""The Python client: the calls of a local session."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import livesam
import numpy as np
import pytest
from livesam.remote import RemoteSession
from livesam.remote_async import AsyncRemoteSession


def script(session, image):
    """One script for both."""
    session.set_image(image)
    found = [session.click(44, 54).mask, session.click(44, 80, positive=False).mask, session.preview(155, 50).mask]
    found += [session.undo().mask, session.redo().mask]
    found.append(session.accept().accepted_mask)
    found.append(session.box(20, 30, 70, 80).mask)
    assert session.undo() is None
    found.append(session.click(270, 120).mask)
    found += [one.mask for one in session.candidates()]
    found.append(session.choose(1).mask)
    session.reset()
    painted = np.zeros(found[0].shape, bool)
    painted[10:30, 20:60] = True
    found.append(session.paint(painted).mask)
    with pytest.raises(ValueError, match="outside"):
        session.click(-5, 0)
    session.reset()
    with pytest.raises(livesam.LivesamError):
        session.accept()
    return found


def test_one_script_on_both(server, photos) -> None:
    local = livesam.open_session(runtime="torch")
    with livesam.connect(server.url, domain="script") as remote:
        for one, other in zip(script(local, photos / "coins.png"), script(remote, photos / "coins.png"), strict=True):
            assert np.array_equal(one, other)
        assert remote.learning()["objects"] == 1
        remote.domain = "another"
        assert remote.domain == "another"
        assert (remote.learning()["domain"], remote.learning()["objects"]) == ("another", 0)
    local.close()


def test_images_by_name_path_or_id(server, photos) -> None:
    with livesam.connect(server.url, domain="names") as remote:
        for image in ("coins.png", photos / "coins.png", server.images()["coins.png"], "below/cat.jpg"):
            remote.set_image(image)
        with pytest.raises(livesam.LivesamError, match="no image"):
            remote.set_image("nothing.png")
        with pytest.raises(ValueError, match="ndarray"):
            remote.set_image(np.zeros((8, 8, 3), np.uint8))


class Awaited:
    """An async session as one that is not: each call is awaited."""

    def __init__(self, session, loop) -> None:
        self._session, self._loop = session, loop

    def __getattr__(self, name):
        return lambda *args, **more: self._loop.run_until_complete(getattr(self._session, name)(*args, **more))


def test_the_same_script_for_asyncio(server, photos) -> None:
    with asyncio.Runner() as runner, livesam.connect(server.url, domain="both") as remote:
        opened = runner.run(livesam.connect_async(server.url, domain="async"))
        session = Awaited(opened, runner.get_loop())
        for one, other in zip(script(session, "coins.png"), script(remote, "coins.png"), strict=True):
            assert np.array_equal(one, other)
        number, found = session.propose(most=1)[0]
        assert found.mask.any()
        taken = session.take(number, "coin")
        objects = server.http.get(f"/api/images/{server.images()['coins.png']}").json()["objects"]
        assert taken in {one["id"] for one in objects}
        session.set_domain("async2")
        assert (opened.domain, session.learning()["domain"]) == ("async2", "async2")
        session.close()


def test_asyncio_has_every_call() -> None:
    sync, asynchronous = (
        {name for name in dir(one) if not name.startswith("_")} for one in (RemoteSession, AsyncRemoteSession)
    )
    assert asynchronous - sync == {"open", "set_domain"}
    assert sync - asynchronous == set()


def test_nobody_there(server) -> None:
    with pytest.raises(livesam.LivesamError, match="nobody answers"):
        livesam.connect("http://127.0.0.1:9")
    with pytest.raises(ValueError, match="address"):
        livesam.connect("ftp://example")


def test_the_client_loads_no_torch() -> None:
    code = "import sys, livesam; livesam.connect; print([m for m in ('torch', 'fastapi', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
