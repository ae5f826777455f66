"""Optimiser and guard, one rule at a time."""

import pytest
import torch
from livesam.adapter.learning.guard import CircuitBreaker, GuardConfig, ReplayGate, StepGuard
from livesam.adapter.optimiser import Adam


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_by_its_formula(weight_decay):
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(50, generator=generator)
    vector.grad = torch.zeros(50)
    adam = Adam(vector, 1e-2, weight_decay=weight_decay)
    expected = vector.double()
    first = second = torch.zeros(50, dtype=torch.float64)
    for t in range(1, 6):
        vector.grad.copy_(torch.randn(50, generator=generator))
        adam.step()
        gradient = vector.grad.double()
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        expected = expected * (1 - 1e-2 * weight_decay) - 1e-2 * step
        assert torch.allclose(vector.double(), expected, atol=1e-5)


def test_adam_state_comes_back_exactly():
    vector = torch.ones(4)
    vector.grad = torch.tensor([1.0, -1.0, 2.0, 0.0])
    adam = Adam(vector, 0.1)
    adam.step()
    weights, state = vector.clone(), adam.state()
    vector.grad.fill_(1)
    adam.step()
    expected = vector.clone()
    vector.grad.fill_(-1)
    adam.step()
    vector.copy_(weights)
    adam.restore(state)
    vector.grad.fill_(1)
    adam.step()
    assert torch.equal(vector, expected)
    adam.clear()
    vector.zero_()
    vector.grad.fill_(1e-4)
    adam.step()
    assert torch.allclose(vector, torch.full((4,), -0.1), rtol=1e-3)  # a first step is one rate long


def test_bad_losses_and_gradients_are_refused_and_counted():
    guard = StepGuard(torch.ones(3), GuardConfig(max_gradient_norm=2.0))
    assert guard.loss_is_good(torch.tensor(1.0))
    assert not guard.loss_is_good(torch.tensor(float("nan")))
    assert not guard.loss_is_good(torch.tensor(float("inf")))
    for bad in (float("nan"), float("inf")):
        assert not guard.clip(torch.tensor([1.0, bad, 0.0]))
    short, long = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 30.0, 40.0])
    assert guard.clip(short)
    assert torch.equal(short, torch.tensor([1.0, 0.0, 1.0]))
    assert guard.clip(long)
    assert torch.allclose(long, torch.tensor([0.0, 1.2, 1.6]))
    assert guard.counts == {"bad_loss": 2, "bad_gradient": 2, "clipped": 1}


def test_weights_stay_in_the_trust_region():
    base = torch.tensor([3.0, 4.0])
    guard = StepGuard(base, GuardConfig(trust_region=0.2))
    inside = base + torch.tensor([0.5, 0.0])
    assert guard.hold(inside)
    assert torch.equal(inside, torch.tensor([3.5, 4.0]))
    far = base + torch.tensor([0.0, 100.0])
    assert guard.hold(far)
    assert torch.allclose(far, torch.tensor([3.0, 5.0]))
    assert guard.distance(far) == pytest.approx(0.2, rel=1e-5)
    assert not guard.hold(torch.tensor([float("nan"), 0.0]))
    assert guard.counts["pulled_back"] == 1
    assert guard.counts["bad_weights"] == 1


def test_gate_holds_back_every_nth_and_gives_it_back_later():
    gate = ReplayGate[int](GuardConfig(held_back=2, hold_every=3))
    learned = [gate.offer(i) for i in range(1, 10)]
    assert learned == [1, 2, None, 4, 5, None, 7, 8, 3]
    assert gate.held == (6, 9)
    gate.clear()
    assert gate.held == ()


def test_gate_with_every_object_held_back():
    gate = ReplayGate[int](GuardConfig(held_back=2, hold_every=1))
    assert [gate.offer(i) for i in range(4)] == [None, None, 0, 1]


def test_gate_wants_a_gain_on_the_base_and_no_loss_to_before():
    limits = GuardConfig(gain=0.02, slack=0.01, worse_than_before=0.05, worse_than_base=0.01)
    gate = ReplayGate[int](limits)
    assert gate.passes([], [], [])
    assert gate.passes([0.86, 0.9], before=[0.81, 0.9], base=[0.70, 0.9])
    assert gate.passes([0.80, 0.9], before=[0.81, 0.9], base=[0.70, 0.8])  # within the slack
    assert not gate.passes([0.78, 0.9], before=[0.81, 0.9], base=[0.70, 0.8])
    assert not gate.passes([0.83, 0.9], before=[0.80, 0.9], base=[0.80, 0.9])
    assert not gate.passes([0.80, 0.9], before=[0.60, 0.9], base=[0.83, 0.9])
    assert not gate.passes([float("nan"), 0.9], before=[0.8, 0.9], base=[0.8, 0.9])
    # what was learned of one domain is not given away for another
    assert not gate.passes([0.55, 0.55, 0.55, 0.95], before=[0.8, 0.8, 0.8, 0.1], base=[0.5, 0.5, 0.5, 0.05])
    assert gate.counts == {"passed": 3, "no_gain": 2, "rejected_base": 2, "rejected_before": 1}


def test_gains_on_one_object_do_not_pay_for_losses_on_another():
    gate = ReplayGate[int](GuardConfig(worse_than_base=0.01))
    assert not gate.passes([0.95, 0.70], before=[0.5, 0.75], base=[0.5, 0.75])
    assert gate.counts == {"rejected_base": 1}


def test_breaker_opens_after_rejects_in_a_row_and_closes_again():
    breaker = CircuitBreaker(GuardConfig(rejects=2, pause=3))
    for passed in (False, True, False):
        assert breaker.allows()
        breaker.record(passed)
    assert not breaker.is_open
    breaker.record(False)
    assert breaker.is_open
    assert [breaker.allows() for _ in range(4)] == [False, False, False, True]
    assert breaker.counts == {"opened": 1, "refused": 3}


def test_limits_must_make_sense():
    with pytest.raises(ValueError, match="above 0"):
        GuardConfig(trust_region=0)
