"""What the two kinds of predictor tell the model, and what they show of its answer."""

from types import SimpleNamespace

import numpy as np
import pytest
from livesam.adapter.methods.frozen import FrozenConfig
from livesam.adapter.registry import create
from livesam.benchmarks.quality.datasets import LabelledObject
from livesam.benchmarks.quality.opening import open_predictor
from livesam.benchmarks.quality.predictors import DecoderPredictor, MethodPredictor
from livesam.benchmarks.quality.protocol import evaluate_object
from livesam.engine.models.loading import load
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError
from livesam.engine.values.prompt import Click
from livesam.engine.values.result import DecoderOutput
from livesam.engine.values.window import Window
from livesam.engine.view.edges import EdgeFilter
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.look import Look
from livesam.engine.view.obey import low_res_colours
from livesam.export.opening import Opening
from segment_anything import SamPredictor

SIZE = 64


class Encoder:
    runtime = "fake"

    def __init__(self):
        self.encoded = 0

    def key(self, digest):
        return digest

    def encode(self, image, digest=None):
        self.encoded += 1
        height, width = image.shape[:2]
        scale = SIZE / max(height, width)
        resized = (int(height * scale + 0.5), int(width * scale + 0.5))
        return ImageEmbedding(
            np.zeros((1, 256, 4, 4), np.float32), (height, width), resized, digest or str(self.encoded)
        )

    def close(self): ...


def output_for(clicks, ious=(0.9, 0.2, 0.8, 0.3)):
    """Token t covers the left t + 1 of 16 columns, one more for every click."""
    logits = np.full((1, 4, 16, 16), -1.0, np.float32)
    for token in range(4):
        logits[0, token, :, : token + clicks] = 1.0
    return DecoderOutput(logits, np.array([ious], np.float32))


class Decoder:
    runtime = "fake"
    concurrent = True
    painter = None

    def __init__(self):
        self.prompts = []

    def decode(self, embedding, prompts):
        self.prompts += prompts
        return output_for(len(prompts[0].clicks))

    def load_weights(self, weights): ...

    def close(self): ...


class Method:
    """Counts what it is given; ``answer`` chooses token 3 at the first click."""

    name = "counting"
    config = FrozenConfig()

    def __init__(self, nonfinite=False):
        self.calls, self.nonfinite = [], nonfinite

    def reset(self):
        self.calls.append("reset")

    def answer(self, embedding, prompt):
        output = output_for(len(prompt.clicks))
        if self.nonfinite:
            output.low_res_logits[:] = np.nan
        self.calls.append(("answer", prompt))
        return SimpleNamespace(output=output, token=3 if len(prompt.clicks) == 1 else 0)

    def learn_click(self, interaction):
        self.calls.append(("click", interaction))
        yield SimpleNamespace(kind="lesson", applied=False)
        yield SimpleNamespace(kind="click", applied=True)
        yield SimpleNamespace(kind="click", applied=False)

    def learn_object(self, interaction):
        self.calls.append(("object", interaction))
        yield SimpleNamespace(kind="object", applied=True)

    def counts(self):
        return {"calls": len(self.calls)}


IMAGE = np.zeros((32, 64, 3), np.uint8)


def evaluate(predictor, columns, target=1.0, limit=3):
    truth = np.zeros((32, 64), bool)
    truth[:, : 4 * columns] = True  # 64 px of the input for 16 logits: 4 px a column
    predictor.begin_set("some_set", 0)
    return evaluate_object(predictor, "x#1", LabelledObject(IMAGE, truth, None), target, limit)


def test_embeddings_of_images_and_windows_are_taken_from_the_folder_in_the_next_run(tmp_path):
    sam, image = load("nano"), np.full((300, 400, 3), 60, np.uint8)
    image[40:90, 50:110] = 200
    truth = np.zeros((300, 400), bool)
    truth[40:110, 50:110] = True  # more than is to be seen, so that one click does not do

    def run(folder):
        encoder = Counted(SamEncoder(sam))
        predictor = MethodPredictor(create("frozen", sam), encoder, look=Look(zoom=True), embeddings=folder)
        predictor.begin_set("s", 0)
        record = evaluate_object(predictor, "x#1", LabelledObject(image, truth, None), 1.0, 3)
        return record.ious, encoder.encoded

    plain, encoded = run(None)
    assert encoded > 1  # the image and a window
    assert run(tmp_path) == (plain, encoded)
    assert run(tmp_path) == (plain, 0)


