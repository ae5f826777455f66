"""``cvat``: the decoder for CVAT's browser plugin, and the encoder as a nuclio function for its server.

The plugin hard-wires the function's name, so this one takes the place of CVAT's own vit_h.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.export.files.manifest import Manifest, manifest_path
from livesam.export.formats import cvat_onnx
from livesam.export.formats.folders import MANIFEST, hashes, staged_folder
from livesam.export.graphs.encoder import export_encoder

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource

FUNCTION = "pth-facebookresearch-sam-vit-h"  # the plugin's modelID


def export(source: DecoderSource, out: Path) -> Manifest:
    """Write a folder with ``decoder.onnx`` and ``nuclio/`` (``function.yaml``, ``main.py``, ``encoder.onnx``).

    Raises:
        ExportError: the model's embedding is not the one that the plugin knows, or the folder could not be written.
        ParityError: encoder or decoder differ from PyTorch; nothing was written.
    """
    with staged_folder(out) as folder:
        decoder = cvat_onnx.export(source, folder / "decoder.onnx")
        function = folder / "nuclio"
        function.mkdir()
        encoder = export_encoder(source.sam, source.spec, function / "encoder.onnx", uint8_input=True)
        for path in (folder / "decoder.onnx", function / "encoder.onnx"):
            manifest_path(path).unlink()
        (function / "main.py").write_text(Path(__file__).with_name("nuclio_main.py").read_text())
        (function / "function.yaml").write_text(_function(f"livesam {source.spec.name}"))
        manifest = source.manifest(
            "cvat",
            files=hashes(folder),
            inputs=decoder.inputs,
            outputs=decoder.outputs,
            parity={
                "claim": f"{decoder.parity['claim']}; the encoder gave PyTorch's embedding of a random picture",
                "decoder": dict(decoder.parity),
                "encoder": dict(encoder.parity),
            },
            opset=decoder.opset,
        )
        manifest.write(folder / MANIFEST)
    return manifest


def _function(title: str) -> str:
    """nuclio's description of the function; annotations are strings there."""
    return f"""metadata:
  name: {FUNCTION}
  namespace: cvat
  annotations:
    name: {json.dumps(title)}
    type: interactor
    version: "2"
    spec: "[]"
    min_pos_points: "0"
    min_neg_points: "0"
    startswith_box_optional: "true"
    help_message: Click on the object, or draw a box around it; click beside it to take something away
spec:
  description: Image embeddings for clicks in the browser
  runtime: python:3.11
  handler: main:handler
  eventTimeout: 30s
  build:
    image: cvat.livesam
    baseImage: python:3.11-slim
    directives:
      preCopy:
        - kind: RUN
          value: pip install --no-cache-dir onnxruntime numpy pillow
  triggers:
    http:
      kind: http
      numWorkers: 1
      workerAvailabilityTimeoutMilliseconds: 10000
      attributes:
        maxRequestBodySize: 33554432
  platform:
    attributes:
      mountMode: volume
      restartPolicy:
        name: always
        maximumRetryCount: 3
"""
