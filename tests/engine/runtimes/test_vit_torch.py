"""SAM's ViT as it is served on a GPU, and the other encoders' serving form, against the reference."""

from __future__ import annotations

import copy

import pytest
import torch
from livesam.engine.models.loading import assemble, randomise_constants, vit_encoder
from livesam.engine.models.nano import NanoEncoder
from livesam.engine.runtimes import vit_torch
from livesam.engine.runtimes.serving_module import serving_module
from livesam.engine.runtimes.vit_torch import FoldedAttention, FoldedBlock, FoldedViT, can_fold
from segment_anything.modeling import Sam
from torch import nn

CPU = torch.device("cpu")


def loud(sam: Sam) -> nn.Module:
    """The encoder with relative positions that matter: half of the attention."""
    encoder = copy.deepcopy(sam.image_encoder)
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name:
            parameter.data.mul_(20)
    return encoder.eval()


@pytest.fixture(scope="module")
def reference(small_sam: Sam) -> nn.Module:
    return loud(small_sam)


def close(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).norm() / want.norm())


def test_the_folded_vit_is_the_reference(reference: nn.Module) -> None:
    """Windows of 7 on a grid of 16 need padding; two images, so that windows of both mix."""
    assert can_fold(reference)
    state = {name: value.clone() for name, value in reference.state_dict().items()}
    folded = serving_module(reference, CPU, torch.float32)
    assert isinstance(folded, FoldedViT)
    image = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        got, want = folded(image), reference(image)
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
    for name, value in reference.state_dict().items():
        assert torch.equal(value, state[name])


def test_heads_whose_width_needs_padding() -> None:
    """24 wide and 2 x 5 distances are 34 of 48: what is read beyond the distances meets keys that are zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = assemble(vit_encoder(48, 2, 2, (1,), image_size=128, window=5), 128)
        randomise_constants(sam)
        image = torch.randn(1, 3, 128, 128)
    reference = loud(sam)
    folded = serving_module(reference, CPU, torch.float32)
    first = next(iter(folded.blocks))  # type: ignore[call-overload]
    assert isinstance(first, FoldedBlock)
    assert first.attention.pad == 14
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), reference(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernel", ["flash", "math"])
def test_every_kernel_gives_the_same(reference: nn.Module, kernel: str) -> None:
    folded = serving_module(reference, CPU, torch.float32)
    for part in folded.modules():
        if isinstance(part, FoldedAttention):
            part.kernel = kernel
    image = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), reference(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
def test_low_precision_is_as_near_as_the_reference_in_it(
    reference: nn.Module, dtype: torch.dtype, limit: float
) -> None:
    """At most the distance that the official module has when it is converted."""
    image = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        want = reference(image)
        official = copy.deepcopy(reference).to(dtype)(image.to(dtype)).float()
        got = close(serving_module(reference, CPU, dtype)(image), want)
    assert 0 < got < limit
    assert got < 1.2 * close(official, want)


def test_a_kernel_that_refuses_is_passed_over(reference: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    folded = serving_module(reference, CPU, torch.float32)
    assert isinstance(folded, FoldedViT)
    monkeypatch.setattr(vit_torch, "KERNELS", {name: vit_torch.KERNELS[name] for name in ("cudnn", "math")})
    assert folded.settle() == {"windows": "math", "global": "math"}
    monkeypatch.setattr(vit_torch, "KERNELS", {"cudnn": vit_torch.KERNELS["cudnn"]})
    with pytest.raises(RuntimeError, match="no attention kernel of PyTorch runs here: cudnn: "):
        folded.settle()


def test_blocks_of_a_kind_share_their_compiled_code(reference: nn.Module) -> None:
    """What makes compiling vit_h's 32 blocks take no longer than vit_b's 12."""
    from livesam.engine.runtimes.serving_module import compile_module
    from torch._dynamo.testing import CompileCounter

    folded = serving_module(reference, CPU, torch.float32)
    assert isinstance(folded, FoldedViT)
    counter = CompileCounter()
    torch._dynamo.reset()  # type: ignore[no-untyped-call]
    compile_module(folded, backend=counter)
    image = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), reference(image), atol=1e-4, rtol=1e-4)
    assert counter.frame_count == 2  # of 4 blocks


def test_nano_in_its_serving_form() -> None:
    """Batch normalisation is in the convolutions; nothing else changes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = assemble(NanoEncoder(128), 128)
        randomise_constants(sam)
        image = torch.randn(2, 3, 128, 128)
    encoder = sam.image_encoder
    assert not can_fold(encoder)
    serving = serving_module(encoder, CPU, torch.float32)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in serving.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in encoder.modules())
    with torch.inference_mode():
        torch.testing.assert_close(serving(image), encoder(image), atol=1e-4, rtol=1e-4)
