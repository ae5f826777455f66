"""A session that learns: what it changes for the length of the block, and what it leaves alone."""

import threading

import pytest
import torch
from livesam.adapter.learning.learner import learn
from livesam.adapter.learning.loop_state import LoopConfig
from livesam.adapter.learning.priority import low_priority
from livesam.engine.models.loading import decoder_weights
from livesam.engine.models.origin import LoadedModel
from livesam.engine.runtimes.torch import TorchEncoder, TorchGraph
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from livesam.engine.view.look import Look


@pytest.mark.parametrize("obeys", [False, True])
def test_only_live_makes_a_session_obey(small_sam, small_spec, obeys):
    slot = DecoderSlot(TorchGraph(small_sam), decoder_weights(small_sam))
    session = Session(TorchEncoder(small_sam), slot, look=Look(obey=obeys), origin=LoadedModel(small_spec, small_sam))
    idle = LoopConfig(nice=0)
    with learn(session, "paper", config=idle):
        assert session.look.obey == obeys
    with learn(session, config=idle):
        assert session.look.obey
    assert session.look.obey == obeys
    session.close()


def test_the_learner_takes_one_core_and_no_thread_of_others():
    before, found = torch.get_num_threads(), {}
    torch.set_num_threads(2)

    def run(action):
        thread = threading.Thread(target=action)
        thread.start()
        thread.join(20)

    def learning():
        with low_priority("cpu")():
            run(lambda: found.update(later=torch.get_num_threads()))
            torch.ones(64, 64) @ torch.ones(64, 64)
            found["learner"] = torch.get_num_threads()

    try:
        run(learning)
        assert found == {"learner": 1, "later": 2}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
