import pytest
import torch
from livesam.engine.models import hf_layout
from livesam.engine.models import loading as models
from livesam.engine.models.checkpoints import read_checkpoint
from livesam.engine.models.spec import VIT_SHAPES
from livesam.engine.values.errors import CheckpointError
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def transformers():
    module = pytest.importorskip("transformers")
    module.utils.logging.set_verbosity_error()
    module.utils.logging.disable_progress_bar()
    return module


@pytest.fixture(scope="module")
def hf_model(transformers, small_spec):
    """A random `SamModel` of the same shape as `small_sam`."""
    config = hf_layout.hf_config(96, 4, 3, (1, 3), small_spec.image_size, window=7)
    torch.manual_seed(11)
    model = transformers.SamModel(transformers.SamConfig(**config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # its own initial values are nearly all zero
            parameter.normal_(std=0.1)
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
        model.shared_image_embedding.positional_embedding.normal_()
    return model


def answers_of_hf(model, image, clicks):
    with torch.inference_mode():
        embedding = model.vision_encoder(image).last_hidden_state
        out = model(
            image_embeddings=embedding,
            input_points=clicks[None, None],
            input_labels=torch.ones(1, 1, len(clicks), dtype=torch.int64),
            multimask_output=True,
        )
    return embedding, out.pred_masks[0, 0], out.iou_scores[0, 0]


def answers_of_sam(sam, image, clicks):
    with torch.inference_mode():
        embedding = sam.image_encoder(image)
        sparse, dense = sam.prompt_encoder((clicks[None], torch.ones(1, len(clicks))), None, None)
        masks, ious = sam.mask_decoder(embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
    return embedding, masks[0], ious[0]


def same_answers(sam, model, spec):
    image = torch.randn(1, 3, spec.image_size, spec.image_size, generator=torch.Generator().manual_seed(0))
    clicks = torch.tensor([[40.0, 90.0], [200.0, 30.0]])
    for got, expected in zip(answers_of_sam(sam, image, clicks), answers_of_hf(model, image, clicks), strict=True):
        assert got.shape == expected.shape
        assert expected.std() > 1e-3
        assert (got - expected).abs().max() <= 1e-4 * (expected.max() - expected.min())


def test_a_hugging_face_folder_loads_and_answers_the_same(hf_model, small_sam, small_spec, tmp_path):
    hf_model.save_pretrained(tmp_path)
    state = read_checkpoint(tmp_path, models.shapes_of(small_sam), "vit_small")
    with torch.device("meta"):
        empty = models.assemble(models.vit_encoder(96, 4, 3, (1, 3), small_spec.image_size, 7), small_spec.image_size)
    same_answers(models.fill(empty, state), hf_model, small_spec)


def test_a_sharded_folder_is_the_same(hf_model, small_sam, tmp_path):
    hf_model.save_pretrained(tmp_path / "one")
    hf_model.save_pretrained(tmp_path / "many", max_shard_size="4MB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    shapes = models.shapes_of(small_sam)
    one, many = (read_checkpoint(tmp_path / name, shapes, "vit_small") for name in ("one", "many"))
    assert all(torch.equal(value, many[key]) for key, value in one.items())


def test_official_weights_become_a_hugging_face_folder(transformers, small_sam, small_spec, tmp_path):
    import json

    from safetensors.torch import save_file

    config = hf_layout.hf_config(96, 4, 3, (1, 3), small_spec.image_size, window=7)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(hf_layout.to_hf(small_sam.state_dict()), tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, info = transformers.SamModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    same_answers(small_sam, model.eval(), small_spec)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_names_and_shapes_are_those_of_the_real_class(transformers, name):
    with torch.device("meta"):
        model = transformers.SamModel(transformers.SamConfig(**hf_layout.hf_config(*VIT_SHAPES[name])))
    theirs = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    ours = models.state_shapes(name)
    assert hf_layout.from_hf(theirs) == ours
    mapped = hf_layout.to_hf(ours)
    assert mapped == {key: shape for key, shape in theirs.items() if key != hf_layout.HF_POSITION_TIED}
    assert hf_layout.is_hf(theirs)
    assert not hf_layout.is_hf(ours)


def test_files_hold_the_matrix_under_either_name(hf_model, tmp_path):
    hf_model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    matrix = hf_model.shared_image_embedding.positional_embedding
    for held in (
        [hf_layout.HF_POSITION],
        [hf_layout.HF_POSITION_TIED],
        [hf_layout.HF_POSITION, hf_layout.HF_POSITION_TIED],
    ):
        rest = {key: value for key, value in state.items() if not key.endswith("positional_embedding")}
        official = hf_layout.from_hf({**rest, **dict.fromkeys(held, matrix)})
        assert torch.equal(official[hf_layout.OFFICIAL_POSITION], matrix)


def test_strange_names_are_refused():
    with pytest.raises(ValueError, match=r"'image_encoder.layers.0.blocks.0.conv1.c.weight' has no name"):
        hf_layout.to_hf({"image_encoder.layers.0.blocks.0.conv1.c.weight": 0})
    with pytest.raises(CheckpointError, match=r"'vision_encoder.extra' is not one of"):
        hf_layout.from_hf({"vision_encoder.extra": 0})