def test_official_rule_takes_the_best_of_three_at_the_first_click_only():
    for rule, columns in (("official", (3, 2, 3)), ("single", (1, 2, 3))):
        predictor = DecoderPredictor(Encoder(), Decoder(), rule)
        predictor.begin_set("s", 0)
        predictor.begin_image(IMAGE)
        predictor.begin_object()
        clicks = tuple(Click(4 + i, 8) for i in range(3))
        masks = [predictor.click(clicks[: i + 1]) for i in range(3)]
        assert tuple(round(mask.sum() / (4 * 32)) for mask in masks) == columns


def test_decoder_predictor_shows_the_chosen_mask_and_feeds_it_back():
    decoder = Decoder()
    predictor = DecoderPredictor(Encoder(), decoder)
    record = evaluate(predictor, columns=6, limit=2)
    assert record.ious == pytest.approx((3 / 6, 2 / 6), abs=0.05)  # token 2 with one click, then token 0 with two
    assert decoder.prompts[0].mask_logits is None
    np.testing.assert_array_equal(decoder.prompts[1].mask_logits, output_for(1).low_res_logits[0, 2])
    assert [len(p.clicks) for p in decoder.prompts] == [1, 2]
    assert not predictor.adapts


def test_every_image_is_encoded_once():
    encoder = Encoder()
    predictor = DecoderPredictor(encoder, Decoder())
    predictor.begin_set("s", 0)
    for image in (IMAGE, IMAGE + 1, IMAGE.copy(), IMAGE + 1, IMAGE):
        predictor.begin_image(image)
    assert encoder.encoded == 2
    with pytest.raises(SessionError, match="no image is set"):
        DecoderPredictor(encoder, Decoder()).click((Click(1, 1),))


def test_method_learns_from_every_click_but_the_last_and_then_from_the_object():
    method = Method()
    predictor = MethodPredictor(method, Encoder())
    record = evaluate(predictor, columns=6, limit=3)
    assert not record.reached
    assert [call if isinstance(call, str) else call[0] for call in method.calls] == [
        *("reset", "answer", "click", "answer", "click", "answer", "object"),
    ]
    first, last = method.calls[2][1], method.calls[-1][1]
    assert len(first.prompts) == 1
    np.testing.assert_array_equal(first.answer, output_for(1).low_res_logits[0, 3])
    assert len(last.prompts) == 3
    assert last.prompts[2].mask_logits is not None
    np.testing.assert_array_equal(last.prompts[2].mask_logits, method.calls[4][1].answer)
    assert last.accepted_mask is None
    assert last.given_up
    assert [step.prompt.clicks for step in last.steps] == [prompt.clicks for prompt in last.prompts]
    assert [view.window for view in last.views] == [Window(0, 0, 64, 32)]
    assert last.domain == "some_set"
    assert predictor.stats() == {
        "click_steps": 4,
        "click_steps_skipped": 2,
        "object_steps": 1,
        "object_steps_skipped": 0,
        "method": {"calls": 7},
    }


def test_accepted_mask_is_the_one_that_was_shown():
    method = Method()
    evaluate(MethodPredictor(method, Encoder()), columns=4, target=0.9)
    (kind, interaction) = method.calls[-1]
    assert kind == "object"
    assert interaction.accepted_mask.shape == (32, 64)
    assert interaction.accepted_mask[:, :15].all()
    assert not interaction.accepted_mask[:, 17:].any()


def test_single_token_rule_overrules_the_method():
    method = Method()
    evaluate(MethodPredictor(method, Encoder(), "single"), columns=6, limit=2)
    np.testing.assert_array_equal(method.calls[2][1].answer, output_for(1).low_res_logits[0, 0])


def test_a_decoder_that_broke_is_an_empty_mask_and_no_crash():
    method = Method(nonfinite=True)
    predictor = MethodPredictor(method, Encoder())
    record = evaluate(predictor, columns=6, limit=3)
    assert record.ious == (0.0, 0.0, 0.0)
    assert predictor.stats()["nonfinite_answers"] == 2


