"""``livesam serve --ray`` as a whole, and what the command refuses."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from livesam.app.cluster.names import Scale
from livesam.app.main import run
from livesam.engine.values.errors import LivesamError
from PIL import Image

pytest.importorskip("fastapi")


def test_what_is_for_ray_alone_is_refused_without_it(tmp_path, capsys):
    assert run(["serve", "--out", str(tmp_path), "--encoders", "2"]) == 2
    assert "are for --ray: add it" in capsys.readouterr().err
    with pytest.raises(ValueError, match="must be at least 1"):
        Scale(learners=0)


class Cluster:
    """Ray and Serve as far as a server's end goes; what was called, in its order."""

    def __init__(self, *applications):
        self.applications, self.called = dict.fromkeys(applications), []

    def status(self):
        return SimpleNamespace(applications=self.applications)

    def run(self, bound, name, route_prefix):
        self.applications[name] = None

    def delete(self, name):
        self.called.append(f"delete {name}")
        del self.applications[name]

    def shutdown(self):
        self.called.append("shutdown")

    def remote(self, *said, **how):
        """Of ``ray.remote(...)(Learners)``, then of an actor, then of its ``close``."""
        return (lambda made: self) if how else self

    close = property(lambda self: SimpleNamespace(remote=lambda timeout: self.called.append("close")))
    exceptions = SimpleNamespace(RayError=RuntimeError)

    def wait(self, asked, num_returns, timeout):
        self.called.append(f"wait for {num_returns}")

    def kill(self, actor):
        self.called.append("kill")

    def deployment(self, **how):
        return lambda made: SimpleNamespace(bind=lambda *said: None)

    def start(self, **how): ...


@pytest.mark.parametrize(
    ("address", "others", "end"),
    [
        ("local", [], ["shutdown"]),
        ("auto", [], ["delete livesam", "shutdown"]),
        ("auto", ["somebody's"], ["delete livesam"]),
    ],
)
def test_the_end_of_a_server_is_nobody_elses(tmp_path, monkeypatch, address, others, end):
    """And what was accepted last is learned before its learners end."""
    pytest.importorskip("ray.serve")
    from livesam.app.cluster import encoders, serving, sessions
    from livesam.app.server.settings import Settings
    from livesam.export.opening import Opening

    cluster = Cluster(*others)
    monkeypatch.setattr("ray.serve", cluster)
    monkeypatch.setattr(encoders, "encoders_class", lambda batch: None)
    monkeypatch.setattr(sessions, "sessions_class", lambda decoders: None)
    settings = Settings(tmp_path, tmp_path, Opening("nano", runtime="torch"))
    with serving._running(cluster, settings, Scale(address)):
        assert set(cluster.applications) == {*others, "livesam"}
        if address != "local":
            with (
                pytest.raises(LivesamError, match="runs a Serve application 'livesam' already: stop that"),
                serving._running(cluster, settings, Scale(address)),
            ):
                raise AssertionError
    assert cluster.called == [*end, "close", "wait for 1", "kill"]


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
