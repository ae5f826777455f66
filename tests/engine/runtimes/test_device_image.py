"""What goes up to a GPU, how often, and what is made of it there; the device is the CPU, or one without data."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from livesam.engine.files.image import read_image
from livesam.engine.runtimes import device_image, serving_module, torch_encoder
from livesam.engine.runtimes.device_image import DeviceImages, taps
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.view.geometry import prepare
from segment_anything.modeling import Sam
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[3]
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    data = pytest.importorskip("skimage.data")
    turned = data.coffee()[::-1, ::-1]
    turned.flags.writeable = False
    return [
        read_image(ROOT / "docs" / "demo.jpg"),
        data.chelsea(),
        data.astronaut()[:, 100:300],
        turned,
        data.astronaut(),
    ]


def made(image: Pixels, side: int, images: DeviceImages | None = None) -> npt.NDArray[np.float32]:
    out = torch.full((3, side, side), 7.0)
    (images or DeviceImages(side, torch.device("cpu"))).load(image, out)
    return out.numpy()


@pytest.mark.parametrize("side", [512, 1024])
def test_the_device_prepares_as_the_host_to_the_bit(
    photos: list[Pixels], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos that shrink, grow, keep their size, or cannot be written to; several pieces each."""
    monkeypatch.setattr(device_image, "PIECE", 300_000)
    images = DeviceImages(side, torch.device("cpu"))
    for photo in photos:
        np.testing.assert_array_equal(made(photo, side, images), prepare(photo, side)[0])
    assert images.sent == sum(photo.nbytes for photo in photos)


def test_noise_of_many_sizes_is_prepared_as_the_host(rng: np.random.Generator) -> None:
    """Also tall ones, which newer versions of PIL scale along y first."""
    images = DeviceImages(128, torch.device("cpu"))
    for height, width in (*rng.integers(20, 400, (12, 2)), (300, 100), (100, 300), (129, 40), (400, 401)):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        np.testing.assert_array_equal(made(noise, 128, images), prepare(noise, 128)[0], f"{height} x {width}")


@pytest.mark.parametrize(("old", "new"), [(600, 512), (512, 600), (4000, 512), (7, 3), (1, 5)])
def test_weights_add_up(old: int, new: int) -> None:
    picked, weights = taps(old, new)
    assert picked.shape == weights.shape
    assert picked.min() >= 0
    assert picked.max() < old
    assert np.abs(weights.sum(1) - 2**22).max() <= weights.shape[1] / 2


def test_what_is_scaled_down_very_much_is_scaled_on_the_host(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (40, 33 * 64, 3), dtype=np.uint8)
    images = DeviceImages(64, torch.device("cpu"))
    np.testing.assert_array_equal(made(image, 64, images), prepare(image, 64)[0])
    assert images.sent == 64 * 1 * 3


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an RGB array"):
        made(np.zeros((4, 4), np.uint8), 64)
    with pytest.raises(ValueError, match="too thin"):
        made(np.zeros((1, 400, 3), np.uint8), 64)


class Crossings(TorchDispatchMode):
    """Counts the bytes of each copy between the host and another device."""

    def __init__(self) -> None:
        super().__init__()
        self.up: list[int] = []
        self.down: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.copy_.default:
            source, target = args[1], args[0]
        elif func is torch.ops.aten._to_copy.default:
            source, target = args[0], found
        else:
            return found
        if source.device != target.device:
            (self.up if source.device.type == "cpu" else self.down).append(source.nbytes)
        return found


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch, tiny_sam: Sam) -> TorchEncoder:
    """The encoder's path for GPUs on torch's meta device, which computes nothing but knows what is where."""

    class Uncaptured:
        def __init__(self, forward: Any, most: int, record: Any) -> None:
            self._forward = forward

        def __call__(self, *inputs: torch.Tensor) -> Any:
            return self._forward(*inputs)

    monkeypatch.setattr(torch_encoder, "torch_place", lambda *_: (torch.device("meta"), torch.bfloat16))
    monkeypatch.setattr(torch_encoder, "CudaGraphs", Uncaptured)
    monkeypatch.setattr(serving_module.FoldedViT, "settle", lambda self: {})
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", lambda **_: object())
    monkeypatch.setattr(torch_encoder, "CudaRecorder", lambda *_, **__: None)
    return TorchEncoder(tiny_sam, "cuda", precision="bf16")


def test_an_image_goes_up_once_and_its_embedding_stays(far: TorchEncoder, rng: np.random.Generator) -> None:
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((300, 500), (128, 128), (90, 60))]
    with Crossings() as crossings:
        far.encode_batch(images)  # the weights of new sizes go up with them, and stay
        crossings.up.clear()
        found = far.encode(images[0])
        assert crossings.up == [300 * 500 * 3]
        batch = far.encode_batch(images)
    assert crossings.up[1:] == [image.nbytes for image in images]
    assert crossings.down == []
    assert found.features.shape == (1, 256, 8, 8)
    assert isinstance(found.features, torch.Tensor)
    assert found.features.device.type == "meta"
    assert [one.features.shape for one in batch] == [(1, 256, 8, 8)] * 3
    assert (found.original_hw, found.resized_hw) == ((300, 500), (77, 128))


def test_crossings_are_counted() -> None:
    with Crossings() as crossings:
        there = torch.zeros(4).to("meta")
        torch.empty(4, device="meta").copy_(torch.zeros(4))
        assert there.dtype == torch.float32
    assert crossings.up == [16, 16]
