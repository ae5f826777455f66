"""What Triton's Python backend runs, with a stand-in for the module that the backend brings."""

import json
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from livesam.engine.values.errors import ExportError
from livesam.export.decoder_export import export_sam
from livesam.export.foreign.inspect_child import look
from livesam.export.formats import probes
from livesam.export.formats.probes import PROBES


class Tensor(np.ndarray):
    """NumPy's array, under a name."""

    @classmethod
    def from_dlpack(cls, name, value):
        found = np.from_dlpack(value).view(cls)
        found.name = name
        return found


@pytest.fixture
def repository(small_sam, small_spec, tmp_path, monkeypatch):
    defaults = probes.require_parity.__kwdefaults__
    monkeypatch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": PROBES[:1]})
    out = tmp_path / "repository"
    export_sam(small_sam, small_spec, format="triton", out=out, name="cells", backend="python")
    return out


def test_requests_are_gathered_into_one_batch_and_told_apart_again(repository, rng, monkeypatch):
    fake = SimpleNamespace(
        Tensor=Tensor,
        InferenceResponse=lambda tensors: {one.name: np.asarray(one) for one in tensors},
        get_input_tensor_by_name=lambda request, name: request[name],
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", fake)
    model = repository / "cells-encoder"
    runner = runpy.run_path(str(model / "1" / "model.py"))["TritonPythonModel"]()
    told = {"model_repository": str(model), "model_version": "1", "model_config": json.dumps({"max_batch_size": 8})}
    runner.initialize(told)
    pictures = [rng.standard_normal((count, 3, 256, 256), np.float32) for count in (1, 2)]
    together = runner.execute([{"image": one} for one in pictures])
    assert [len(one["embedding"]) for one in together] == [1, 2]
    for picture, answer in zip(pictures, together, strict=True):
        (alone,) = runner.execute([{"image": picture}])
        np.testing.assert_allclose(answer["embedding"], alone["embedding"], atol=1e-4)


def test_a_version_is_complete_and_the_repository_keeps_its_backend(repository, small_sam, small_spec):
    config = (repository / "cells-decoder" / "config.pbtxt").read_text()
    assert 'backend: "python"' in config
    assert 'default_model_filename: "model.py"' in config
    export_sam(small_sam, small_spec, format="triton", out=repository, name="cells")
    found = sorted(path.name for path in (repository / "cells-decoder" / "2").iterdir())
    assert found == ["model.onnx", "model.onnx.json", "model.py"]
    assert look(repository).summary.endswith("2 versions")
    with pytest.raises(ExportError, match="backend 'python', this decoder has 'onnxruntime'"):
        export_sam(small_sam, small_spec, format="triton", out=repository, name="cells", backend="onnxruntime")
    with pytest.raises(ValueError, match="unknown backend 'tf': choose onnxruntime or python"):
        export_sam(small_sam, small_spec, format="triton", out=repository, name="cells", backend="tf")
