"""The function that CVAT's server calls for an image's embedding, run by nuclio with ``encoder.onnx`` beside it.

``livesam export decoder --format cvat`` copies this file as it is; it needs onnxruntime, NumPy and Pillow alone.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 1024  # CVAT's browser plugin knows no other


def init_context(context: Any) -> None:
    """Called once by each worker of nuclio."""
    import onnxruntime

    path = Path(__file__).with_name("encoder.onnx")
    context.user_data.encoder = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def handler(context: Any, event: Any) -> Any:
    """Answer ``{"image": base64}`` with ``{"blob": base64}``, the embedding as float32 ``(1, 256, 64, 64)``."""
    picture = Image.open(io.BytesIO(base64.b64decode(event.body["image"]))).convert("RGB")
    scale = SIDE / max(picture.size)
    width, height = (int(side * scale + 0.5) for side in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    (embedding,) = context.user_data.encoder.run(None, {"image": pixels})
    blob = base64.b64encode(np.ascontiguousarray(embedding, np.float32).tobytes()).decode()
    body = json.dumps({"blob": blob})
    return context.Response(body=body, headers={}, content_type="application/json", status_code=200)
