"""Encoders and decoders on PyTorch, ONNX Runtime, OpenVINO and TensorRT."""
