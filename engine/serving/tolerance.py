"""How far a decoder may be off PyTorch's float32 for the numbers that it computes with."""

from __future__ import annotations

# The largest error of a mask's logits, as a root mean square over the mask in shares of that mask's own, and of the
# IoUs, in shares of the largest. Measured on nano's base and learned decoders, operands rounded as the hardware does
# (`tests/engine/serving/test_probe.py` has both directions). What a step of learning changes in one layer's matrix
# moves the mask that it belongs to by 1.4e-2 to 1.1e-1, a wrong tensor by more than 1e-1.
TOLERANCE = {
    "fp32": 1e-4,  # engines differ by the order of their sums, below 1e-5
    "tf32": 1e-3,  # 10 bits of mantissa in products: 4e-4
    "fp16": 3e-3,  # 10 bits in everything: 9e-4
    "bf16": 2e-2,  # 7 bits in everything: 7e-3, and 1.3e-2 where only the operands are rounded
    "int8": 1e-1,  # weights of 8 bits, one scale a row: 3e-2
}


def served_precision(precision: str, runtime: str, device: str) -> str:
    """The precision by which a decoder is judged, a key of ``TOLERANCE``.

    ONNX Runtime and TensorRT multiply float32 in TF32 on a GPU unless told not to; ours in PyTorch does not
    (`engine/runtimes/recorder.py`).
    """
    if precision == "fp32" and runtime != "torch" and device.startswith("cuda"):
        return "tf32"
    return precision
