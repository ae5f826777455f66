"""The Python client: the calls of a local session."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import livesam
import numpy as np
import pytest
from livesam.engine.session.session import Session
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
    assert (session.clicks, session.answer()) == (0, None)
    session.press(44, 54)
    session.click(44, 54)
    found.append(session.answer().mask)
    assert session.clicks == 1
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
        if name in ("clicks", "answer"):  # known here
            return getattr(self._session, name)
        return lambda *args, **more: self._loop.run_until_complete(getattr(self._session, name)(*args, **more))


def test_the_same_script_for_asyncio(server, photos) -> None:
    """In a thread of its own: the browser's tests may have a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(played_by_asyncio, server).result()


def played_by_asyncio(server) -> None:
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


def test_what_a_local_session_has_too_is_called_the_same() -> None:
    """Parameters in their order, with their defaults; ``accept`` has a label in place of what is kept here."""
    missing = {("set_image", "bands"), ("accept", "keep")}
    for name in {name for name in dir(RemoteSession) if not name.startswith("_")} & set(dir(Session)):
        local, remote = getattr(Session, name), getattr(RemoteSession, name)
        assert isinstance(local, property) == isinstance(remote, property), name
        if isinstance(local, property):
            continue
        for session in (RemoteSession, AsyncRemoteSession):
            said = inspect.signature(getattr(session, name)).parameters
            for one in inspect.signature(local).parameters.values():
                if (name, one.name) not in missing:
                    assert one.name in said, (session, name, one.name)
                    assert (said[one.name].kind, said[one.name].default) == (one.kind, one.default), (name, one.name)
    assert {name for name in ("press", "clicks", "answer") if not hasattr(RemoteSession, name)} == set()


def test_answers_are_made_something_of_before_the_next_question(server, monkeypatch) -> None:
    """Else another thread's answer is taken for the mask that was accepted."""
    with livesam.connect(server.url, domain="threads") as session:
        alone: list[bool] = []

        def watched(real):
            def read(*answer):
                alone.append(session._lock.locked())
                return real(*answer)

            return read

        for name in ("result", "results", "accepted"):
            monkeypatch.setattr(session._talk, name, watched(getattr(session._talk, name)))
        session.set_image("coins.png")
        shown = session.click(44, 54).mask
        session.candidates()
        session.paint(shown)
        assert np.array_equal(session.accept(key="of this object").accepted_mask, shown)
        assert alone == [True] * 4


def test_nobody_there(server) -> None:
    with pytest.raises(livesam.LivesamError, match="nobody answers"):
        livesam.connect("http://127.0.0.1:9")
    with pytest.raises(ValueError, match="address"):
        livesam.connect("ftp://example")


def test_the_client_loads_no_torch() -> None:
    code = "import sys, livesam; livesam.connect; print([m for m in ('torch', 'fastapi', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
