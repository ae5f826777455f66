"""The differentiable decoder against the official one, in values and in gradients."""

import numpy as np
import pytest
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.points import geometry_of

HW = (120, 200)


@pytest.fixture
def embedding(rng):
    return ImageEmbedding(rng.normal(size=(1, 256, 16, 16)).astype(np.float32), HW, (154, 256), "image")


@pytest.fixture
def prompts(rng):
    mask = (4 * rng.normal(size=(64, 64))).astype(np.float32)
    clicks = (Click(30, 40), Click(150.5, 20, False), Click(90, 110))
    return [
        Prompt(clicks[:1]),
        Prompt(clicks, mask_logits=mask),
        Prompt((), Box(10, 20, 100, 90)),
        Prompt(clicks[1:2]),
        Prompt(clicks[:2], Box(10, 20, 100, 90), mask),
        Prompt((), mask_logits=mask),
    ]


def official(sam, embedding, prompt):
    """``SamPredictor``'s way: the official prompt encoder pads, and both modules run as they are."""
    geometry = geometry_of(embedding)
    points = boxes = None
    if prompt.clicks:
        xy = geometry.to_input_frame([(c.x, c.y) for c in prompt.clicks])
        labels = torch.tensor([[int(c.positive) for c in prompt.clicks]])
        points = (torch.from_numpy(xy)[None], labels)
    if prompt.box is not None:
        corners = np.array(prompt.box.as_tuple()).reshape(2, 2)
        boxes = torch.from_numpy(geometry.to_input_frame(corners)).reshape(1, 4)
    mask = None if prompt.mask_logits is None else torch.from_numpy(prompt.mask_logits)[None, None]
    sparse, dense = sam.prompt_encoder(points, boxes, mask)
    return sam.mask_decoder.predict_masks(
        torch.from_numpy(embedding.features), sam.prompt_encoder.get_dense_pe(), sparse, dense
    )


def test_same_masks_as_the_official_decoder(small_sam, embedding, prompts):
    decoding, decoder = Decoding(small_sam), FlatDecoder(small_sam.mask_decoder)
    output = decoding.decode(decoder, embedding, prompts)
    for i, prompt in enumerate(prompts):
        with torch.no_grad():
            masks, ious = official(small_sam, embedding, prompt)
        scale = float(masks.abs().max())
        np.testing.assert_allclose(output.low_res_logits[i], masks[0].numpy(), atol=2e-6 * max(scale, 1), rtol=1e-5)
        np.testing.assert_allclose(output.ious[i], ious[0].numpy(), atol=2e-6, rtol=1e-5)


def test_same_gradients_as_the_official_decoder(small_sam, embedding, prompts):
    decoding, decoder = Decoding(small_sam), FlatDecoder(small_sam.mask_decoder)
    masks, ious = decoding.run(decoder, embedding, prompts[:2])
    (masks.square().mean() + ious.sum()).backward()
    reference = [official(small_sam, embedding, p) for p in prompts[:2]]
    loss = torch.cat([m for m, _ in reference]).square().mean() + torch.cat([i for _, i in reference]).sum()
    parameters = list(small_sam.mask_decoder.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    expected = torch.cat([g.reshape(-1) for g in gradients])
    assert float(expected.norm()) > 1
    assert float((decoder.gradient - expected).norm() / expected.norm()) < 1e-4


def test_the_vector_is_the_decoder(small_sam):
    decoder = FlatDecoder(small_sam.mask_decoder)
    assert decoder.vector.numel() == 4_058_340
    before = decoder.weights()
    assert len(before) == 120
    snapshot = decoder.vector.clone()
    decoder.vector.mul_(2)
    doubled = decoder.weights()
    assert all(np.array_equal(doubled[k], 2 * v) for k, v in before.items())
    decoder.vector.copy_(snapshot)
    restored = decoder.weights()
    assert all(np.array_equal(restored[k], v) for k, v in before.items())
    original = small_sam.mask_decoder.state_dict()
    assert all(np.array_equal(original[k].numpy(), v) for k, v in before.items())


def test_only_chosen_tensors_are_trained(small_sam, embedding, prompts):
    decoder = FlatDecoder(small_sam.mask_decoder, trainable=lambda name: name.startswith("output_hypernetworks_mlps.0"))
    before = decoder.weights()
    masks, _ = Decoding(small_sam).run(decoder, embedding, prompts[:1])
    masks.square().mean().backward()
    decoder.vector.sub_(decoder.gradient)
    after = decoder.weights()
    changed = {k for k in before if not np.array_equal(before[k], after[k])}
    assert changed
    assert all(k.startswith("output_hypernetworks_mlps.0") for k in changed)
    with pytest.raises(ValueError, match="no tensor"):
        FlatDecoder(small_sam.mask_decoder, trainable=lambda name: False)


def test_load_refuses_other_weights_and_changes_nothing(small_sam):
    decoder = FlatDecoder(small_sam.mask_decoder)
    weights = decoder.weights()
    snapshot = decoder.vector.clone()
    bad = {**weights, "iou_token.weight": np.full((1, 256), np.nan, np.float32)}
    with pytest.raises(ValueError, match=r"not finite in iou_token\.weight"):
        decoder.load(bad)
    with pytest.raises(ValueError, match="not the 120 tensors"):
        decoder.load({k: v for k, v in weights.items() if k != "iou_token.weight"})
    assert torch.equal(decoder.vector, snapshot)
    decoder.load({k: v + 1 for k, v in weights.items()})
    assert torch.equal(decoder.vector, snapshot + 1)
