"""What does a series of scores say at one check: is learning over, and how much doubt about that is left?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tensor_optix.core.curve_posterior import curve_posterior
from tensor_optix.core.statistics import learned_range, recent_gain, recent_noise_sd, winsorised

FIRST_CHECK = 10
GRID = 1.05  # checks are 5 % of the series apart: few looks, few chances to be wrong

SHARE_LEFT = 0.05  # ε: a rise this small, in units of the range learned, is not worth going on for
CONFIDENCE = 0.83  # of every check; what is left to doubt must be gone over checks in a row
DOUBT_LEFT = 0.0075  # the doubts 1 - P of checks in a row multiply to less: .993 once, .914 twice, .83 three times
RECENT = 0.4  # φ: share of the scores in which neither gain nor fall may be seen
NOISE_TOLERANCE = 1.0  # in units of σ̂: a gain smaller than this cannot be told from none in a bounded time
FALL_TOLERANCE = 0.65  # of the tolerance for gains: scores that have fallen this far are in a dip, and may come back
SMALLEST_DOUBT = 1e-4  # no check is surer than that
ONE_SIDED_95 = 1.64
MIN_LOG_EVIDENCE = 6.0
MIN_RANGE_ERRORS = 4.0


@dataclass(frozen=True)
class Evidence:
    """What a series of scores says at one check.

    p_done: probability that no more than 5 % of the rise is left; log_evidence: of learning over none; range, error:
    R learned and its standard error; noise: σ̂ of one score; gain, bound: what the last scores gained, and at most
    gained; tolerance: the gain that counts as none.
    """

    p_done: float = 0.0
    log_evidence: float = 0.0
    range: float = 0.0
    error: float = 0.0
    noise: float = 0.0
    gain: float = 0.0
    bound: float = 0.0
    tolerance: float = 0.0

    @property
    def has_learned(self) -> bool:
        """The learned guard: a curve explains the scores far better than none, and the range is no accident."""
        return self.log_evidence > MIN_LOG_EVIDENCE and self.range > MIN_RANGE_ERRORS * self.error

    @property
    def is_flat(self) -> bool:
        """The non-inferiority guard: not "no gain was seen" but "a gain worth having would have been seen"."""
        return self.bound < self.tolerance

    @property
    def has_dipped(self) -> bool:
        """The last scores lie lower: what a policy loses it often regains, so that this is no plateau either."""
        return self.gain <= -FALL_TOLERANCE * self.tolerance

    @property
    def is_rising(self) -> bool:
        """The last scores gained more than their noise explains."""
        return 2 * self.gain > self.bound

    @property
    def is_done(self) -> bool:
        return self.has_learned and self.is_flat and not self.has_dipped and self.p_done >= CONFIDENCE

    def doubt_after(self, before: float) -> float:
        """Product of the doubts of the checks in a row that found the run done, this one's included; 1 if it did not.

        Successive checks see nearly the same scores, so this is no probability: it asks that one be very sure or
        several be sure.
        """
        return before * max(1 - self.p_done, SMALLEST_DOUBT) if self.is_done else 1.0


def weigh(scores: list[float], *, smallest_gain: float = 0.0) -> Evidence:
    """The evidence in at least FIRST_CHECK scores, oldest first. smallest_gain: nothing below it is worth having.

    gain bound: g + 1.64 · 1.25 se(g),    tolerance: max(0.05 R, σ̂, smallest_gain)
    """
    y = winsorised(scores)
    noise = recent_noise_sd(y)
    learned, _ = learned_range(y, noise)
    noise = max(noise, 0.01 * learned)
    learned, error = learned_range(y, noise)
    gain, gain_error = recent_gain(y, RECENT, noise)
    posterior = curve_posterior(y, share_left=SHARE_LEFT)
    bound = gain + ONE_SIDED_95 * 1.25 * gain_error
    tolerance = max(SHARE_LEFT * learned, NOISE_TOLERANCE * noise, smallest_gain)
    return Evidence(posterior.p_done, posterior.log_evidence, learned, error, noise, gain, bound, tolerance)


def next_check(tick: int) -> int:
    """The tick of the check after the one at ``tick``."""
    return max(FIRST_CHECK, tick + 1, math.ceil(GRID * tick))
