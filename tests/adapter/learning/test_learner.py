"""A session that learns: what it changes for the length of the block, and what it leaves alone."""

import shutil
import sys
import threading

import numpy as np
import pytest
import torch
from livesam.adapter.learning import priority
from livesam.adapter.learning.learner import learn, torch_device
from livesam.adapter.learning.loop_state import LoopConfig
from livesam.adapter.learning.priority import low_priority
from livesam.adapter.methods.late_layers import LATE
from livesam.engine.models.adapted import read_adapted
from livesam.engine.models.loading import decoder_weights
from livesam.engine.models.origin import LoadedModel
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.runtimes.torch_graph import TorchGraph
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from livesam.engine.values.errors import AdaptationError, CheckpointError, RuntimeUnavailable, SessionError, SwapError
from livesam.engine.view.look import Look


@pytest.mark.parametrize("obeys", [False, True])
def test_only_live_makes_a_session_obey_and_expect_sizes(small_sam, small_spec, obeys):
    slot = DecoderSlot(TorchGraph(small_sam), decoder_weights(small_sam))
    session = Session(TorchEncoder(small_sam), slot, look=Look(obey=obeys), origin=LoadedModel(small_spec, small_sam))
    idle = LoopConfig(nice=0)
    with learn(session, "paper", config=idle):
        assert session.look == Look(obey=obeys)
    with learn(session, config=idle):
        assert session.look == Look(obey=True, size_prior=True)
    assert session.look == Look(obey=obeys)
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


def test_the_last_learner_on_a_gpu_puts_the_switch_interval_back():
    before = sys.getswitchinterval()
    first, second = priority._quick_switches(), priority._quick_switches()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_S)
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(before)


def test_learning_is_at_home_where_pytorch_answers_clicks():
    found = {runtime: torch_device(runtime) for runtime in ("torch:cpu:fp32", "torch:cuda:fp16", "torch:cuda:1:bf16")}
    assert list(found.values()) == ["cpu", "cuda", "cuda:1"]
    assert torch_device("onnxruntime:cuda:fp32") == "cpu"  # its clicks may run where this PyTorch has no CUDA


# Learning belongs to the session


@pytest.fixture
def origin(small_sam, small_spec):
    return LoadedModel(small_spec, small_sam)


@pytest.fixture
def session(origin):
    made = Session(
        TorchEncoder(origin.model), DecoderSlot(TorchGraph(origin.model), decoder_weights(origin.model)), origin=origin
    )
    made.set_image(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8))
    yield made
    made.close()


def moved(weights, size=0.05):
    """Other weights than these, far farther off than one object teaches."""
    rng = np.random.default_rng(5)
    return {k: v + size * rng.normal(size=v.shape).astype(np.float32) for k, v in weights.items()}


def distance(one, other):
    return float(np.sqrt(sum(np.square(one[k] - other[k]).sum() for k in one)))


def finish_an_object(session):
    session.click(30, 30)
    session.click(60, 20, positive=False)
    session.accept()


QUICK = LoopConfig(nice=0, quiet_s=0, idle_after_s=0.05)


def test_learning_begins_with_what_serves(session):
    base = session.slot.weights(0)
    mine = moved(base)
    session.slot.publish(mine)
    with learn(session, "paper", config=QUICK) as learner:
        finish_an_object(session)
        assert learner.wait(60)
        learned = session.slot.weights(session.slot.current)
    assert 0 < distance(learned, mine) < 0.1 * distance(learned, base)


def test_a_decoder_that_was_there_survives_learning_nothing(session):
    mine = moved(session.slot.weights(0))
    version = session.slot.publish(mine)
    with learn(session, "frozen", config=QUICK) as learner:
        finish_an_object(session)
        assert learner.wait(60)
    assert session.slot.current == version


@pytest.mark.parametrize("size", [1e-3, 0.05], ids=["near the base", "beyond the trust region"])
def test_live_goes_on_serving_the_decoder_that_was_there(session, size):
    """To the bit, until it has learned something; a published decoder is not published again."""
    mine = moved(session.slot.weights(0), size)
    version = session.slot.publish(mine)
    with learn(session, "live", config=QUICK) as learner:
        session.click(30, 30)
        session.click(31, 30, positive=False)
        session.accept()  # contradictory clicks teach nothing
        assert learner.wait(60)
        assert learner.stats().methods["default"]["implausible"] == 1
        assert session.slot.current == version
    assert distance(session.slot.weights(session.slot.current), mine) == 0


