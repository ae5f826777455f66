"""`live` on a small model with random weights: what it learns, from what, and what it must leave alone."""

import itertools
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from livesam.adapter.learning.guard import GuardConfig
from livesam.adapter.losses import dice, sparse_bce
from livesam.adapter.methods.late_layers import LateLayers
from livesam.adapter.methods.lessons import Lessons
from livesam.adapter.methods.live import LiveConfig
from livesam.adapter.methods.replay import Example, Memory
from livesam.adapter.registry import create
from livesam.adapter.torch_decoder import Decoding, FlatDecoder
from livesam.engine.models import loading as models
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.view import View

HW = (100, 128)
TRUTH = np.zeros(HW, bool)
TRUTH[30:70, 40:90] = True
CLICKS = (Click(65, 50), Click(10, 10, False), Click(45, 35))
OPEN = GuardConfig(gain=-2, slack=2, worse_than_base=2, worse_than_before=2)


def embed(seed=0, hw=HW, mask=TRUTH):
    """Random features in which the object's cells point another way than the others."""
    features = np.random.default_rng(seed).normal(size=(1, 256, 8, 8)).astype(np.float32)
    direction = np.random.default_rng(99).normal(size=(256, 1, 1)).astype(np.float32)
    scale = max(hw) / 128
    cells = (np.arange(8) * 16 * scale).astype(int)
    rows, columns = cells[cells < hw[0]], cells[cells < hw[1]]
    features[0, :, : len(rows), : len(columns)] += direction * mask[rows][:, columns]
    return ImageEmbedding(features, hw, hw, f"{seed}/{hw}")


def paint(mask, sure=5.0):
    """Low-res logits of a mask of 100 x 128."""
    square = np.full((128, 128), -sure, np.float32)
    square[: HW[0], : HW[1]][mask] = sure
    return square.reshape(32, 4, 32, 4).mean((1, 3))


def finished(seed=0, accepted=TRUTH, answer=None, clicks=CLICKS, **more):
    """An object that is over, answered on the whole image."""
    shown = paint(TRUTH if accepted is None else accepted) if answer is None else answer
    prompts = tuple(Prompt(clicks[:k], mask_logits=shown if k > 1 else None) for k in range(1, len(clicks) + 1))
    return Interaction(embed(seed), prompts, shown, accepted, 0, given_up=accepted is None, **more)


def zoomed(seed=0):
    """The same, but its last answer came from a window around the object."""
    whole = View.whole(embed(seed), None)
    window = Window(20, 10, 84 + 20, 94)
    part = View(embed(seed + 500, (84, 84), TRUTH[window.part]), None, window, HW)
    steps = (
        Step(Prompt(CLICKS[:1]), paint(TRUTH), 0.9, 0, whole.window),
        Step(Prompt(CLICKS), np.full((32, 32), 5, np.float32), 0.9, 0, window),
    )
    return replace(finished(seed), steps=steps, views=(whole, part))


def prepared(sam, interaction, **settings):
    """The example that `live` makes of an object."""
    decoder = FlatDecoder(sam.mask_decoder)
    work = Lessons(Decoding(sam), decoder, LiveConfig(**settings)).prepare(interaction, np.random.default_rng(0))
    while True:
        try:
            assert next(work).kind == "lesson"
        except StopIteration as end:
            return end.value


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def iou(logits):
    mask = postprocess(logits, ResizeGeometry.of(HW, 128)) > 0
    return np.count_nonzero(mask & TRUTH) / np.count_nonzero(mask | TRUTH)


def teach(method, count, make=finished):
    for seed in range(count):
        list(method.learn_object(make(seed)))


@pytest.fixture(scope="module")
def tiny_sam():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return models.assemble(torch.nn.Identity(), 128)


@pytest.fixture(scope="module")
def base(tiny_sam):
    return create("frozen", tiny_sam).weights()


@pytest.fixture(scope="module")
def clumsy_sam(tiny_sam):
    """It was trained on such objects, and then lost what the mask tokens look for."""
    decoding, decoder = Decoding(tiny_sam), FlatDecoder(tiny_sam.mask_decoder)
    adam = torch.optim.Adam([decoder.vector], lr=3e-4)
    truth = torch.from_numpy(paint(TRUTH) > 0).float()[None]
    known = torch.ones_like(truth)
    for turn in range(60):
        masks, _ = decoding.run(decoder, embed(100 + turn % 6), [Prompt(CLICKS[: 1 + turn % 2])])
        loss = sparse_bce(masks, truth, known).mean() + dice(masks, truth, known).mean()
        decoder.gradient.zero_()
        loss.backward()
        adam.step()
    sam = deepcopy(tiny_sam)
    sam.mask_decoder.load_state_dict({k: torch.from_numpy(v) for k, v in decoder.weights().items()})
    for network in sam.mask_decoder.output_hypernetworks_mlps:
        network.layers[2].weight.data.mul_(-0.2)
        network.layers[2].bias.data.zero_()
    return sam


