from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.geometry import ResizeGeometry
from livesam.engine.view.points import check_prompt, fitted, point_count, prompts_to_arrays

GEOMETRY = ResizeGeometry.of((100, 200), 512)
MASK = np.ones((128, 128), np.float32)


def labels(*prompts: Prompt) -> list[list[list[float]]]:
    return [group.point_labels.tolist() for group in prompts_to_arrays(prompts, GEOMETRY)]


def test_the_padding_rule_of_each_kind_of_prompt() -> None:
    clicks = (Click(1, 2), Click(3, 4, positive=False))
    box = Box(5, 6, 7, 8)
    assert labels(Prompt(clicks)) == [[[1, 0, -1]]]
    assert labels(Prompt(box=box)) == [[[2, 3]]]
    assert labels(Prompt(clicks, box)) == [[[1, 0, 2, 3]]]
    (lone,) = prompts_to_arrays([Prompt(mask_logits=MASK)], GEOMETRY)
    assert lone.point_coords.shape == (1, 0, 2)
    assert lone.has_mask.tolist() == [1]
    for prompt in (Prompt(clicks), Prompt(box=box), Prompt(clicks, box), Prompt(mask_logits=MASK)):
        assert prompts_to_arrays([prompt], GEOMETRY)[0].point_coords.shape[1] == point_count(prompt)


def test_coordinates_are_scaled_and_the_pad_stays_at_the_origin() -> None:
    (group,) = prompts_to_arrays([Prompt((Click(10, 20),))], GEOMETRY)
    np.testing.assert_allclose(group.point_coords, [[[10 * 2.56, 20 * 2.56], [0, 0]]], rtol=1e-6)


def test_prompts_are_grouped_without_padding_to_one_length() -> None:
    one, two = Prompt((Click(1, 1),)), Prompt((Click(1, 1), Click(2, 2)))
    groups = prompts_to_arrays([one, two, one, Prompt(box=Box(1, 1, 2, 2)), one.with_mask(MASK)], GEOMETRY)
    assert [group.indices for group in groups] == [(0, 2, 3), (1,), (4,)]
    assert [group.mask_input.shape[0] for group in groups] == [1, 1, 1]
    assert groups[0].point_labels.tolist() == [[1, -1], [1, -1], [2, 3]]
    assert [group.has_mask.tolist() for group in groups] == [[0], [0], [1]]


def test_prompts_off_the_image_are_refused_with_the_allowed_range() -> None:
    for prompt in (Prompt((Click(200, 5),)), Prompt((Click(5, -0.1),)), Prompt(box=Box(-1, 0, 5, 5))):
        with pytest.raises(ValueError, match=r"x must be in \[0, 200.*y in \[0, 100"):
            check_prompt(prompt, (100, 200), (128, 128))
    with pytest.raises(ValueError, match="must have the shape"):
        check_prompt(Prompt(mask_logits=MASK[:64]), (100, 200), (128, 128))
    with pytest.raises(ValueError, match="must have the shape"):
        prompts_to_arrays([Prompt(mask_logits=MASK[:64])], GEOMETRY)
    check_prompt(Prompt((Click(199.9, 0),), Box(0, 0, 200, 100), MASK), (100, 200), (128, 128))


def test_no_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        prompts_to_arrays([], GEOMETRY)


def test_a_box_is_clipped_by_at_most_one_pixel() -> None:
    hw = (100, 200)
    for box, want in (
        (Box(-1, 5, 9, 9), Box(0, 5, 9, 9)),
        (Box(-0.3, -1, 200.7, 101), Box(0, 0, 200, 100)),
        (Box(3, 3, 200.0001, 9), Box(3, 3, 200, 9)),
    ):
        prompt = fitted(Prompt((Click(4, 4),), box, MASK), hw)
        assert prompt.box == want
        assert prompt.mask_logits is MASK
        check_prompt(prompt, hw, (128, 128))
    for prompt in (Prompt(box=Box(0, 0, 200, 100)), Prompt((Click(300, 4),)), Prompt(box=Box(-1.01, 0, 9, 9))):
        assert fitted(prompt, hw) is prompt  # nothing to clip, or too far out
    with pytest.raises(ValueError, match="outside of the image"):
        check_prompt(fitted(Prompt(box=Box(0, 0, 9, 101.5)), hw), hw, (128, 128))
    with pytest.raises(ValueError, match=r"a prompt is a Prompt\("):
        fitted((10, 20), hw)  # type: ignore[arg-type]
