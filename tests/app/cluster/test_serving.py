"""``livesam serve --ray`` as a whole, and what the command refuses."""

from __future__ import annotations

import json
import time

import pytest
from livesam.app.cluster.names import Scale
from livesam.app.main import run
from PIL import Image

pytest.importorskip("fastapi")


def test_what_is_for_ray_alone_is_refused_without_it(tmp_path, capsys):
    assert run(["serve", "--out", str(tmp_path), "--encoders", "2"]) == 2
    assert "are for --ray: add it" in capsys.readouterr().err
    with pytest.raises(ValueError, match="must be at least 1"):
        Scale(learners=0)


@pytest.mark.slow  # six processes start: a minute, and four where others want the processors, too
@pytest.mark.timeout(900)
def test_an_object_is_accepted_learned_from_and_answered_by_the_version_that_was_published(tmp_path):
    """The same client as ever; and a user who has as many sessions as one may have is told so."""
    pytest.importorskip("ray.serve")
    data = pytest.importorskip("skimage.data")
    import livesam
    from livesam.app.registry.registry import Registry
    from livesam.benchmarks.serving.served import Served

    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    Image.fromarray(data.coins()).save(photos / "coins.png")
    options = ["--ray", "--runtime", "torch", "--user-sessions", "1", "--learners", "1"]
    with Served(photos, out, options) as server:
        with livesam.connect(server.url, private="anna") as session:
            with (
                pytest.raises(livesam.LivesamError, match="you have 1 sessions, as many as one user may"),
                livesam.connect(server.url, private="anna") as other,
            ):
                other.set_image("coins.png")
            session.set_image("coins.png")
            first = session.click(100, 60)
            assert (first.decoder_version, first.mask.any()) == (0, True)
            session.accept(label="coin")
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                state = server.json("/api/learning?private=anna")
                if state["version"]:
                    break
                session.reset()
                session.click(150, 60)
                session.accept(label="coin")
                time.sleep(1.0)
            assert state["version"] > 0, state
            second = session.click(200, 60)
            assert second.decoder_version >= state["version"]
            session.accept(label="coin")
        page = server.read("/").decode()
        assert "<html" in page
    registry = Registry(str(out / "registry"))
    assert registry.labels("default@anna")["stable"] >= second.decoder_version
    assert run(["replay", str(out), "--runtime", "torch"]) == 0
    log = out.with_name("out.log").read_text()
    assert "Traceback" not in log, json.dumps(log[-2000:])