@pytest.mark.parametrize("clicks", [1, 2], ids=["multi-mask tokens", "token 0"])
def test_first_clicks_and_corrections_are_learned(clumsy_sam, clicks):
    method, plain = create("live", clumsy_sam, guard=OPEN, steps=40, ramp=40), create("frozen", clumsy_sam)
    teach(method, 4)
    before, after = [], []
    for seed in range(20, 23):
        prompt = Prompt(CLICKS[:clicks])
        before.append(iou(plain.answer(embed(seed), prompt).low_res_logits))
        after.append(iou(method.answer(embed(seed), prompt).low_res_logits))
    assert np.mean(after) > np.mean(before) + 0.2, (before, after)


def test_only_the_late_layers_learn(tiny_sam, base):
    method = create("live", tiny_sam, guard=OPEN)
    teach(method, 1)
    changed = {name for name, value in method.weights().items() if not np.array_equal(value, base[name])}
    assert {name.split(".")[0] for name in changed} == {
        "output_upscaling", "output_hypernetworks_mlps", "iou_prediction_head", "transformer",
    }  # fmt: skip
    assert {name.split(".")[1] for name in changed if name.startswith("transformer")} == {
        "final_attn_token_to_image", "norm_final_attn",
    }  # fmt: skip


def test_few_steps_follow_the_first_objects(tiny_sam):
    method = create("live", tiny_sam, steps=5, ramp=2, guard=replace(OPEN, hold_every=1000))
    counts = []
    for seed in range(4):
        list(method.learn_object(finished(seed)))
        counts.append(method.counts()["object_steps"])
    assert counts == [2, 2 + 4, 2 + 4 + 4, 2 + 4 + 4 + 5]  # the third object went to the gate


def test_what_is_served_is_an_average_pulled_to_the_base(tiny_sam):
    method = create("live", tiny_sam, average=0.75, pull=0.4, guard=OPEN)
    teach(method, 1)
    base, student, served = (d.vector for d in (method._base, method._student, method._served))
    assert torch.allclose(served - base, 0.4 * 0.25 * (student - base), atol=1e-6)
    assert float((student - base).norm()) > 0


def test_without_learning_nothing_moves(tiny_sam, base):
    method = create("live", tiny_sam, learn=False)
    assert list(method.learn_object(finished())) == []
    assert same(method.weights(), base)


def test_no_step_follows_a_click(tiny_sam, base):
    method = create("live", tiny_sam)
    assert list(method.learn_click(finished())) == []
    assert same(method.weights(), base)


# Lessons


def test_lessons_are_sequences_with_the_users_own_prompts(tiny_sam):
    example = prepared(tiny_sam, finished(), sequences=2, rounds=5, kept=100)
    assert [len(lesson.xy) for lesson in example.first] == [1] * 3
    assert sorted(len(lesson.xy) for lesson in example.later) == sorted([2, 3] + 2 * [2, 3, 4, 5])
    assert all(lesson.trust == 1 for lesson in example.first + example.later)
    assert len(prepared(tiny_sam, finished(), kept=3).later) == 3
    firsts = prepared(tiny_sam, finished(clicks=CLICKS[:1]), rounds=1)
    assert len(firsts.first) == 3
    assert not firsts.later


def test_windows_give_lessons_of_their_own(tiny_sam):
    example = prepared(tiny_sam, zoomed(), kept=100)
    labels = {id(lesson.label): lesson.label for lesson in example.first + example.later}
    covered = sorted(float(label.target.mean()) for label in labels.values())
    assert len(covered) == 2
    assert covered[1] > 1.5 * covered[0]  # the object fills more of the window
    whole_only = prepared(tiny_sam, zoomed(), zoomed=False)
    assert len({id(lesson.label) for lesson in whole_only.first + whole_only.later}) == 1


def test_a_box_alone_is_a_lesson_too(tiny_sam):
    boxed = replace(finished(), prompts=(Prompt(box=Box(38, 28, 92, 72)),))
    example = prepared(tiny_sam, boxed, sequences=0)
    assert [(len(lesson.xy), lesson.first) for lesson in example.first] == [(0, True)]
    assert not example.later
    decoder = FlatDecoder(tiny_sam.mask_decoder)
    loss = LateLayers(Decoding(tiny_sam), 3.0, 0.5).loss(decoder, example.first)
    assert loss.shape == (1,)
    assert torch.isfinite(loss).all()


