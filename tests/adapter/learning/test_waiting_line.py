"""What waits, and what gives way; the loop's own tests play the same through the thread."""

from collections import Counter

import numpy as np
from livesam.adapter.learning.waiting_line import WaitingLine, left_out
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click, Prompt

EMBEDDING = ImageEmbedding(np.zeros((1, 256, 2, 2), np.float32), (32, 32), (32, 32), "k")


def told(number, accepted=False, given_up=False):
    mask = np.ones((32, 32), bool) if accepted else None
    prompts, answer = (Prompt((Click(4, 4),)),), np.zeros((8, 8), np.float32)
    return Interaction(EMBEDDING, prompts, answer, mask, 0, given_up=given_up, number=number)


def line(capacity, most_bytes=1 << 30):
    counts = Counter()
    return WaitingLine(capacity, counts, most_bytes), counts


def test_a_newer_state_of_an_object_takes_the_place_of_an_older_one():
    waiting, counts = line(4)
    for number in (1, 2, 1):
        waiting.put(told(number))
    assert [waiting.take().number for _ in range(len(waiting))] == [2, 1]
    assert counts == {"replaced": 1}


def test_the_unfinished_go_first_then_the_given_up_and_the_accepted_never():
    waiting, counts = line(2)
    waiting.put(told(1, accepted=True))
    waiting.put(told(2, given_up=True))
    waiting.put(told(3))  # nobody is unfinished yet: the one that was given up goes
    waiting.put(told(4))  # the third goes
    for number in (5, 6, 7):
        waiting.put(told(number, accepted=True))
    assert [waiting.take().number for _ in range(len(waiting))] == [1, 5, 6, 7]
    assert counts == {"dropped": 3}


def test_where_learning_hangs_the_accepted_that_waited_longest_are_left_out():
    one = told(1, accepted=True).nbytes
    waiting, counts = line(2, most_bytes=3 * one)
    waiting.put(told(0))
    for number in range(1, 9):
        waiting.put(told(number, accepted=True))
    assert [waiting.take().number for _ in range(len(waiting))] == [6, 7, 8]
    assert counts == {"dropped": 1, "left_out": 5}
    assert left_out(counts["left_out"]) == "learning is behind: it has left out 5 accepted objects, which are kept"
    assert left_out(0) is None
    for number in range(3):  # what was taken has made room
        waiting.put(told(number, accepted=True))
    assert len(waiting) == 3
    tight, _ = line(2, most_bytes=1)
    tight.put(told(1, accepted=True))
    assert tight.take().number == 1


def test_clearing_is_counted():
    waiting, counts = line(4)
    waiting.put(told(1))
    waiting.put(told(2, accepted=True))
    waiting.clear()
    assert (len(waiting), counts) == (0, {"dropped": 2})
