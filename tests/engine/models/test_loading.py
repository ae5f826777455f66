import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from livesam.engine.models import loading as models
from livesam.engine.models import spec as specs
from livesam.engine.values.errors import CheckpointError
from segment_anything import SamPredictor, sam_model_registry

NAMES = ("nano", "vit_t", "vit_b", "vit_l", "vit_h")


def test_specs():
    assert tuple(specs.MODELS) == NAMES
    assert [specs.spec(name).image_size for name in NAMES] == [512, 1024, 1024, 1024, 1024]
    assert specs.spec("nano").embedding_hw == (32, 32)
    assert specs.spec("nano").low_res_hw == (128, 128)
    assert specs.spec("vit_b").embedding_hw == (64, 64)
    assert specs.spec("vit_b").low_res_hw == (256, 256)
    assert specs.spec("nano").checkpoint is None
    assert all(specs.spec(name).checkpoint is not None for name in NAMES[1:])


@pytest.mark.parametrize("call", [specs.spec, models.build, models.load, models.state_shapes])
def test_an_unknown_name_is_answered_with_the_known_ones(call):
    with pytest.raises(ValueError, match=r"unknown model 'vit_x'.*nano, vit_t, vit_b, vit_l, vit_h"):
        call("vit_x")


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_tensors_are_those_of_the_official_builder(name):
    with torch.device("meta"):
        official = sam_model_registry[name]()
    assert list(models.state_shapes(name).items()) == list(models.shapes_of(official).items())


@pytest.mark.parametrize(("name", "size"), [("vit_b", 1024), ("nano", 512), ("vit_t", 1024)])
def test_parts_are_the_official_ones(name, size):
    with torch.device("meta"):
        official = sam_model_registry["vit_b"]()
    expected = {key: shape for key, shape in models.shapes_of(official).items() if not key.startswith("image_enc")}
    shapes = models.state_shapes(name)
    assert {key: shape for key, shape in shapes.items() if not key.startswith("image_enc")} == expected
    assert specs.spec(name).image_size == size


def test_small_vit_is_the_reference_with_its_weights(small_sam, small_spec):
    """The parts are put together as the official builder does it: same numbers from the official classes."""
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT

    size = small_spec.image_size
    encoder = ImageEncoderViT(
        img_size=size, patch_size=16, embed_dim=96, depth=4, num_heads=3, mlp_ratio=4, out_chans=256, qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=7, global_attn_indexes=(1, 3),
    )  # fmt: skip
    encoder.load_state_dict(small_sam.image_encoder.state_dict())
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(small_sam.image_encoder(image), encoder(image))
    assert [block.window_size for block in small_sam.image_encoder.blocks] == [7, 0, 7, 0]


@pytest.mark.parametrize("name", ["nano", "vit_t"])
def test_build_is_a_function_of_the_seed_and_leaves_the_generator_alone(name):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = models.build(name).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again, other = models.build(name).state_dict(), models.build(name, seed=1).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not torch.equal(first["mask_decoder.iou_token.weight"], other["mask_decoder.iou_token.weight"])


def test_random_weights_leave_no_position_or_statistic_at_its_constant_start(small_sam):
    states = {**small_sam.state_dict(), **models.build("vit_t").state_dict()}
    constant = {
        key
        for key, value in states.items()
        if value.is_floating_point() and value.numel() > 1 and value.min() == value.max()
    }
    # What is left are affine parts of layer norms and zero biases of single layers.
    assert not {key for key in constant if any(word in key for word in ("pos", "attention_biases", ".bn.", "running"))}


def test_build_works_with_the_predictor(nano_sam, photo):
    assert not nano_sam.training
    predictor = SamPredictor(nano_sam)
    predictor.set_image(photo[:300, :400])
    masks, ious, low_res = predictor.predict(np.array([[100.0, 50.0]]), np.array([1]))
    assert masks.shape == (3, 300, 400)
    assert ious.shape == (3,)
    assert low_res.shape == (3, 128, 128)
    assert predictor.get_image_embedding().shape == (1, 256, 32, 32)


def test_split_gives_the_three_parts_by_their_own_names(small_sam):
    encoder, prompt, decoder = models.split(small_sam)
    joined = {
        **{f"image_encoder.{key}": value for key, value in encoder.items()},
        **{f"prompt_encoder.{key}": value for key, value in prompt.items()},
        **{f"mask_decoder.{key}": value for key, value in decoder.items()},
    }
    state = small_sam.state_dict()
    assert joined.keys() == state.keys()
    assert all(joined[key].data_ptr() == state[key].data_ptr() for key in state)
    assert (len(prompt), len(decoder)) == (17, specs.DECODER_TENSORS)


def test_decoder_weights_are_a_float32_copy(small_sam):
    sam = copy.deepcopy(small_sam)
    weights = models.decoder_weights(sam)
    assert len(weights) == specs.DECODER_TENSORS
    assert sum(array.size for array in weights.values()) == 4_058_340
    for key, value in sam.mask_decoder.state_dict().items():
        assert weights[key].dtype == np.float32
        assert weights[key].flags.c_contiguous
        assert np.array_equal(weights[key], value.numpy())
    before = weights["iou_token.weight"].copy()
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight += 1
    assert np.array_equal(weights["iou_token.weight"], before)


def test_a_model_without_weights_says_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("LIVESAM_CACHE", str(tmp_path))
    told = r"no checkpoint was given: run `livesam download vit_b`, or get sam_vit_b_01ec64.pth from https://"
    with pytest.raises(CheckpointError, match=told):
        models.load("vit_b")


def test_a_lost_bundle_is_told(monkeypatch):
    monkeypatch.setattr(models, "NANO_WEIGHTS", "lost.safetensors")
    with pytest.raises(CheckpointError, match=r"no bundled nano weights.*reinstall"):
        models.load("nano")


def test_specs_need_no_torch():
    code = (
        "import sys; from livesam.engine.models.spec import spec; spec('vit_b').embedding_hw; "
        "sys.exit('torch' in sys.modules or 'segment_anything' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_downloaded_file_needs_no_path(monkeypatch, tmp_path):
    monkeypatch.setenv("LIVESAM_CACHE", str(tmp_path))
    assert models.downloaded("nano") is models.downloaded("vit_t") is None
    sam = models.build("vit_t", seed=3)
    path = tmp_path / "checkpoints" / "mobile_sam.pt"
    path.parent.mkdir()
    torch.save(sam.state_dict(), path)
    assert models.downloaded("vit_t") == path
    loaded = models.load("vit_t").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in sam.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_l", "vit_h"])
def test_large_models_load_from_an_official_file(name, tmp_path):
    sam = models.build(name)
    torch.save(sam.state_dict(), tmp_path / "large.pth")
    loaded = models.load(name, tmp_path / "large.pth")
    assert not any(value.is_meta for value in [*loaded.state_dict().values(), loaded.pixel_mean, loaded.pixel_std])
    expected = sam.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())
