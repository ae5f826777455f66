"""The model that Triton's Python backend runs, with ``model.onnx`` beside it, on CPUs.

``livesam export decoder --format triton --backend python`` copies this file as it is; it needs onnxruntime and NumPy
alone.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np


class TritonPythonModel:
    """One version of the encoder or of the decoder: its inputs and outputs are those of its graph."""

    def initialize(self, args: dict[str, str]) -> None:
        """Called once, before the version serves."""
        import onnxruntime
        import triton_python_backend_utils  # Triton's own, which is in no package

        self.backend = triton_python_backend_utils
        folder = Path(args["model_repository"]) / args["model_version"]
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]
        self.batched = json.loads(args["model_config"])["max_batch_size"] > 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests that Triton has gathered: as one batch where the graph takes one, else each for itself."""
        given = [
            {name: np.from_dlpack(self.backend.get_input_tensor_by_name(request, name)) for name in self.inputs}
            for request in requests
        ]
        if not self.batched:
            return [self.answer(self.session.run(self.outputs, feeds)) for feeds in given]
        together = {name: np.concatenate([feeds[name] for feeds in given]) for name in self.inputs}
        ends = np.cumsum([len(feeds[self.inputs[0]]) for feeds in given])[:-1]
        parts = [np.split(values, ends) for values in self.session.run(self.outputs, together)]
        return [self.answer(list(values)) for values in zip(*parts, strict=True)]

    def answer(self, values: list[Any]) -> Any:
        """A response of Triton's."""
        # By DLPack, both ways: stubs that were built before NumPy 2 send NumPy 2's arrays as nothing, without an error.
        tensor = self.backend.Tensor.from_dlpack
        tensors = [tensor(name, value) for name, value in zip(self.outputs, values, strict=True)]
        return self.backend.InferenceResponse(tensors)
