"""An exported repository in a real Triton server: loaded, asked, and given new versions while clients click."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from livesam.benchmarks.serving.served import free_port
from livesam.engine.models.loading import decoder_weights
from livesam.engine.view.geometry import prepare
from livesam.export.decoder_export import export_sam
from livesam.export.formats import probes
from livesam.export.formats.probes import PROBES, probe_feeds
from PIL import Image

TRITON = Path(os.environ.get("LIVESAM_TRITON", Path(sys.prefix) / "triton"))
SERVER = TRITON / "pytriton" / "tritonserver"
SECRET = {"triton-grpc-protocol-admin-key": "secret"}  # as the repository's README starts it

needs_server = pytest.mark.skipif(
    not (SERVER / "backends" / "python" / "triton_python_backend_stub").is_file(),
    reason=f"no Triton server in {TRITON}: make triton",
)


class Triton:
    """A server of one repository, under explicit model control, until the context ends."""

    def __init__(self, repository: Path, log: Path) -> None:
        self.port, self.log = free_port(), log
        paths = [str(TRITON / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
        # The stub's Python ignores PYTHONPATH; it takes the environment of the first python3 in PATH.
        found = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
        environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(paths), "PATH": found}
        options = ["--model-control-mode=explicit", "--grpc-restricted-protocol=model-repository:admin-key=secret"]
        options += ["--allow-http=false", "--allow-metrics=false", "--grpc-address=127.0.0.1"]
        options += [f"--grpc-port={self.port}", f"--backend-directory={SERVER / 'backends'}"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [str(SERVER / "bin" / "tritonserver"), f"--model-repository={repository}", *options],
                stdout=file, stderr=file, env=environment,
            )  # fmt: skip

    def client(self):
        import tritonclient.grpc as grpc

        return grpc.InferenceServerClient(f"127.0.0.1:{self.port}")

    def __enter__(self):
        import tritonclient.utils

        deadline = time.monotonic() + 60
        with self.client() as client:
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    if client.is_server_ready():
                        return self
                except tritonclient.utils.InferenceServerException:
                    time.sleep(0.05)
        self.__exit__()
        raise AssertionError(self.log.read_text()[-3000:])

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(40)
        finally:
            self.process.kill()


def ask(client, model, feeds):
    """The version that answered, and all that it answered."""
    import tritonclient.grpc as grpc
    from tritonclient.utils import np_to_triton_dtype

    inputs = []
    for name, value in feeds.items():
        inputs.append(grpc.InferInput(name, value.shape, np_to_triton_dtype(value.dtype)))
        inputs[-1].set_data_from_numpy(value)
    answer = client.infer(model, inputs)
    head = answer.get_response()
    return head.model_version, {output.name: answer.as_numpy(output.name) for output in head.outputs}


def run(path, feeds):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip((one.name for one in session.get_outputs()), session.run(None, feeds), strict=True))


def states_of(admin):
    """What the server makes of each version of the decoder."""
    models = admin.get_model_repository_index(headers=SECRET).models
    return {one.version: one.state for one in models if one.name == "cells-decoder"}


def clicking(server, feeds, wanted, seen, errors, stop):
    """One client until it is told to stop; counts the versions that answered, and whether it was their answer."""
    with server.client() as client:
        while not stop.is_set():
            try:
                version, answer = ask(client, "cells-decoder", feeds)
                same = all(np.array_equal(answer[name], value) for name, value in wanted[version].items())
                seen[version, same] += 1
            except Exception as error:
                errors.append(error)


@needs_server
@pytest.mark.slow  # 15 to 65 s: four Pythons start, and the graphs are made
def test_versions_are_published_while_clients_click(small_sam, small_spec, photo, tmp_path, monkeypatch):
    """The encoder takes uint8; three versions of the decoder, of which the server keeps the newest two."""
    pytest.importorskip("tritonclient.grpc")
    defaults = probes.require_parity.__kwdefaults__
    monkeypatch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": PROBES[:1]})
    repository = tmp_path / "repository"
    told = {"format": "triton", "out": repository, "name": "cells"}
    export_sam(small_sam, small_spec, **told, uint8_input=True, backend="python")
    feeds = probe_feeds(PROBES[0], 256)
    wanted, seen, errors, stop = {}, Counter(), [], threading.Event()

    def publish(number):
        if number > 1:
            scaled = {k: v * np.float32(1 + 0.01 * number) for k, v in decoder_weights(small_sam).items()}
            export_sam(small_sam, small_spec, **told, weights=scaled)
        wanted[str(number)] = run(repository / "cells-decoder" / str(number) / "model.onnx", feeds)
        admin.load_model("cells-decoder", headers=SECRET)

    def count(number):
        return sum(times for (version, _), times in seen.items() if version == str(number))

    def answered_by(number):
        deadline = time.monotonic() + 60
        while count(number) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)

    with Triton(repository, tmp_path / "log") as server, server.client() as admin:
        assert [one.name for one in admin.get_model_repository_index(headers=SECRET).models] == [
            "cells-decoder", "cells-encoder",
        ]  # fmt: skip
        admin.load_model("cells-encoder", headers=SECRET)
        resized = np.asarray(Image.fromarray(photo).resize((256, 256), Image.Resampling.BILINEAR))
        _, encoded = ask(admin, "cells-encoder", {"image": resized})
        with torch.no_grad():
            exact = small_sam.image_encoder(torch.from_numpy(prepare(photo, 256))).numpy()
        assert np.abs(encoded["embedding"] - exact).max() < 1e-4 * np.ptp(exact)

        publish(1)
        args = (server, feeds, wanted, seen, errors, stop)
        clients = [threading.Thread(target=clicking, args=args) for _ in range(2)]
        for one in clients:
            one.start()
        try:
            answered_by(1)
            for number in (2, 3):
                publish(number)
                answered_by(number)
        finally:
            stop.set()
            for one in clients:
                one.join()
        states = states_of(admin)
        deadline = time.monotonic() + 60
        while states["1"] == "UNLOADING" and time.monotonic() < deadline:
            time.sleep(0.1)
            states = states_of(admin)
    assert errors == []
    assert set(seen) == {("1", True), ("2", True), ("3", True)}
    assert not np.array_equal(wanted["1"]["masks"], wanted["3"]["masks"])
    assert states == {"1": "UNAVAILABLE", "2": "READY", "3": "READY"}