class SamEncoder:
    """The image encoder of a `Sam` by way of `SamPredictor`."""

    runtime = "predictor"

    def __init__(self, sam):
        self.predictor = SamPredictor(sam)

    def key(self, digest):
        return digest

    def encode(self, image, digest=None):
        self.predictor.set_image(image)
        features = self.predictor.get_image_embedding().numpy()
        return ImageEmbedding(features, image.shape[:2], self.predictor.input_size, digest or "x")

    def close(self): ...


class Counted:
    """An encoder that counts."""

    def __init__(self, encoder):
        self._encoder, self.encoded = encoder, 0

    def encode(self, image, digest=None):
        self.encoded += 1
        return self._encoder.encode(image, digest)

    def __getattr__(self, name):
        return getattr(self._encoder, name)


def test_frozen_shows_what_sam_predictor_shows(nano_sam):
    image = np.random.default_rng(0).integers(0, 255, (90, 140, 3), np.uint8)
    predictor = MethodPredictor(create("frozen", nano_sam), SamEncoder(nano_sam))
    predictor.begin_set("s", 0)
    predictor.begin_image(image)
    predictor.begin_object()
    clicks = (Click(40.0, 30.0), Click(100.0, 70.0, positive=False))
    first, second = predictor.click(clicks[:1]), predictor.click(clicks)
    first_logits, second_logits = (step.low_res_logits for step in predictor.steps)
    reference = SamPredictor(nano_sam)
    reference.set_image(image)
    points, labels = np.array([[40.0, 30.0], [100.0, 70.0]]), np.array([1, 0])
    masks, ious, low = reference.predict(points[:1], labels[:1], multimask_output=True)
    best = int(ious.argmax())
    np.testing.assert_allclose(first_logits, low[best], atol=1e-3)
    assert np.mean(first == masks[best]) > 0.999
    masks, _, low = reference.predict(points, labels, mask_input=low[best][None], multimask_output=False)
    np.testing.assert_allclose(second_logits, low[0], atol=1e-3)
    assert np.mean(second == masks[0]) > 0.999
    assert not predictor.adapts


@pytest.mark.parametrize("name", ["paper", "dctta", pytest.param("live", marks=pytest.mark.slow)])
def test_a_learning_run_repeats_itself_bit_by_bit(small_sam, name):
    def clicked():
        predictor = MethodPredictor(create(name, small_sam, seed=1), SamEncoder(small_sam))
        assert predictor.adapts
        truth = np.zeros((60, 80), bool)
        truth[10:40, 20:60] = True
        image = np.where(truth[..., None], 200, 30).astype(np.uint8).repeat(3, 2)
        labelled = LabelledObject(image, truth, None)
        predictor.begin_set("s", 1)
        objects = [evaluate_object(predictor, str(i), labelled, target, 2) for i, target in enumerate((1.0, 0.01))]
        predictor.begin_set("t", 1)
        again = evaluate_object(predictor, "0", labelled, 1.0, 2)
        return [r.ious for r in (*objects, again)], predictor.stats()

    ious, stats = clicked()
    assert ious[2] == ious[0]  # a new set starts from the base again
    assert sum(stats["method"].values()) > 0
    assert clicked() == (ious, stats)


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="official or single"):
        open_predictor("frozen", Opening(runtime="torch"), token="best")
    with pytest.raises(ValueError, match="learns in PyTorch"):
        open_predictor("live", Opening(runtime="openvino"))
    with pytest.raises(ValueError, match="no settings"):
        open_predictor("grabcut", Opening(), overrides={"lr": 1})


@pytest.mark.parametrize("learns", [False, True])
def test_answers_are_drawn_to_edges_when_asked(learns):
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, 22:] = 255
    answers = []
    for edges in (False, True):
        if learns:
            predictor = MethodPredictor(Method(), Encoder(), look=Look(edges=edges))
        else:
            predictor = DecoderPredictor(Encoder(), Decoder(), look=Look(edges=edges))
        predictor.begin_set("s", 0)
        predictor.begin_image(image)
        predictor.begin_object()
        mask = predictor.click(tuple(Click(4 + i, 8) for i in range(5)))
        answers.append((mask, predictor.steps[-1].low_res_logits))
    (_, plain), (mask, drawn) = answers
    geometry = ResizeGeometry.of(image.shape[:2], SIZE)
    expected = EdgeFilter(low_res_colours(image, geometry), 16).drawn(plain)
    assert (expected != plain).any()
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(mask, postprocess(expected, geometry) > 0)


