"""The GPU script's own code, on the CPU: which sections there are, what they tell, that nothing ends the run."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import pytest
import torch
from livesam.benchmarks.gpu import ours
from livesam.benchmarks.gpu import script as gpu
from livesam.benchmarks.gpu.device_clock import flops_of, time_calls
from livesam.benchmarks.gpu.model_bench import QUICK, Effort, ModelBench
from livesam.benchmarks.gpu.plan import plan
from livesam.benchmarks.reports.gpu_table import gpu_table
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
    options = ["--device", "cpu", "--quick", "--limit", "800", "--all-runtimes"]
    assert gpu.main(["--out", str(out), *options]) == 0
    report = json.loads(out.read_text())
    sections = report["sections"]
    assert report["device"]["device"] == "cpu"
    assert [name for name, result in sections.items() if "error" in result] == []
    assert sections["nano/parity"]["mask_iou"]["min"] == 1  # the CPU's fp32 with itself
    assert sections["nano/encode"]["1_mpx"]["p50_ms"] > 0
    assert sections["nano/click"]["stages_ms"]["decode"] > 0
    assert sections["nano/looked_click"]["later"]["calls"] == 3
    assert [row["prompts"] for row in sections["nano/prompts"]["rows"]] == [1, 2]
    assert sections["nano/swap"]["published"]
    assert sections["nano/swap"]["answers_changed"]
    assert sections["nano/swap"]["base_restored_max_difference"] == 0
    assert sections["nano/learning"]["learner"]["counts"]["received"] > 0
    assert [row["batch"] for row in sections["nano/throughput"]["rows"]] == [1, 2]
    assert sections["nano/peer/eager"]["set_image_1_mpx"]["p50_ms"] > 0
    assert sections["nano/peer/compiled"]["set_image_1_mpx"]["first_ms"] > 0
    assert "no attention" in sections["nano/peer/sdpa"]["skipped"]
    assert "for CUDA only" in sections["nano/encode_compiled"]["skipped"]
    assert sections["ceilings"]["matmul_tflops"]["fp32"] > 0
    assert sections["nano/decoder/onnxruntime"]["mask_iou"] > 0.99
    for name in ("encoder/tensorrt_rtx/bf16", "decoder/tensorrt_rtx/refit"):
        assert "TensorRT needs an NVIDIA GPU" in sections[f"nano/{name}"]["skipped"]
    assert "nano | click |" in gpu_table(report)


def test_the_most_valuable_questions_come_first() -> None:
    """For both models before anything that takes long, and within the two minutes of a short loan."""
    nano, vit_b, vit_h = (ModelBench(name, "cuda", Path(), Effort()) for name in ("nano", "vit_b", "vit_h"))
    sections = plan([nano, vit_b], [vit_h], "cuda", quick=False, others=False)
    names = [section.name for section in sections]
    assert names[:6] == ["nano/parity", "vit_b/parity", "nano/encode", "vit_b/encode", "nano/click", "vit_b/click"]
    first = sections[: names.index("vit_h/encode_only")]
    assert {"nano/learning", "vit_b/throughput", "vit_b/peer/eager"} <= {section.name for section in first}
    assert sum(section.budget_s for section in first) <= 120
    assert names.index("vit_b/peer/compiled") > names.index("vit_h/encode_only")


def test_a_click_is_timed_without_what_goes_before() -> None:
    def slow() -> None:
        time.sleep(0.01)

    timing = time_calls(lambda: None, "cpu", seconds=0.03, before=slow)
    assert timing.calls >= 3
    assert timing.min_ms <= timing.p50_ms <= timing.p95_ms <= timing.p99_ms
    assert timing.min_ms < 5  # of the 10 ms before each call nothing is counted


def test_an_encoder_alone_needs_no_checkpoint(small_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "random_sam", lambda model, device: small_sam)
    found = ours.encode_only(ModelBench("vit_h", "cpu", tmp_path, QUICK, quick=True))
    assert found["runtime"] == "torch:cpu:fp32"
    assert found["p50_ms"] > 0
    assert found["throughput"]["batch"] == 2
    assert found["eager_network"]["p50_ms"] > 0
    assert not list(tmp_path.iterdir())


def test_sdpa_computes_what_the_official_attention_does(small_sam: Sam) -> None:
    from livesam.benchmarks.gpu.peers import with_sdpa

    image = torch.randn(1, 3, small_sam.image_encoder.img_size, small_sam.image_encoder.img_size)
    with torch.inference_mode():
        right = small_sam.image_encoder(image)
        got = with_sdpa(copy.deepcopy(small_sam.image_encoder))(image)
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-4)


def test_flops_count_every_weight_and_token(small_sam: Sam) -> None:
    flops = flops_of(small_sam.image_encoder, torch.zeros(1, 3, 256, 256))
    assert flops > 2 * sum(p.numel() for p in small_sam.image_encoder.blocks.parameters())


def test_power_without_a_gpu_says_why() -> None:
    from livesam.benchmarks.gpu.power import PowerMeter

    with PowerMeter(0.01) as meter:
        pass
    result = meter.to_json()
    assert ("skipped" in result) != ("mean_w" in result)
