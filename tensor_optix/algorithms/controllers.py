"""Controllers on what an algorithm measures of itself: dense, free, and each a bounded factor on a base value.

The learning rate is always theirs. A clip range or an entropy coefficient is only where it lies outside the range that
a tuner explores: there it is brought back, inside that range it is the tuner's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tensor_optix.algorithms.spaces import PPO_SPACE

KL_MEMORY = 0.5
LARGEST_KL = 10.0
"""One window counts as at most so many targets: from one that overflowed the mean would never come back."""
FACTOR_STEP = 1.5
MIN_FACTOR, MAX_FACTOR = 1 / 30, 10.0
MIN_RATE, MAX_RATE = 1e-5, 1e-3
"""The effective learning rate stays between these, or at the user's own value where that lies beyond."""

FLAT_SIGNAL = 0.1
"""Advantages that spread less than this share of the widest spread seen teach nothing more: no reason to hurry."""


@dataclass(frozen=True)
class KLRate:
    """Keeps the policy's change per window near a target, by a factor on the learning rate.

    As robotics learners do (Rudin et al. 2022): above 2 · target the rate falls by 1.5, below target / 2 it rises by
    1.5. The KL divergence is an exponential mean over windows, so that one window alone decides nothing twice.
    """

    factor: float = 1.0
    kl: float | None = None
    widest_signal: float = 0.0
    base: float = 0.0

    def after(
        self, kl: float, *, target: float, base: float, signal: float, is_held_back: bool = False
    ) -> KLRate:
        """The factor for the next window.

        kl: mean KL(π_old ‖ π) of this window's last epoch; base: the learning rate that the factor multiplies;
        signal: the spread of this window's advantages, before any normalisation; is_held_back: the clip range keeps
        the policy where it is (``ClipWidth``), which no rate can change. While the base falls (a schedule, a
        cool-down) the factor does not rise: that would undo it.
        """
        mean = self._mean_with(kl, target)
        widest = max(self.widest_signal, signal)
        step = 1.0
        if mean > 2 * target:
            step = 1 / FACTOR_STEP
        elif mean < target / 2 and signal > FLAT_SIGNAL * widest and base >= self.base and not is_held_back:
            step = FACTOR_STEP
        factor = min(max(self.factor * step, MIN_FACTOR), MAX_FACTOR)
        low, high = min(MIN_RATE, base), max(MAX_RATE, base)
        factor = min(max(factor, low / base), high / base) if base > 0 else factor
        return KLRate(factor, mean, widest, base)

    def _mean_with(self, kl: float, target: float) -> float:
        seen = kl if kl < LARGEST_KL * target else LARGEST_KL * target  # not min(): NaN counts as large
        return seen if self.kl is None else KL_MEMORY * self.kl + (1 - KL_MEMORY) * seen


SMALLEST_CLIP = PPO_SPACE.tuner_bounds["clip_ratio"][0]
USUAL_CLIP = 0.2

BINDING = 0.2
"""From this share of clipped rows on, the clip range decides how far the policy moves, not the learning rate. At the
usual range and a divergence on target it is 5 to 15 %; at a range of 0.02 it was 30 to 60 %."""


@dataclass(frozen=True)
class ClipWidth:
    """Widens a clip range below 0.1, by a factor on it.

    Where the divergence stays below half the target although many rows are clipped, the range grows by 1.5, up to
    0.2; where it is above twice the target, it falls back by 1.5, down to its base.
    """

    factor: float = 1.0

    def holds_back(self, kl: float, clip_fraction: float, *, target: float, base: float) -> bool:
        """Whether this window's policy would have moved further in a wider range that is still to be had."""
        return kl < target / 2 and clip_fraction > BINDING and self.factor < _widest(base)

    def after(self, kl: float, clip_fraction: float, *, target: float, base: float) -> ClipWidth:
        """The factor for the next window; kl as for ``KLRate``; clip_fraction: of the same epoch; base: the range."""
        step = 1.0
        if self.holds_back(kl, clip_fraction, target=target, base=base):
            step = FACTOR_STEP
        elif not kl <= 2 * target:  # NaN counts as large
            step = 1 / FACTOR_STEP
        return ClipWidth(min(max(self.factor * step, 1.0), _widest(base)))


def _widest(base: float) -> float:
    return USUAL_CLIP / base if base < SMALLEST_CLIP else 1.0


