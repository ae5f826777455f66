"""ONNX graphs and TensorRT plans from weights."""