@pytest.mark.parametrize("interaction", [finished(accepted=None), finished(rough=True)], ids=["given up", "rough"])
def test_an_uncertain_mask_counts_where_the_decoder_was_sure_and_where_the_user_clicked(tiny_sam, interaction):
    shaky = paint(TRUTH, sure=5.0)
    shaky[:, :16] *= 0.02  # of these cells nobody can say anything
    shaky = np.ascontiguousarray(shaky)
    certain = prepared(tiny_sam, finished())
    unsure = prepared(tiny_sam, replace(interaction, answer=shaky), given_up=0.3)
    assert {lesson.trust for lesson in unsure.first + unsure.later} == {0.3}
    strong, weak = certain.first[0].label.weight, unsure.first[0].label.weight
    assert float(weak[2:24, 20:31].mean()) == pytest.approx(float(strong[2:24, 20:31].mean()), abs=0.1)
    assert float(weak[12:20, 1:15].mean()) < 0.3 * float(strong[12:20, 1:15].mean())
    row, column = 10 // 4, 10 // 4  # the negative click
    assert float(weak[row, column]) == 1
    assert float(unsure.first[0].label.target[row, column]) == 0
    assert prepared(tiny_sam, interaction, given_up=0.0) is None


def test_an_accepted_mask_is_told_from_one_that_is_rough_or_given_up(tiny_sam):
    method = create("live", tiny_sam, steps=1)
    for interaction in (finished(), finished(1, rough=True), finished(2, accepted=None)):
        list(method.learn_object(interaction))
    counts = method.counts()
    assert {kind: counts[kind] for kind in ("accepted", "rough", "given_up")} == {
        "accepted": 1, "rough": 1, "given_up": 1,
    }  # fmt: skip
    guard = GuardConfig(hold_every=1)
    gated = create("live", tiny_sam, steps=1, guard=guard)
    list(gated.learn_object(finished(rough=True)))
    assert not gated._gate.held, "a rough mask judges nothing"
    list(gated.learn_object(finished(1)))
    assert len(gated._gate.held) == 1


def test_contradictory_clicks_teach_nothing(tiny_sam, base):
    method = create("live", tiny_sam)
    list(method.learn_object(finished(clicks=(Click(65, 50), Click(66, 50, False)))))
    assert method.counts()["implausible"] == 1
    assert same(method.weights(), base)


def test_memory_is_bounded_by_count_and_by_size(tiny_sam):
    examples = [prepared(tiny_sam, finished(seed)) for seed in range(4)]
    memory = Memory(3, 1000)
    for example in examples:
        memory.add(example)
    assert len(memory) == 3
    kept = list(memory)
    assert kept[-1] is examples[-1]
    assert all(lesson.image.dtype == torch.float16 for lesson in kept[0].first)
    small = Memory(3, examples[0].megabytes * 1.2)
    for example in examples:
        small.add(example)
    assert list(small)[-1] is examples[-1]
    assert sum(example.megabytes for example in small) <= examples[0].megabytes * 1.2


def test_a_batch_holds_the_newest_object_and_first_clicks_as_often_as_asked_for(tiny_sam):
    old, new = (prepared(tiny_sam, finished(seed)) for seed in range(2))
    memory = Memory(4, 1000)
    memory.add(old)
    memory.add(new)
    drawn = memory.draw(600, 0.5, 0.25, np.random.default_rng(0))
    assert np.mean([lesson.first for lesson in drawn]) == pytest.approx(0.25, abs=0.05)
    of_new = {id(lesson) for lesson in new.first + new.later}
    assert np.mean([id(lesson) in of_new for lesson in drawn]) == pytest.approx(0.75, abs=0.05)
    only_first = Memory(1, 1000)
    only_first.add(Example(new.first, ()))
    assert all(lesson.first for lesson in only_first.draw(9, 0.5, 0.0, np.random.default_rng(0)))


# Steps, gate and weights


