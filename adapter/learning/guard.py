"""What stands between a learning step and the decoder that serves.

Four lines of defence, each counted:

1. ``StepGuard``: a step is taken only if loss and gradient are finite, the gradient is clipped, and the weights never
   leave a ball around the base (the trust region); NaN weights go back to the last good ones.
2. ``ReplayGate``: accepted masks that are held back from training. Weights that are no better on them than the base,
   or worse than the weights before, do not serve: without a gain to show for it no change is worth its risk. Until
   there is such a mask (the third that is accepted) everything passes.
3. ``CircuitBreaker``: after several candidates in a row that were worse than the base nothing is learned for a while.
4. The decoder slot (``livesam.engine.serving.slot``) keeps versions: everything that was published can be taken back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Limits of the guard.

    Attributes:
        max_gradient_norm: longer gradients are scaled to this L2 length.
        trust_region: the weights' largest L2 distance from the base, relative to the base's L2 norm.
        held_back: how many accepted masks the gate keeps.
        hold_every: of so many accepted masks one goes to the gate; it is learned from when it leaves the gate.
        worse_than_before: how much IoU a candidate may lose against the weights before, as a mean over the held-back
            masks on which nothing but losses count.
        worse_than_base: how much it may lose against the base, counted alike.
        gain: how much it must gain against the base on the mean; without that, masks of noise that were shown and
            accepted spoil the decoder bit by bit.
        slack: how much it may lose against the weights before on the mean, so that four masks' luck does not keep out
            what was learned since.
        rejects: after so many candidates in a row that were worse than the base the breaker opens.
        pause: interactions without learning while the breaker is open.
    """

    max_gradient_norm: float = 1.0
    trust_region: float = 0.2
    held_back: int = 4
    hold_every: int = 5
    worse_than_before: float = 0.06
    worse_than_base: float = 0.02
    gain: float = 0.01
    slack: float = 0.01
    rejects: int = 4
    pause: int = 10

    def __post_init__(self) -> None:
        if min(self.max_gradient_norm, self.trust_region) <= 0 or min(self.held_back, self.hold_every) < 1:
            raise ValueError(f"norms must be above 0 and held_back and hold_every at least 1, got {self}")


@dataclass(slots=True)
class StepGuard:
    """Checks one vector of weights step by step.

    Attributes:
        base: the centre of the trust region, ``(n,)``.
        counts: ``bad_loss``, ``bad_gradient``, ``clipped``, ``pulled_back``, ``bad_weights``.
    """

    base: Tensor
    config: GuardConfig
    counts: Counter[str] = field(default_factory=Counter)
    _radius: float = 0.0

    def __post_init__(self) -> None:
        self._radius = self.config.trust_region * max(float(torch.linalg.vector_norm(self.base)), 1e-12)

    def loss_is_good(self, loss: Tensor) -> bool:
        """Whether it is finite; if not, nothing may be stepped."""
        good = bool(torch.isfinite(loss.detach()).all())
        self.counts["bad_loss"] += not good
        return good

    def clip(self, gradient: Tensor) -> bool:
        """Scale the gradient in place to the allowed length; False where it is not finite: drop the step."""
        norm = float(torch.linalg.vector_norm(gradient))
        if not norm < float("inf"):  # NaN too
            self.counts["bad_gradient"] += 1
            return False
        if norm > self.config.max_gradient_norm:
            self.counts["clipped"] += 1
            gradient.mul_(self.config.max_gradient_norm / norm)
        return True

    def hold(self, vector: Tensor) -> bool:
        """Pull weights back into the trust region, in place; False where they are not finite: restore older ones."""
        offset = vector - self.base
        distance = float(torch.linalg.vector_norm(offset))
        if not distance < float("inf"):
            self.counts["bad_weights"] += 1
            return False
        if distance > self._radius:
            self.counts["pulled_back"] += 1
            torch.add(self.base, offset, alpha=self._radius / distance, out=vector)
        return True

    def distance(self, vector: Tensor) -> float:
        """L2 distance from the base relative to the base's norm."""
        return float(torch.linalg.vector_norm(vector - self.base)) * self.config.trust_region / self._radius


class ReplayGate(Generic[T]):
    """Accepted objects that training does not see, oldest first; they judge candidates.

    Attributes:
        counts: ``passed``, ``rejected_base``, ``rejected_before``, ``no_gain``.
    """

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self._held: deque[T] = deque()
        self._seen = 0

    def offer(self, item: T) -> T | None:
        """Take every n-th accepted object; returns what may be learned: the item, one that leaves the gate, or None."""
        self._seen += 1
        # The third one is the first to be held back: the first ones are more use in training.
        if self._seen % self.config.hold_every != 3 % self.config.hold_every:
            return item
        self._held.append(item)
        return self._held.popleft() if len(self._held) > self.config.held_back else None

    @property
    def held(self) -> tuple[T, ...]:
        """The held-back objects."""
        return tuple(self._held)

    def passes(self, candidate: Sequence[float], before: Sequence[float], base: Sequence[float]) -> bool:
        """Whether a candidate is worth serving, by the IoU of each held-back object; without objects everything is.

        Losses are added up without the gains: a burst from another domain may not be paid for with the first one. And
        on the mean there must be a gain on the base.
        """
        if not self.good_enough(candidate, base):
            self.counts["rejected_base"] += 1
            return False
        if not _mean_loss(candidate, before) <= self.config.worse_than_before:
            self.counts["rejected_before"] += 1
            return False
        needed = max(sum(base) + self.config.gain * len(candidate), sum(before) - self.config.slack * len(candidate))
        if candidate and not sum(candidate) >= needed:
            self.counts["no_gain"] += 1
            return False
        self.counts["passed"] += 1
        return True

    def good_enough(self, candidate: Sequence[float], base: Sequence[float]) -> bool:
        """Whether weights lose no more against the base than they may."""
        return _mean_loss(candidate, base) <= self.config.worse_than_base

    def clear(self) -> None:
        self._held.clear()
        self._seen = 0
        self.counts.clear()


class CircuitBreaker:
    """Closed: learning goes on. Opens after ``rejects`` bad candidates in a row, for ``pause`` interactions.

    Attributes:
        counts: ``opened``, ``refused`` (interactions that were not learned from).
    """

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self._in_a_row = 0
        self._left = 0

    @property
    def is_open(self) -> bool:
        return self._left > 0

    def allows(self) -> bool:
        """Asked once an interaction: may it be learned from?"""
        if self._left == 0:
            return True
        self._left -= 1
        self.counts["refused"] += 1
        return False

    def record(self, good: bool) -> None:
        """A candidate passed the gate, or was worse than the base; what is neither changes nothing."""
        self._in_a_row = 0 if good else self._in_a_row + 1
        if self._in_a_row >= self.config.rejects:
            self._in_a_row, self._left = 0, self.config.pause
            self.counts["opened"] += 1

    def clear(self) -> None:
        self._in_a_row = self._left = 0
        self.counts.clear()


def _mean_loss(candidate: Sequence[float], reference: Sequence[float]) -> float:
    """How much is lost on average where something is lost; infinite if a score is NaN."""
    losses = [max(r - c, 0.0) if c == c else float("inf") for c, r in zip(candidate, reference, strict=True)]
    return sum(losses) / len(losses) if losses else 0.0