def test_live_learns_on_from_the_decoder_that_was_there(session):
    def late(weights):
        return {name: value for name, value in weights.items() if name.startswith(LATE)}

    base = session.slot.weights(0)
    mine = moved(base, 2e-3)
    session.slot.publish(mine)
    with learn(session, "live", config=QUICK) as learner:
        session.click(30, 30)
        session.click(60, 20, positive=False)
        session.reset()  # given up: a lesson, but nothing that is held back
        assert learner.wait(60)
        learned = session.slot.weights(session.slot.current)
    assert 0 < distance(late(learned), late(mine)) < 0.5 * distance(late(mine), late(base))


def test_another_base_is_refused(origin):
    other = moved(decoder_weights(origin.model))
    session = Session(TorchEncoder(origin.model), DecoderSlot(TorchGraph(origin.model), other), origin=origin)
    with pytest.raises(ValueError, match="another base"), learn(session):
        pass
    nameless = Session(TorchEncoder(origin.model), session.slot)
    with pytest.raises(ValueError, match="open_session"), learn(nameless):
        pass
    session.close()


def test_changing_the_domain_changes_the_decoder(session):
    base = session.slot.weights(0)
    with learn(session, "paper", config=QUICK) as learner:
        finish_an_object(session)
        assert learner.wait(60)
        taught = session.slot.weights(session.slot.current)
        session.domain = "another"
        assert learner.wait(60)
        assert learner.stats().domain == "another"
        assert distance(session.slot.weights(session.slot.current), base) == 0
        session.domain = "default"
        assert learner.wait(60)
        assert distance(session.slot.weights(session.slot.current), taught) == 0


def test_the_applications_listener_hears_all_and_setting_one_ends_no_learning(session):
    before, inside = [], []
    session.on_interaction = before.append
    with learn(session, "paper", config=QUICK) as learner:
        session.click(30, 30)
        session.on_interaction = inside.append
        session.accept()
        assert learner.wait(60)
        assert learner.stats().counts["received"] == 2
    session.click(30, 30)
    assert len(before) == 1
    assert [i.accepted for i in inside] == [True, False]


def test_one_learner_at_a_time(session):
    with learn(session, config=QUICK):
        with pytest.raises(SessionError, match="learns already"), learn(session):
            pass
        assert session.listeners.learner is not None
    assert session.listeners.learner is None


def test_what_is_kept_is_taken_up_and_nothing_is_lost_in_silence(session, origin, tmp_path):
    session.domain = "cells"
    with learn(session, "paper", keep=tmp_path, config=QUICK) as learner:
        finish_an_object(session)
        assert learner.wait(60)
    taught = session.slot.weights(session.slot.current)
    assert session.provenance.method == "paper"
    assert session.provenance.domain == "cells"
    assert sum(session.provenance.counts.values()) > 0

    slot = DecoderSlot(TorchGraph(origin.model), decoder_weights(origin.model))
    again = Session(TorchEncoder(origin.model), slot, origin=origin, domain="cells")
    with learn(again, "paper", keep=tmp_path, config=QUICK) as learner:
        assert learner.wait(60)
        kept = slot.weights(slot.current)
    assert distance(kept, taught) < 0.01 * distance(taught, slot.weights(0))  # saved as float16
    slot.publish(moved(slot.weights(0)))
    with pytest.raises(SessionError, match="would be lost"), learn(again, "paper", keep=tmp_path):
        pass
    again.domain = "others"
    with learn(again, "paper", keep=tmp_path, config=QUICK):
        pass
    again.close()


def test_rolling_back_by_version(session):
    with learn(session, "paper", config=QUICK) as learner:
        finish_an_object(session)
        assert learner.wait(60)
        learner.rollback(0)
        assert learner.wait(60)
        assert distance(session.slot.weights(session.slot.current), session.slot.weights(0)) == 0
        with pytest.raises(ValueError, match="version"):
            learner.rollback(99)


def test_leaving_the_block_learns_what_was_accepted(session, tmp_path):
    with learn(session, "paper", keep=tmp_path, config=QUICK) as learner:
        learner.pause()
        finish_an_object(session)
        finish_an_object(session)
        session.click(10, 10)  # is left alone
    assert session.slot.current > 0
    assert learner.stats().counts["learned"] == 2
    with learn(session, "paper", keep=tmp_path, config=QUICK) as again:  # the file is this decoder, rounded
        assert again.wait(60)


def test_an_exception_ends_the_block_at_once(session):
    def interrupted():
        with learn(session, "paper", config=QUICK) as learner:
            learner.pause()
            finish_an_object(session)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert session.slot.current == 0