def test_the_parts_of_a_batch_add_up_to_its_loss_and_clicks_go_between(tiny_sam):
    breaks = []
    method = create("live", tiny_sam, steps=1, give_way=lambda: breaks.append(None))
    teach(method, 1)
    batch = method._memory.draw(8, 0.3, 0.3, np.random.default_rng(0))
    gradient = method._student.gradient
    gradient.zero_()
    whole = method._late.loss(method._student, batch).mean()
    whole.backward()
    expected = gradient.clone() * min(1.0, 1 / float(gradient.norm()))
    breaks.clear()
    reports = list(method._step(batch, method._student.vector.clone()))
    assert [report.kind for report in reports] == ["lesson"] * 3 + ["object"]
    assert reports[-1].loss == pytest.approx(float(whole.detach()), rel=1e-5)
    assert torch.allclose(gradient, expected, atol=1e-5)
    assert len(breaks) == 4 * 2 * 2, "twice in each part, on the way there and back"


def test_no_change_is_served_without_a_gain(clumsy_sam):
    """But that is no sign of poison: it does not open the breaker, and the student goes on."""
    method = create("live", clumsy_sam, guard=GuardConfig(gain=2.0, rejects=1, hold_every=3))
    teach(method, 2)
    served, student = method.weights(), method._student.vector.clone()
    for seed in range(2, 4):
        list(method.learn_object(finished(seed)))
    assert method.counts()["rejected"] == 2
    assert "breaker_opened" not in method.counts()
    assert same(method.weights(), served)
    assert not torch.equal(method._student.vector, student)


def test_what_is_worse_than_the_base_is_unlearned(tiny_sam, base):
    method = create("live", tiny_sam, guard=GuardConfig(hold_every=1, held_back=1, rejects=2))
    teach(method, 1)  # it went to the gate
    method._late.score = lambda decoder, exam: 0.9 if torch.equal(decoder.vector, method._base.vector) else 0.5
    for seed in range(1, 3):
        reports = list(method.learn_object(finished(seed)))
        assert "worse" in reports[-1].reason
        assert same(method.weights(), base)
        assert torch.equal(method._student.vector, method._base.vector)
    assert method.counts()["breaker_opened"] == 1
    assert list(method.learn_object(finished(3))) == []


def test_the_gate_judges_by_the_weights_that_serve(clumsy_sam):
    """A held-back object's score is of those; a rollback replaces them."""
    method = create("live", clumsy_sam, guard=replace(OPEN, hold_every=3))
    teach(method, 4)
    (held,) = method._gate.held
    assert held.scores["served"] != held.scores["base"]
    method.load_domain(create("frozen", clumsy_sam).weights())
    assert "served" not in held.scores
    list(method.learn_object(finished(5)))
    assert held.scores["base"] == method._late.score(method._base, held.exam)


def test_abandoned_steps_change_nothing_that_is_served(tiny_sam, base):
    method = create("live", tiny_sam)
    steps = method.learn_object(finished())
    assert any(report.kind == "object" for report in itertools.islice(steps, 40))
    steps.close()
    assert same(method.domain_weights(), base)


def test_lessons_of_other_early_layers_are_forgotten(tiny_sam, base):
    method = create("live", tiny_sam, steps=1)
    teach(method, 1)
    method.load_domain({k: v * np.float32(1.01) if "hyper" in k else v for k, v in base.items()})
    assert len(method._memory) == 1
    other = {k: v * np.float32(1.01) if "norm4" in k else v for k, v in base.items()}
    method.load_domain(other)
    assert len(method._memory) == 0
    teach(method, 1)
    assert np.array_equal(
        method.weights()["transformer.layers.0.norm4.weight"], other["transformer.layers.0.norm4.weight"]
    )


@pytest.mark.parametrize("part", ["hyper", "norm4", ""], ids=["late layers", "early layers", "all"])
def test_what_was_loaded_is_served_to_the_bit(tiny_sam, base, part):
    rng = np.random.default_rng(0)
    noise = {k: rng.normal(0, 0.3, v.shape).astype(np.float32) * (part in k) for k, v in base.items()}
    other = {k: v + noise[k] for k, v in base.items()}
    method = create("live", tiny_sam)
    teach(method, 1)
    method.load_domain(other)
    assert same(method.weights(), other)
    assert same(method.domain_weights(), other)
    method.reset()
    assert same(method.weights(), base)


def test_learning_goes_on_from_what_was_loaded(tiny_sam):
    """The average is the one that these weights were pulled back from."""
    method = create("live", tiny_sam, guard=OPEN)
    teach(method, 2)
    weights, average = method.weights(), method._average.clone()
    again = create("live", tiny_sam, guard=OPEN)
    again.load_domain(weights)
    assert torch.allclose(again._average, average, atol=1e-6)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="pull must be above 0"):
        LiveConfig(pull=0.0)
    with pytest.raises(ValueError, match="average"):
        LiveConfig(average=1.0)
