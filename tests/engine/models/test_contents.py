"""The rule on names alone: a tensor is anything with a shape."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from livesam.engine.models.contents import MAX_ENTRIES, find_weights
from livesam.engine.models.hf_layout import to_hf
from livesam.engine.values.errors import CheckpointError

ENCODER, PROMPT = "image_encoder.pos_embed", "prompt_encoder.no_mask_embed.weight"
TOKEN, UPSCALING = "mask_decoder.iou_token.weight", "mask_decoder.output_upscaling.0.weight"
WHOLE = (ENCODER, PROMPT, TOKEN, UPSCALING)
DECODER = (TOKEN, UPSCALING)


def tensor(*shape: int) -> SimpleNamespace:
    return SimpleNamespace(shape=shape or (1, 256))


def under(prefix: str, names: tuple[str, ...] = WHOLE) -> dict[str, object]:
    return {prefix + name: tensor() for name in names}


OPTIMISER = {"state": {0: {"exp_avg": tensor(3)}, 1: {"exp_avg": tensor(4)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("loaded", "place"),
    [
        (under(""), ""),
        (under("module."), ""),
        (under("_orig_mod."), ""),
        (under("module._orig_mod."), ""),
        (under("net."), "net"),
        (under("module.net._orig_mod.sam."), "net.sam"),
        ({"image_encoder._orig_mod.pos_embed": tensor(), **under("", WHOLE[1:])}, ""),
        ({"model": under("")}, "model"),
        ({"network": under("module.")}, "network"),
        ({"step": tensor(1), "model": under("")}, "model"),
        (
            {"step": 7, "optimizer": OPTIMISER, "config": {"lr": 1}, "metrics": {"iou": 0.5}, "model": under("")},
            "model",
        ),
        ({"model": under(""), "optimizer": OPTIMISER}, "model"),
        ({"ema": under(""), "model": under("")}, "model"),
        ({"model": under(""), "ema": under("")}, "model"),
        ({"ema": under("")}, "ema"),
        ({"state_dict": {**under("net."), **under("ema_net.")}}, "state_dict.net"),
        ({"checkpoint": {"model": {"weights": under("model.")}}}, "checkpoint.model.weights.model"),
        ({**under(""), "step": tensor(1), "pixel_mean": tensor(3, 1, 1), "epoch": 3}, ""),
        ({"n_averaged": tensor(1), **under("module.")}, ""),
        ({"small": under("", DECODER), "model": under("")}, "model"),
    ],
)
def test_whole_models_are_found_wherever_they_stand(loaded: dict[str, object], place: str) -> None:
    found = find_weights(loaded)
    assert found is not None
    assert set(found.tensors) == set(WHOLE)
    assert found.place == place
    assert found.parts == ("image_encoder", "prompt_encoder", "mask_decoder")


@pytest.mark.parametrize("prefix", ["", "module.", "net.", "model._orig_mod."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_decoders_are_found_with_and_without_their_own_prefix(prefix: str, wrapped: bool) -> None:
    bare = tuple(name.removeprefix("mask_decoder.") for name in DECODER)
    for names, parts in (
        (DECODER, ("mask_decoder",)),
        (bare, ("mask_decoder",)),
        (WHOLE[1:], ("prompt_encoder", "mask_decoder")),
    ):
        plain = under(prefix, names)
        found = find_weights({"epoch": 1, "decoder": plain} if wrapped else plain)
        assert found is not None
        assert found.parts == parts
        assert set(found.tensors) >= set(DECODER)


def test_hugging_faces_names_become_official() -> None:
    for names in (WHOLE, DECODER, WHOLE[1:]):
        loaded = to_hf(dict.fromkeys(names, tensor()))
        found = find_weights({"state_dict": {f"sam.{name}": value for name, value in loaded.items()}})
        assert found is not None
        assert set(found.tensors) == set(names)
        assert found.layout == "Hugging Face's names"


def test_extra_layers_are_not_lost() -> None:
    for extra in ("lora.A", "mask_decoder.hf_token.weight", "image_encoder.adapter.weight"):
        found = find_weights({"model": {**under(""), extra: tensor(4, 4)}})
        assert found is not None
        assert extra in found.tensors


def test_what_is_passed_over_is_told() -> None:
    found = find_weights({"optimizer": OPTIMISER, "epoch": 3, "model": under("net."), "ema": under("net.")})
    assert found is not None
    assert found.notes == (
        "its weights are under 'model.net'",
        "beside the weights it holds 'optimizer', 'epoch', 'ema', not looked at",
    )
    plain = find_weights(under(""))
    assert plain is not None
    assert plain.notes == ()


def test_nothing_of_sam() -> None:
    for loaded in ({}, {"a": 1}, {"transformer.layers.0.weight": tensor()}, {"fc": {"weight": tensor()}}, OPTIMISER):
        assert find_weights(loaded) is None
    deep: dict[str, object] = {"model": under("")}
    for _ in range(9):
        deep = {"a": deep}
    assert find_weights(deep) is None


def test_two_tensors_of_one_name_and_endless_files_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'mask_decoder\.iou_token\.weight' twice"):
        find_weights({**under(""), "module.mask_decoder.iou_token.weight": tensor()})
    with pytest.raises(CheckpointError, match="more than"):
        find_weights({str(i): 0 for i in range(MAX_ENTRIES + 1)})
