"""The methods on a small model with random weights: what each must do, and must not."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from livesam.adapter.method import AdaptationConfig
from livesam.adapter.methods.paper import PAPER_PRESETS
from livesam.adapter.registry import METHODS, config_of, create, obeys, uses_size_prior
from livesam.engine.models import loading as models
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click, Prompt

HW = (100, 128)
TRUTH = np.zeros(HW, bool)
TRUTH[30:70, 40:90] = True
CLICKS = (Click(65, 50), Click(10, 10, False), Click(45, 35))


def embed(seed=0, key="image", scale=1.0):
    """Random features in which the object's cells point another way than the others."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(1, 256, 8, 8)).astype(np.float32)
    direction = np.random.default_rng(99).normal(size=(256, 1, 1)).astype(np.float32)
    inside = TRUTH[::16, ::16].astype(np.float32)
    features[0, :, : inside.shape[0]] += direction * inside
    return ImageEmbedding((features * scale).astype(np.float32), HW, HW, key)


def paint(mask):
    """Low-res logits that show a mask: what a user accepts is what they were shown."""
    square = np.full((128, 128), -5, np.float32)
    square[: HW[0], : HW[1]][mask] = 5
    return square.reshape(32, 4, 32, 4).mean((1, 3))


def play(method, embedding, clicks=CLICKS, accepted=TRUTH, learn=True):
    """One object: answer, learn, answer... Returns the shown logits and the interaction with everything in it."""
    prompts, answers = [], []
    mask = None
    for k in range(1, len(clicks) + 1):
        prompts.append(Prompt(clicks[:k], mask_logits=mask))
        answers.append(np.array(method.answer(embedding, prompts[-1]).low_res_logits))
        mask = answers[-1] if np.isfinite(answers[-1]).all() else None
        if learn and k < len(clicks):
            list(method.learn_click(Interaction(embedding, tuple(prompts), answers[-1], None, 0)))
    last = answers[-1] if accepted is None else paint(accepted)
    finished = Interaction(embedding, tuple(prompts), last, accepted, 0)
    if learn:
        list(method.learn_object(finished))
    return answers, finished


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def tiny_sam():
    """A decoder with random weights for 128 px: 8 x 8 embeddings, and no encoder, since embeddings are made by hand."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return models.assemble(torch.nn.Identity(), 128)


@pytest.fixture(scope="module")
def base(tiny_sam):
    return create("frozen", tiny_sam).weights()


def test_frozen_never_changes(tiny_sam, base):
    method = create("frozen", tiny_sam)
    first, _ = play(method, embed())
    again, _ = play(method, embed())
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert same(method.weights(), base)


@pytest.mark.parametrize("name", ["paper", "dctta", "live"])
def test_the_model_itself_is_never_touched_and_reset_forgets_all(tiny_sam, base, name):
    before = {k: v.clone() for k, v in tiny_sam.state_dict().items()}
    method = create(name, tiny_sam, **({"steps": 3} if name == "live" else {}))
    first, _ = play(method, embed())
    weights = method.domain_weights()
    method.reset()
    assert same(method.weights(), base)
    assert same(method.domain_weights(), base)
    second, _ = play(method, embed())
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))  # deterministic
    assert same(method.domain_weights(), weights)
    assert all(torch.equal(before[k], v) for k, v in tiny_sam.state_dict().items())


def test_unknown_methods_and_settings_are_refused(tiny_sam):
    for name in ("lively", "paper/none-such", "live/x"):
        with pytest.raises(ValueError, match="choose one of frozen, paper, dctta, live, paper/none"):
            create(name, tiny_sam)
    with pytest.raises(ValueError, match=r"no setting rate: it has .*lr"):
        create("paper", tiny_sam, rate=1)
    assert config_of("paper/cm", lr=1e-3).lr == 1e-3
    assert {create(n, tiny_sam).name for n in ("frozen", "paper", "paper/cm")} == {"frozen", "paper", "paper/cm"}
    assert {name for name in METHODS if "/" not in name} == {"frozen", "paper", "dctta", "live"}


def test_a_method_asks_for_a_look_by_a_field_of_that_name():
    assert [(obeys(config), uses_size_prior(config)) for config in (config_of("live"), config_of("paper"))] == [
        (True, True),
        (False, False),
    ]
    assert not obeys(config_of("live", obey=False))
    with pytest.raises(ValueError, match="frozen has no setting obey: it has seed"):
        config_of("frozen", obey=True)

    @dataclass(frozen=True, slots=True)
    class Mine(AdaptationConfig):
        seed: int = 0
        size_prior: bool = True

    assert (obeys(Mine()), uses_size_prior(Mine()), uses_size_prior(Mine(size_prior=False))) == (False, True, False)


def test_weights_that_a_slot_keeps_can_be_gone_on_from(tiny_sam, base):
    """They are read-only, of which PyTorch warns where it is given them as they are."""
    for array in base.values():
        array.setflags(write=False)
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        method = create("live", tiny_sam)
        method.load_domain(base)
    finally:
        torch.set_warn_always(always)
    assert same(method.domain_weights(), base)


@pytest.mark.parametrize("name", ["paper", "dctta", "live"])
def test_saved_weights_are_gone_on_with(tiny_sam, base, name):
    method = create(name, tiny_sam)
    other = {k: v + np.float32(1e-3) for k, v in base.items()}
    method.load_domain(other)
    assert same(method.domain_weights(), other)
    assert same(method.weights(), other)
    with pytest.raises(ValueError, match="mask decoder"):
        method.load_domain({"a": np.zeros(3, np.float32)})
    method.reset()
    assert same(method.domain_weights(), base)


# paper


def test_click_adaptation_learns_the_clicks(tiny_sam, base):
    method = create("paper/ca-reset", tiny_sam, lr=1e-4)
    embedding = embed()
    _, interaction = play(method, embedding, learn=False)
    losses = [next(iter(method.learn_click(interaction))).loss for _ in range(6)]
    assert losses[-1] < losses[0]
    assert not same(method.weights(), base)
    assert same(method.domain_weights(), base)  # the fast copy is not the domain's


def test_reset_is_bit_exact_for_weights_and_moments(tiny_sam, base):
    method = create("paper/ca-reset", tiny_sam, lr=1e-4)
    first, _ = play(method, embed())
    assert same(method.weights(), base)
    second, _ = play(method, embed())
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    continual = create("paper/ca-no-reset", tiny_sam, lr=1e-4)
    play(continual, embed())
    assert not same(continual.weights(), base)


def test_an_object_that_was_never_finished_is_reset_too(tiny_sam, base):
    method = create("paper/ca-reset", tiny_sam, lr=1e-4)
    _, interaction = play(method, embed(), learn=False)
    list(method.learn_click(interaction))
    _, other = play(create("frozen", tiny_sam), embed(1, "other"), clicks=CLICKS[:1], learn=False)
    assert not same(method.weights(), base)
    list(method.learn_click(other))
    assert same(method.domain_weights(), base)


def test_every_preset_learns_from_what_it_names(tiny_sam, base):
    """Steps by kind for one accepted object of three clicks, and whether the domain's weights moved."""
    expected = {
        "none": (0, 0),
        "full-erosion": (2, 1),
        "full-confidence": (2, 1),
        "ca-reset": (2, 0),
        "ca-no-reset": (2, 1),  # the last click's step
        "rm-erosion": (0, 1),
        "rm-confidence": (0, 1),
        "cm": (0, 1),
        "full-cm": (2, 1),
        "full-untreated": (2, 1),
    }
    assert expected.keys() == PAPER_PRESETS.keys()
    for preset, (clicks, objects) in expected.items():
        # Random weights are sure of nothing: a low bar leaves pixels for the confident variant.
        method = create(f"paper/{preset}", tiny_sam, lr=1e-4, confidence=1e-4)
        play(method, embed())
        counts = method.counts()
        assert (counts.get("click_steps", 0), counts.get("object_steps", 0)) == (clicks, objects), preset
        moved = bool(objects) or preset == "ca-no-reset"
        assert same(method.domain_weights(), base) is not moved, preset


