"""What finished objects say about where to look at the next one's first click."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.runtimes.torch_graph import TorchGraph
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.window import Window
from livesam.engine.view.look import Look
from livesam.engine.view.size_prior import SizePrior
from segment_anything.modeling import Sam

HW = (600, 800)
WHOLE = Window.whole(HW)


def rectangle(long_side: int, short_side: int = 10) -> np.ndarray:
    mask = np.zeros(HW, bool)
    mask[100 : 100 + short_side, 50 : 50 + long_side] = True
    return mask


def seen(*long_sides: int) -> SizePrior:
    prior = SizePrior()
    for side in long_sides:
        prior = prior.observe(rectangle(side), accepted=True, clicks=1)
    return prior


def test_three_objects_say_something() -> None:
    click = Prompt((Click(400, 300),))
    assert seen(80, 80).window(click, HW) == WHOLE
    assert seen(80, 80, 80).window(click, HW) == Window(320, 220, 481, 381)


def test_sizes_are_relative_to_the_image() -> None:
    window = seen(80, 80, 80).window(Prompt((Click(800, 600),)), (1200, 1600))
    assert window.hw == (321, 321)


def test_the_window_stays_in_the_image_and_holds_the_click() -> None:
    prior = seen(80, 80, 80)
    for x, y in ((0, 0), (799, 599), (799, 0), (3, 590)):
        click = Click(x, y)
        window = prior.window(Prompt((click,)), HW)
        assert window.within(HW)
        assert window.clicks((click,))
        assert min(window.hw) >= 160


def test_large_objects_need_no_window_and_tiny_ones_keep_their_surroundings() -> None:
    click = Prompt((Click(400, 300),))
    assert seen(310, 310, 310).window(click, HW) == WHOLE
    assert max(seen(4, 4, 4).window(click, HW).hw) == 97


def test_mostly_the_larger_objects_decide_and_the_last_ones() -> None:
    click = Prompt((Click(400, 300),))
    mixed = seen(20, 20, 20, 20, 100, 100).window(click, HW)
    assert max(mixed.hw) > 2 * 90
    assert max(seen(*[250] * 5, *[40] * 16).window(click, HW).hw) == 97


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt((Click(400, 300, positive=False),)),
        Prompt((Click(400, 300), Click(410, 300))),
        Prompt(box=Box(10, 10, 50, 50)),
        Prompt((Click(400, 300),), box=Box(10, 10, 500, 500)),
    ],
)
def test_only_one_positive_click_is_looked_at_closer(prompt: Prompt) -> None:
    assert seen(80, 80, 80).window(prompt, HW) == WHOLE


def test_what_was_left_at_once_says_nothing() -> None:
    prior = SizePrior()
    assert prior.observe(rectangle(80), accepted=False, clicks=1) == prior
    assert prior.observe(np.zeros(HW, bool), accepted=True, clicks=5) == prior
    assert prior.observe(rectangle(80), accepted=False, clicks=3).sizes == (0.1,)


@pytest.fixture(scope="module")
def nano() -> Sam:
    return load("nano")


@pytest.fixture
def small_objects(nano: Sam) -> Iterator[Session]:
    slot = DecoderSlot(TorchGraph(nano), decoder_weights(nano))
    session = Session(TorchEncoder(nano), slot, look=Look(zoom=True, obey=True, size_prior=True))
    yield session
    session.close()


@pytest.fixture
def bright_spot() -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 80, (300, 420, 3), dtype=np.uint8)
    image[120:170, 200:260] += 120
    return image


def work(session: Session, image: np.ndarray, objects: int) -> None:
    for _ in range(objects):
        session.set_image(image)
        session.click(230, 145)
        session.click(225, 140)
        session.click(260, 100, positive=False)
        session.accept()


def test_a_session_looks_closer_once_it_knows_its_objects(small_objects: Session, bright_spot: np.ndarray) -> None:
    session = small_objects
    session.set_image(bright_spot)
    whole = Window.whole(bright_spot.shape[:2])
    assert session.click(230, 145).window == whole
    work(session, bright_spot, 4)
    first = session.click(230, 145)
    assert first.window != whole
    assert first.mask.shape == bright_spot.shape[:2]
    assert first.mask[145, 230]
    session.reset()
    session.domain = "another"
    assert session.click(230, 145).window == whole
    session.reset()
    session.domain, session.look = "default", Look(zoom=True, obey=True)
    assert session.click(230, 145).window == whole


def test_an_object_is_handed_over_with_where_it_was_looked_at(small_objects: Session, bright_spot: np.ndarray) -> None:
    got: list[Interaction] = []
    session = small_objects
    work(session, bright_spot, 4)
    session.on_interaction = got.append
    session.click(230, 145)
    session.click(225, 140)
    rough = session.accept(rough=True)
    assert rough.rough
    assert rough.accepted
    assert [interaction.steps for interaction in got[:2]] == [(), ()]
    assert [len(step.prompt.clicks) for step in rough.steps] == [1, 2]
    assert rough.views[0].is_whole
    assert {step.window for step in rough.steps} <= {view.window for view in rough.views}
    assert all(view.pixels is None and view.colours is not None for view in rough.views)
    assert isinstance(rough.views[-1].embedding, ImageEmbedding)
    session.click(230, 145)
    session.reset()
    assert got[-1].given_up
    assert not got[-1].rough
    assert len(got[-1].steps) == 1
