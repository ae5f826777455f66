"""The GPU script's own code, on the CPU: which sections there are, what they tell, that nothing ends the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from livesam.benchmarks.gpu import pytorch as gpu_torch
from livesam.benchmarks.gpu import script as gpu
from livesam.benchmarks.gpu.device_clock import flops_of
from segment_anything.modeling import Sam


def test_without_a_gpu_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert gpu.main(["--out", str(tmp_path / "r.json")]) == 2
    assert "no NVIDIA GPU" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_section_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    assert gpu.main(["--out", str(out), "--device", "cpu", "--models", "nano", "--quick"]) == 0
    report = json.loads(out.read_text())
    sections = report["sections"]
    assert report["device"]["device"] == "cpu"
    assert [name for name, result in sections.items() if "error" in result] == []
    assert sections["ceilings"]["matmul_tflops"]["fp32"] > 0
    assert sections["nano/encoder/eager"]["fp32"]["p50_ms"] > 0
    assert sections["nano/encoder/onnxruntime/fp32"]["max_difference"] < 1e-3
    for name in ("encoder/tensorrt_rtx/bf16", "decoder/tensorrt_rtx/refit", "throughput/tensorrt_rtx"):
        assert "TensorRT needs an NVIDIA GPU" in sections[f"nano/{name}"]["skipped"]
    assert "skipped" in sections["nano/swap/tensorrt/refit"]
    assert sections["nano/decoder/onnxruntime"]["mask_iou"] > 0.99
    assert sections["nano/swap/torch"]["answers_changed"]
    assert sections["nano/swap/torch"]["base_restored_max_difference"] == 0
    assert [row["prompts"] for row in sections["nano/decoder/torch"]["packed"]] == [1, 2]
    assert "packed" not in sections["nano/decoder/onnxruntime"]
    rows = sections["nano/throughput/eager"]["fp32"]
    assert [row["batch"] for row in rows] == [1, 2]
    assert all(row["share_of_matmul"] > 0 and row["share_of_copy"] > 0 for row in rows)
    for runtime in ("torch", "onnxruntime"):
        assert [row["batch"] for row in sections[f"nano/throughput/{runtime}"]["rows"]] == [1, 2]
    assert sections["nano/learning"]["learner"]["counts"]["received"] > 0


def test_throughput_counts_images_and_flops(small_sam: Sam) -> None:
    flops = flops_of(small_sam.image_encoder, torch.zeros(1, 3, 256, 256))
    assert flops > 2 * sum(p.numel() for p in small_sam.image_encoder.blocks.parameters())  # every weight, every token
    limits = {"matmul_tflops": {"fp32": 0.5}, "copy_gb_s": 10.0}
    one, two = gpu_torch.encoder_throughput(small_sam, "cpu", (1, 2), limits, precision="fp32", seconds=0.01)
    for row, batch in ((one, 1), (two, 2)):
        assert row["batch"] == batch
        assert row["images_per_s"] == pytest.approx(batch * 1e3 / row["p50_ms"], rel=0.02, abs=1e-4)
        assert row["share_of_copy"] == pytest.approx(row["gb_s"] / 10, rel=0.02, abs=1e-3)
        assert row["tflops"] == pytest.approx(row["images_per_s"] * flops / 1e12, rel=0.02, abs=1e-4)
    assert next(small_sam.image_encoder.parameters()).dtype == torch.float32  # a copy was converted


def test_traffic_counts_what_is_read_and_written() -> None:
    from livesam.benchmarks.gpu.device_clock import traffic_of

    class Steps(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.reshape(4, 25).t() + 1  # 400 bytes read (the view is free), 400 written
            return y.mul_(2).sum()  # 400 read and 400 written in place; 400 read, 4 written

    assert traffic_of(Steps(), torch.zeros(10, 10)) == 800 + 800 + 404


def test_power_without_a_gpu_says_why() -> None:
    from livesam.benchmarks.gpu.power import PowerMeter

    with PowerMeter(0.01) as meter:
        pass
    result = meter.to_json()
    assert ("skipped" in result) != ("mean_w" in result)