def test_what_the_paper_does_not_learn(tiny_sam, base):
    given_up = create("paper", tiny_sam)
    play(given_up, embed(), accepted=None)
    assert same(given_up.domain_weights(), base)
    tiny = np.zeros(HW, bool)
    tiny[48:52, 63:67] = True  # gone after 5 erosions: only its clicks are left to learn
    fallback, clicks_only = create("paper", tiny_sam), create("paper/full-cm", tiny_sam)
    play(fallback, embed(), accepted=tiny)
    play(clicks_only, embed(), accepted=tiny)
    assert fallback.counts()["nothing_left_of_mask"] == 1
    assert same(fallback.domain_weights(), clicks_only.domain_weights())
    nothing = create("paper/rm-erosion", tiny_sam)
    play(nothing, embed(), accepted=tiny)
    assert same(nothing.domain_weights(), base)


# dctta


def test_dctta_answers_with_what_it_learned_and_forgets(tiny_sam, base):
    method = create("dctta", tiny_sam, lr=1e-4)
    embedding = embed()
    answers, interaction = play(method, embedding)
    plain, _ = play(create("frozen", tiny_sam), embedding)
    assert not np.allclose(answers[1], plain[1], atol=1e-6)
    assert method.answer(embedding, interaction.prompts[0]).token == 2
    list(method.learn_object(interaction))
    assert same(method.weights(), base)
    counts = method.counts()
    assert counts["merge_steps"] == 2
    assert counts["click_steps"] >= 4  # a unit and the global copy at each of two clicks


def test_dctta_learns_a_prompt_once(tiny_sam):
    method = create("dctta", tiny_sam, lr=1e-4)
    _, interaction = play(create("frozen", tiny_sam), embed(), learn=False)
    for prompt in interaction.prompts:
        first = method.answer(interaction.embedding, prompt)
        again = method.answer(interaction.embedding, prompt)
        assert first is again
    assert not list(method.learn_click(interaction))


def test_dctta_merges_by_task_arithmetic(tiny_sam):
    """One unit: base + 0.7 * (global - base), seen before the merged copy's own step."""
    method = create("dctta", tiny_sam, lr=1e-4)
    _, interaction = play(create("frozen", tiny_sam), embed(), clicks=CLICKS[:2], learn=False)
    method.answer(interaction.embedding, interaction.prompts[0])
    merged = []
    original = method._step

    def spy(*args, **kwargs):
        if args[-1] == "merge":
            merged.append(method._decoder.vector.clone())
        return original(*args, **kwargs)

    method._step = spy
    method.answer(interaction.embedding, interaction.prompts[1])
    offset = method._all.vector - method._base
    assert float(offset.norm()) > 0
    assert torch.allclose(merged[0], method._base + 0.7 * offset, atol=1e-6)
    assert len(method._units) == 1


def test_dctta_units_are_bounded(tiny_sam):
    method = create("dctta", tiny_sam, max_units=1)
    clicks = tuple(Click(20 + 30 * i, 20 + 25 * (i % 6)) for i in range(4))
    play(method, embed(), clicks=clicks)
    assert method.counts()["merge_steps"] == 3
