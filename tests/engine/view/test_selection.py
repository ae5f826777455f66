"""Which of the decoder's four masks is shown."""

import numpy as np
import pytest
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.selection import select_token


@pytest.mark.parametrize(
    ("prompt", "token"),
    [
        (Prompt((Click(1, 1),)), 3),
        (Prompt((), Box(0, 0, 5, 5)), 3),
        (Prompt((Click(1, 1), Click(2, 2))), 0),
        (Prompt((Click(1, 1),), Box(0, 0, 5, 5)), 0),
        (Prompt((), mask_logits=np.zeros((4, 4), np.float32)), 3),
    ],
)
def test_shown_token_is_the_official_rule(prompt, token):
    assert select_token(np.array([0.9, 0.1, 0.2, 0.3], np.float32), prompt) == token