LARGEST_ENTROPY_COEF = PPO_SPACE.tuner_bounds["entropy_coef"][1]
USUAL_ENTROPY_COEF = 0.03
"""The floor raises a coefficient to this at most, the ceiling lowers one to this at least. Advantages have a deviation
of 1, so that it means about the same on every task."""

LOW_ENTROPY, SAFE_ENTROPY, HIGH_ENTROPY = 0.02, 0.1, 0.7
HIGH_WINDOWS = 5
"""Every policy begins with an entropy near its maximum; only one that stays there so long is held there."""


@dataclass(frozen=True)
class EntropyGuard:
    """Keeps a discrete policy from falling silent and from staying random, by a factor on the entropy coefficient.

    Below 2 % of the largest possible entropy the coefficient doubles, up to 0.03; above 10 % it halves back to its
    base. A coefficient above 0.05 halves, down to 0.03, once the entropy has been above 70 % for 5 windows, and
    doubles back to its base below 10 %. (Differential entropy has no such scale: continuous policies have no guard.)
    """

    factor: float = 1.0
    high_windows: int = 0

    def after(self, share: float, *, base: float) -> EntropyGuard:
        """The factor for the next window; share: entropy over ln(number of actions); base: the coefficient."""
        if base <= 0:
            return EntropyGuard()
        high = self.high_windows + 1 if share > HIGH_ENTROPY else 0
        lowest = USUAL_ENTROPY_COEF / base if base > LARGEST_ENTROPY_COEF else 1.0
        if share < SAFE_ENTROPY:
            highest = max(USUAL_ENTROPY_COEF / base, 1.0) if share < LOW_ENTROPY else max(self.factor, 1.0)
            return EntropyGuard(min(2 * self.factor, highest))
        if self.factor > 1.0:
            return EntropyGuard(max(self.factor / 2, 1.0), high)
        return EntropyGuard(max(self.factor / 2, lowest) if high >= HIGH_WINDOWS else self.factor, high)


@dataclass(frozen=True)
class PPOControl:
    """All controllers of a PPO agent. Each owns one factor; what is in force is base times factor."""

    rate: KLRate = field(default_factory=KLRate)
    clip: ClipWidth = field(default_factory=ClipWidth)
    entropy: EntropyGuard = field(default_factory=EntropyGuard)

    def in_force(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """``base``, with the factors on it."""
        factors = {
            "learning_rate": self.rate.factor, "clip_ratio": self.clip.factor, "entropy_coef": self.entropy.factor,
        }  # fmt: skip
        return {**base, **{name: base[name] * factor for name, factor in factors.items()}}

    def after(
        self, diagnostics: Mapping[str, float], base: Mapping[str, Any], *, signal: float, largest_entropy: float
    ) -> PPOControl:
        """The controllers for the next window.

        diagnostics: of this one's updates; signal: see ``KLRate``; largest_entropy: 0 where there is none.
        """
        kl, clipped, target = diagnostics["approx_kl"], diagnostics["clip_fraction"], base["target_kl"]
        is_held_back = self.clip.holds_back(kl, clipped, target=target, base=base["clip_ratio"])
        entropy = self.entropy
        if largest_entropy > 0:
            entropy = entropy.after(diagnostics["entropy"] / largest_entropy, base=base["entropy_coef"])
        return PPOControl(
            self.rate.after(kl, target=target, base=base["learning_rate"], signal=signal, is_held_back=is_held_back),
            self.clip.after(kl, clipped, target=target, base=base["clip_ratio"]),
            entropy,
        )

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PPOControl:
        """The inverse of ``state_dict``."""
        return cls(KLRate(**state["rate"]), ClipWidth(**state["clip"]), EntropyGuard(**state["entropy"]))


def controlled(base: Mapping[str, Any], *, is_discrete: bool) -> list[str]:
    """Which of these hyperparameters of PPO controllers own, so that no tuner may touch them."""
    if not base.get("target_kl"):
        return []
    is_owned = {
        "learning_rate": True,
        "clip_ratio": base["clip_ratio"] < SMALLEST_CLIP,
        "entropy_coef": is_discrete and base["entropy_coef"] > LARGEST_ENTROPY_COEF,
    }
    return [name for name, owned in is_owned.items() if owned]
