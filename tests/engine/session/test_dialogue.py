"""What is asked, shown and handed over, without an encoder, a thread or a clock."""

from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.session.dialogue import Dialogue
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.values.window import Window
from livesam.engine.view.look import Look
from livesam.engine.view.selection import Rule
from livesam.engine.view.view import View

HW = (300, 400)


def embedding(hw: tuple[int, int]) -> ImageEmbedding:
    scale = 128 / max(hw)
    return ImageEmbedding(np.zeros((1, 256, 8, 8), np.float32), hw, (round(hw[0] * scale), round(hw[1] * scale)), "k")


def encode(pixels: np.ndarray) -> ImageEmbedding:
    return embedding((pixels.shape[0], pixels.shape[1]))


def output(value: float = 1.0) -> DecoderOutput:
    """Token t shows a square of 2 + t cells in the middle; token 2 promises most."""
    logits = np.full((1, 4, 32, 32), -value, np.float32)
    for token in range(4):
        logits[0, token, 11 : 13 + token, 15 : 17 + token] = value
    return DecoderOutput(logits, np.array([[0.9, 0.2, 0.8, 0.3]], np.float32))


def begun(look: Look | None = None, rule: Rule = "official", **options: bool) -> Dialogue:
    dialogue = Dialogue(encode, look or Look(), rule, **options)
    dialogue.begin_image(View.whole(embedding(HW), np.zeros((*HW, 3), np.uint8)))
    dialogue.begin_object(7)
    return dialogue


def cells(logits: np.ndarray) -> int:
    return int((logits > 0).sum())


@pytest.mark.parametrize(("rule", "shown"), [("official", (16, 4)), ("single", (4, 4)), ("multi", (16, 16))])
def test_the_rule_says_which_token_is_shown(rule: Rule, shown: tuple[int, int]) -> None:
    dialogue = begun(rule=rule)
    for count, expected in enumerate(shown):
        question = dialogue.ask(dialogue.clicked(Click(200.0 + count, 150)))
        assert cells(dialogue.hear(question, output()).low_res_logits) == expected
    question = dialogue.ask(dialogue.clicked(Click(202, 150)))
    assert cells(dialogue.hear(question, output(), token=3).low_res_logits) == 25


def test_the_last_answer_is_fed_back_unless_that_is_off_or_it_is_not_finite() -> None:
    dialogue, silent = begun(), begun(feed_back=False)
    for one in (dialogue, silent):
        first = one.ask(one.clicked(Click(200, 150)))
        assert first.prompt.mask_logits is None
        one.hear(first, output())
    second = dialogue.ask(dialogue.clicked(Click(210, 150)))
    np.testing.assert_array_equal(second.prompt.mask_logits, dialogue.steps[0].low_res_logits)
    assert silent.ask(silent.clicked(Click(210, 150))).prompt.mask_logits is None
    dialogue.hear(second, output(np.nan))
    assert dialogue.ask(dialogue.clicked(Click(220, 150))).prompt.mask_logits is None


def test_from_the_second_question_on_the_view_moves_and_the_prompt_with_it() -> None:
    dialogue = begun(Look(zoom=True))
    first = dialogue.ask(Prompt((Click(200, 150),)))
    assert first.view.window == Window.whole(HW)
    assert first.seen is first.prompt
    dialogue.hear(first, output())
    second = dialogue.ask(dialogue.clicked(Click(205, 150)))
    window = second.view.window
    assert window != Window.whole(HW)
    assert second.prompt.clicks[-1] == Click(205, 150)
    assert second.seen.clicks[-1] == Click(205 - window.x0, 150 - window.y0)
    shown = dialogue.hear(second, output())
    assert shown.mask.shape == HW
    assert shown.window == window
    assert dialogue.prompt is not None
    assert dialogue.prompt.mask_logits is None  # that was the window's


def test_an_interaction_is_of_the_answers_view_and_at_the_end_of_the_image() -> None:
    dialogue = begun(Look(zoom=True))
    dialogue.domain = "cells"
    dialogue.hear(dialogue.ask(Prompt((Click(200, 150),))), output())
    question = dialogue.ask(dialogue.clicked(Click(205, 150)))
    dialogue.hear(question, output(), version=3)
    told = dialogue.interaction(question.view)
    assert (told.domain, told.number, told.decoder_version, told.over) == ("cells", 7, 3, False)
    assert told.embedding is question.view.embedding
    accepted = dialogue.finish(dialogue.mask()[0], rough=True)
    assert accepted.embedding is dialogue.whole.embedding
    assert [len(prompt.clicks) for prompt in accepted.prompts] == [1, 2]
    assert (accepted.accepted, accepted.rough, accepted.given_up) == (True, True, False)
    assert [step.window for step in accepted.steps] == [view.window for view in accepted.views]
    assert accepted.views[1].embedding is question.view.embedding
    assert all(view.pixels is None for view in accepted.views)
    given_up = dialogue.finish()
    assert (given_up.accepted, given_up.rough, given_up.given_up) == (False, False, True)


def test_finished_objects_say_where_to_look_at_the_next_ones_first_click() -> None:
    dialogue = begun(Look(zoom=True, size_prior=True))
    whole = Window.whole(HW)

    def windows(objects: int) -> list[Window]:
        seen = []
        for number in range(objects):
            dialogue.begin_object(number)
            question = dialogue.ask(Prompt((Click(200, 150),)))
            seen.append(question.view.window)
            dialogue.finish(dialogue.hear(question, output()).mask)
        return seen

    first = windows(4)
    assert first[:3] == [whole] * 3
    assert first[3] != whole
    dialogue.domain = "another"
    assert windows(1) == [whole]
    dialogue.domain, dialogue.look = "default", Look(zoom=True)
    assert windows(1) == [whole], "not asked for"
    dialogue.look = Look(zoom=True, size_prior=True)
    assert windows(1) == [first[3]]
    dialogue.forget_sizes()
    assert windows(1) == [whole]


def test_a_box_takes_the_place_of_an_earlier_one_and_clicks_stay() -> None:
    dialogue = begun()
    dialogue.hear(dialogue.ask(dialogue.boxed(Box(10, 10, 50, 60))), output())
    dialogue.hear(dialogue.ask(dialogue.clicked(Click(30, 30))), output())
    said = dialogue.boxed(Box(20, 10, 50, 60))
    assert (said.clicks, said.box) == ((Click(30, 30),), Box(20, 10, 50, 60))


def test_a_refused_prompt_leaves_everything_as_it_was() -> None:
    dialogue = begun()
    dialogue.hear(dialogue.ask(Prompt((Click(200, 150),))), output())
    with pytest.raises(ValueError, match="outside of the image"):
        dialogue.ask(dialogue.clicked(Click(400, 10)))
    assert len(dialogue.steps) == 1
    dialogue.undo()
    assert dialogue.prompt is None
    with pytest.raises(SessionError, match="nothing to undo"):
        dialogue.undo()
    with pytest.raises(SessionError, match="click first"):
        dialogue.mask()
    with pytest.raises(SessionError, match="no image is set"):
        Dialogue(encode).ask(Prompt((Click(1, 1),)))