@pytest.mark.parametrize("look", [Look(edges=True), Look(zoom=True), Look(obey=True), Look(size_prior=True)])
def test_grabcut_draws_to_edges_at_full_size_already(look):
    with pytest.raises(ValueError, match="already"):
        open_predictor("grabcut", Opening(), look=look)


@pytest.mark.parametrize(("method", "obey"), [("frozen", False), ("frozen", True), ("live", True)])
def test_a_predictor_zooms_and_obeys_as_a_session_does(method, obey):
    """Same weights, same clicks: what is measured is what is shipped."""
    from livesam.engine.models.loading import decoder_weights, load
    from livesam.engine.runtimes.torch_encoder import TorchEncoder
    from livesam.engine.runtimes.torch_graph import TorchGraph
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.session import Session

    nano = load("nano")
    image = np.random.default_rng(0).integers(0, 80, (300, 420, 3), dtype=np.uint8)
    image[120:170, 200:260] += 120
    clicks = (Click(230, 145), Click(210, 130), Click(180, 100, positive=False), Click(255, 165))
    encoder = TorchEncoder(nano)
    session = Session(encoder, DecoderSlot(TorchGraph(nano), decoder_weights(nano)), look=Look(zoom=True, obey=obey))
    session.set_image(image)
    predictor = MethodPredictor(create(method, nano), encoder, look=Look(zoom=True, obey=obey and method == "frozen"))
    predictor.begin_set("s", 0)
    predictor.begin_image(image)
    predictor.begin_object()
    windows = []
    for i, click in enumerate(clicks):
        shown = session.click(click.x, click.y, positive=click.positive)
        mask = predictor.click(clicks[: i + 1])
        predictor.after_click(clicks[: i + 1], last=False)
        np.testing.assert_allclose(predictor.steps[-1].low_res_logits, shown.low_res_logits, atol=1e-3)
        np.testing.assert_array_equal(mask, shown.mask)
        windows.append(shown.window)
    assert windows[0] == Window.whole(image.shape[:2])
    assert windows[-1] != windows[0]
    predictor.finish_object(clicks, shown.mask)


def test_the_size_prior_looks_where_a_session_looks():
    """Three objects of a domain, then the fourth one's first click."""
    from livesam.engine.models.loading import decoder_weights, load
    from livesam.engine.runtimes.torch_encoder import TorchEncoder
    from livesam.engine.runtimes.torch_graph import TorchGraph
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.session import Session

    nano = load("nano")
    image = np.random.default_rng(0).integers(0, 80, (300, 420, 3), dtype=np.uint8)
    image[120:170, 200:260] += 120
    encoder, look = TorchEncoder(nano), Look(zoom=True, obey=True, size_prior=True)
    graph, weights = TorchGraph(nano), decoder_weights(nano)
    session = Session(encoder, DecoderSlot(graph, weights), look=look)
    session.set_image(image)
    predictor = DecoderPredictor(encoder, graph(weights), look=look)
    assert predictor.adapts
    for _ in range(2):  # a new set forgets the sizes, as a new domain has none
        predictor.begin_set("s", 0)
        predictor.begin_image(image)
        windows = []
        for _ in range(4):
            predictor.begin_object()
            click = Click(230, 145)
            mask = predictor.click((click,))
            windows.append(predictor.steps[-1].window)
            predictor.finish_object((click,), mask)
        assert windows[:3] == [Window.whole(image.shape[:2])] * 3
    shown = []
    for _ in range(4):
        shown.append(session.click(230, 145))
        session.accept()
    assert [result.window for result in shown] == windows
    np.testing.assert_array_equal(shown[-1].mask, mask)


def test_the_size_prior_needs_zoom():
    with pytest.raises(ValueError, match="needs zoom"):
        open_predictor("frozen", Opening(), look=Look(size_prior=True))