def test_a_damaged_file_is_said_before_anything_is_learned(session, tmp_path):
    (tmp_path / "default.livesam.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="damaged"), learn(session, "paper", keep=tmp_path):
        pass
    assert session.listeners.learner is None


def test_kept_files_say_how_they_were_learned(session, tmp_path):
    with learn(session, "paper", keep=tmp_path, config=QUICK):
        finish_an_object(session)
    info = read_adapted(tmp_path / "default.livesam.safetensors").info
    assert info.method == "paper"
    assert info.settings["lr"] > 0
    assert info.image_size == session.origin.spec.image_size


# Nothing is lost in silence


def test_a_kept_domain_serves_as_soon_as_it_is_entered(session, tmp_path):
    session.domain = "cells"
    with learn(session, "paper", keep=tmp_path, config=QUICK):
        finish_an_object(session)
    taught = session.slot.weights(session.slot.current)
    session.slot.rollback(0)
    session.domain = "default"
    with learn(session, "paper", keep=tmp_path, config=QUICK) as learner:
        assert learner.wait(60)
        assert session.slot.current == 0
        session.domain = "cells"
        assert learner.wait(60)
        served = session.slot.weights(session.slot.current)
        assert distance(served, taught) < 0.01 * distance(taught, session.slot.weights(0))


def test_another_domain_begins_at_the_base_whatever_serves(session):
    session.slot.publish(moved(session.slot.weights(0)))
    with learn(session, "paper", config=QUICK) as learner:
        session.domain = "another"
        assert learner.wait(60)
        assert distance(session.slot.weights(session.slot.current), session.slot.weights(0)) == 0


def test_a_damaged_domain_is_refused_when_it_is_entered(session, tmp_path):
    (tmp_path / "cells.livesam.safetensors").write_bytes(b"garbage")
    with learn(session, "paper", keep=tmp_path, config=QUICK):
        with pytest.raises(CheckpointError, match="damaged"):
            session.domain = "cells"
        assert session.domain == "default"


@pytest.mark.parametrize("device", ["tpu", "cuda:9"])
def test_a_device_that_is_not_here_is_refused(session, device):
    with pytest.raises((ValueError, RuntimeUnavailable), match=r"cuda|tpu"), learn(session, device=device):
        pass
    assert session.listeners.learner is None


def test_what_could_not_be_saved_or_served_is_said_at_the_end(session, tmp_path, monkeypatch):
    def refuse(weights):
        raise SwapError("not this one")

    def refused_publish():
        with learn(session, "paper", config=QUICK):
            finish_an_object(session)

    def refused_save():
        with learn(session, "paper", keep=tmp_path / "keep", config=QUICK):
            finish_an_object(session)
            shutil.rmtree(tmp_path / "keep")

    with pytest.raises(AdaptationError, match="could not be saved"):
        refused_save()
    monkeypatch.setattr(session.slot, "publish", refuse)
    with pytest.raises(AdaptationError, match="not this one"):
        refused_publish()


def test_counts_go_on_where_they_were(session, tmp_path):
    for objects in (2, 1):
        with learn(session, "paper", keep=tmp_path, config=QUICK):
            for _ in range(objects):
                finish_an_object(session)
    first = read_adapted(tmp_path / "default.livesam.safetensors").info.counts
    with learn(session, "paper", keep=tmp_path, config=QUICK) as learner:
        assert learner.wait(60)
        assert dict(learner.info().counts) == dict(first)
    assert dict(session.provenance.counts) == dict(first)
    assert max(first.values()) >= 3


def test_an_object_stays_of_the_domain_in_which_it_was_begun(session):
    told = []
    session.on_interaction = told.append
    session.click(30, 30)
    session.domain = "another"
    session.reset()
    session.click(30, 30)
    session.accept()
    assert [(i.domain, i.over) for i in told] == [
        ("default", False), ("default", True), ("another", False), ("another", True),
    ]  # fmt: skip


def test_a_look_that_is_set_inside_the_block_stays(session):
    with learn(session, config=QUICK):
        session.look = Look(edges=True)
        assert session.look.obey, "live obeys whatever is set"
    assert session.look == Look(edges=True)


def test_after_the_block_and_on_a_closed_session_calls_say_so(origin):
    slot = DecoderSlot(TorchGraph(origin.model), decoder_weights(origin.model))
    session = Session(TorchEncoder(origin.model), slot, origin=origin)
    with learn(session, "paper", config=QUICK) as learner:
        pass
    for call in (lambda: learner.rollback(0), learner.pause, learner.resume):
        with pytest.raises(SessionError, match="has ended"):
            call()
    session.close()
    with pytest.raises(SessionError, match="closed"), learn(session):
        pass
