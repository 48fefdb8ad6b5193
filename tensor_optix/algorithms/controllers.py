"""Controllers on what an algorithm measures of itself: dense, free, and each a bounded factor on a base value."""

from __future__ import annotations

from dataclasses import dataclass

KL_MEMORY = 0.5
LARGEST_KL = 10.0
"""One window counts as at most so many targets: from one that overflowed the mean would never come back."""
FACTOR_STEP = 1.5
MIN_FACTOR, MAX_FACTOR = 1 / 30, 10.0
MIN_RATE, MAX_RATE = 1e-5, 3e-3
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

    def after(self, kl: float, *, target: float, base: float, signal: float) -> KLRate:
        """The factor for the next window.

        kl: mean KL(π_old ‖ π) of this window's last epoch; base: the learning rate that the factor multiplies;
        signal: the spread of this window's advantages, before any normalisation. While the base falls (a schedule, a
        cool-down) the factor does not rise: that would undo it.
        """
        seen = kl if kl < LARGEST_KL * target else LARGEST_KL * target  # not min(): NaN counts as large
        mean = seen if self.kl is None else KL_MEMORY * self.kl + (1 - KL_MEMORY) * seen
        widest = max(self.widest_signal, signal)
        step = 1.0
        if mean > 2 * target:
            step = 1 / FACTOR_STEP
        elif mean < target / 2 and signal > FLAT_SIGNAL * widest and base >= self.base:
            step = FACTOR_STEP
        factor = min(max(self.factor * step, MIN_FACTOR), MAX_FACTOR)
        low, high = min(MIN_RATE, base), max(MAX_RATE, base)
        factor = min(max(factor, low / base), high / base) if base > 0 else factor
        return KLRate(factor, mean, widest, base)


LOW_ENTROPY, SAFE_ENTROPY = 0.02, 0.1
MAX_ENTROPY_COEF = 0.03


@dataclass(frozen=True)
class EntropyFloor:
    """Keeps a discrete policy from falling silent, by a factor on the entropy coefficient.

    Below 2 % of the largest possible entropy the coefficient doubles, up to 0.03; above 10 % it halves back to its
    base. (Differential entropy has no such scale: continuous policies have no floor.)
    """

    factor: float = 1.0

    def after(self, share: float, *, base: float) -> EntropyFloor:
        """The factor for the next window; share: entropy over ln(number of actions); base: the coefficient."""
        if share < LOW_ENTROPY and base > 0:
            return EntropyFloor(max(1.0, min(2 * self.factor, MAX_ENTROPY_COEF / base)))
        if share > SAFE_ENTROPY:
            return EntropyFloor(max(1.0, self.factor / 2))
        return self
