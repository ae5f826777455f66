import hashlib
import itertools
from functools import cache

import pytest
import torch
from livesam.engine.models import loading as models
from livesam.engine.models.tinyvit import TinyViT
from torch.nn import functional as F

DEPTHS, HEADS, WINDOWS, STRIDES = (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7), (2, 2, 1)


@cache
def distances(window: int) -> list[int]:
    """For each pair of places the number of its (|dy|, |dx|), counted in the order of their first appearance."""
    numbers: dict[tuple[int, int], int] = {}
    places = list(itertools.product(range(window), range(window)))
    return [
        numbers.setdefault((abs(y1 - y2), abs(x1 - x2)), len(numbers))
        for (y1, x1), (y2, x2) in itertools.product(places, places)
    ]


class Reference:
    """The same network written from the state dict alone, in float64, one window and one head at a time."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.state = {key: value.double() for key, value in encoder.state_dict().items()}

    def conv_bn(self, x, name, stride=1):
        kernel = self.state[f"{name}.c.weight"]
        x = F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2, groups=x.shape[1] // kernel.shape[1])
        mean, var = self.state[f"{name}.bn.running_mean"], self.state[f"{name}.bn.running_var"]
        scale = self.state[f"{name}.bn.weight"] / (var + 1e-5) ** 0.5
        return (x - mean[:, None, None]) * scale[:, None, None] + self.state[f"{name}.bn.bias"][:, None, None]

    def gelu(self, x):
        return x * 0.5 * (1 + torch.erf(x / 2**0.5))

    def norm(self, x, name, eps=1e-5):  # over the last axis
        centred = x - x.mean(-1, keepdim=True)
        x = centred / (centred.pow(2).mean(-1, keepdim=True) + eps) ** 0.5
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def attention(self, tokens, name, heads, window):
        """One window: (window**2, C)."""
        bias = self.state[f"{name}.attention_biases"][:, distances(window)].reshape(heads, len(tokens), len(tokens))
        qkv = self.linear(self.norm(tokens, f"{name}.norm"), f"{name}.qkv")
        width = tokens.shape[1] // heads
        mixed = []
        for head in range(heads):
            start = 3 * width * head
            q, k, v = qkv[:, start : start + 3 * width].split(width, dim=1)
            scores = q @ k.T / width**0.5 + bias[head]
            weights = (scores - scores.max(1, keepdim=True).values).exp()
            mixed.append(weights / weights.sum(1, keepdim=True) @ v)
        return self.linear(torch.cat(mixed, 1), f"{name}.proj")

    def block(self, x, name, heads, window):
        _, c, h, w = x.shape
        high, wide = -(-h // window) * window, -(-w // window) * window
        canvas = torch.zeros(high, wide, c, dtype=x.dtype)
        canvas[:h, :w] = x[0].permute(1, 2, 0)
        mixed = torch.empty_like(canvas)
        for top, left in itertools.product(range(0, high, window), range(0, wide, window)):
            part = canvas[top : top + window, left : left + window].reshape(-1, c)
            answer = self.attention(part, f"{name}.attn", heads, window)
            mixed[top : top + window, left : left + window] = answer.reshape(window, window, c)
        x = x + mixed[:h, :w].permute(2, 0, 1)[None]
        x = self.conv_bn(x, f"{name}.local_conv")
        tokens = x[0].permute(1, 2, 0)
        hidden = self.gelu(self.linear(self.norm(tokens, f"{name}.mlp.norm"), f"{name}.mlp.fc1"))
        return x + self.linear(hidden, f"{name}.mlp.fc2").permute(2, 0, 1)[None]

    def __call__(self, image):
        x = self.gelu(self.conv_bn(image.double(), "patch_embed.seq.0", 2))
        x = self.conv_bn(x, "patch_embed.seq.2", 2)
        for stage, depth in enumerate(DEPTHS):
            for i in range(depth):
                name = f"layers.{stage}.blocks.{i}"
                if stage == 0:
                    hidden = self.gelu(self.conv_bn(x, f"{name}.conv1"))
                    hidden = self.gelu(self.conv_bn(hidden, f"{name}.conv2"))
                    x = self.gelu(x + self.conv_bn(hidden, f"{name}.conv3"))
                else:
                    x = self.block(x, name, HEADS[stage], WINDOWS[stage])
            if stage < 3:
                name = f"layers.{stage}.downsample"
                x = self.gelu(self.conv_bn(x, f"{name}.conv1"))
                x = self.gelu(self.conv_bn(x, f"{name}.conv2", STRIDES[stage]))
                x = self.conv_bn(x, f"{name}.conv3")
        x = F.conv2d(x, self.state["neck.0.weight"])
        x = self.norm(x.permute(0, 2, 3, 1), "neck.1", 1e-6).permute(0, 3, 1, 2)
        x = F.conv2d(x, self.state["neck.2.weight"], padding=1)
        return self.norm(x.permute(0, 2, 3, 1), "neck.3", 1e-6).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def encoder():
    return models.build("vit_t").image_encoder


# 112 px: 14 and 7 positions a side, windows of 7 fit exactly; 96 px: 12 and 6, every window size needs padding.
@pytest.mark.parametrize("side", [112, 96])
def test_equals_an_independent_formulation(encoder, side):
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        got, expected = encoder(image), Reference(encoder)(image)
    assert got.shape == (1, 256, side // 16, side // 16)
    assert expected.std() > 0.5
    assert (got - expected).abs().max() < 1e-4 * expected.abs().max()


def test_every_weight_but_the_classifier_matters(encoder):
    """No tensor is left out of the forward by a slip of a name."""
    for parameter in encoder.parameters():
        parameter.grad = None
    image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    (encoder(image) * torch.randn(256, 1, 1, generator=torch.Generator().manual_seed(5))).sum().backward()
    idle = {name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()}
    for parameter in encoder.parameters():
        parameter.grad = None
    assert idle == {"norm_head.weight", "norm_head.bias", "head.weight", "head.bias"}


def test_images_of_a_batch_do_not_mix(encoder):
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        both = encoder(images)
        alone = torch.cat([encoder(images[:1]), encoder(images[1:])])
    assert (both - alone).abs().max() < 1e-4


def test_tensors_are_those_of_the_official_file():
    # Names, order, shapes and dtypes of mobile_sam.modeling.TinyViT at commit 34bbbfd, as its own code lists them.
    with torch.device("meta"):
        encoder = TinyViT()
    lines = [f"{key} {tuple(value.shape)} {value.dtype}\n" for key, value in encoder.state_dict().items()]
    assert len(lines) == 302
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 6_065_532
    assert (
        hashlib.sha256("".join(lines).encode()).hexdigest()
        == "594e08d666baba5cf950ee148e101e02997e9c5ade325a88631ac35bc2e8f4ac"
    )
