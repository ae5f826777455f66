"""The Python client: the calls of a local session."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import livesam
import numpy as np
import pytest


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


def test_async(server) -> None:
    async def use() -> list[np.ndarray]:
        async with await livesam.connect_async(server.url, domain="async") as session:
            await session.set_image("coins.png")
            masks = [
                (await session.click(44, 54)).mask,
                (await session.click(60, 54)).mask,
                (await session.undo()).mask,
            ]
            masks.append((await session.accept()).accepted_mask)
            return masks

    first, _, again, accepted = asyncio.run(use())
    assert np.array_equal(first, again)
    assert np.array_equal(first, accepted)


def test_nobody_there(server) -> None:
    with pytest.raises(livesam.LivesamError, match="nobody answers"):
        livesam.connect("http://127.0.0.1:9")
    with pytest.raises(ValueError, match="address"):
        livesam.connect("ftp://example")


def test_the_client_loads_no_torch() -> None:
    code = "import sys, livesam; livesam.connect; print([m for m in ('torch', 'fastapi', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
