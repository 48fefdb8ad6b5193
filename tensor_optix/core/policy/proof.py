"""Is a variant better than the control that had as many steps? Pure decisions on scores that share their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tensor_optix.core.comparison import Comparison, student_quantile
from tensor_optix.core.selection import CONFIRMING_T, MIN_PAIRS, is_better

MAX_PAIRS = 30
FALSE_ADOPTIONS = 0.05
"""Probability that, over all spawns of a run, a variant is adopted that is no better than its control."""


@dataclass(frozen=True)
class Proof:
    """comparison: variant against control, on ``n_pairs`` common seeds; threshold: of t. is_adopted: it is above."""

    n_pairs: int
    comparison: Comparison
    threshold: float
    is_adopted: bool

    @property
    def gain(self) -> float:
        """Mean score of the variant less that of the control: what spawning gained."""
        return self.comparison.difference

    @property
    def text(self) -> str:
        """For people."""
        if not self.n_pairs:
            return "not compared: the steps that a trial may use paid for no pair of episodes"
        if self.n_pairs < MIN_PAIRS:
            return (
                f"not compared enough: {self.gain:+g} against its control on {self.n_pairs} common seeds, "
                f"of which {MIN_PAIRS} are needed"
            )
        verdict = "adopted" if self.is_adopted else "not proven better"
        return (
            f"{verdict}: {self.gain:+g} against its control on {self.n_pairs} common seeds "
            f"(t = {self.comparison.t:.1f}, {self.threshold:.1f} needed)"
        )


def proof_of(
    variant: Sequence[float], control: Sequence[float], *, spawn: int, max_spawns: int | None
) -> Proof:
    """variant, control: [n], the scores on the same seeds; spawn: 1 for the first variant of a run.

    Fewer than MIN_PAIRS prove nothing.
    """
    n_pairs = len(variant)
    if not n_pairs:
        return Proof(0, Comparison(0.0, 0.0, 0.0, 1.0), CONFIRMING_T, False)
    threshold = threshold_of(n_pairs, spawn=spawn, max_spawns=max_spawns)
    duel = is_better(variant, control, threshold=threshold)
    return Proof(n_pairs, duel.comparison, threshold, duel.is_proven)


@cache
def threshold_of(n_pairs: int, *, spawn: int, max_spawns: int | None) -> float:
    """One-sided t, 2 at least, so that all spawns together adopt by chance in one run of twenty at most.

    Each of n spawns gets a share α/n; without a known number the k-th gets α / (k (k + 1)), which adds up to α.
    """
    share = FALSE_ADOPTIONS / (max_spawns if max_spawns else spawn * (spawn + 1))
    return max(CONFIRMING_T, student_quantile(1 - share, max(n_pairs, MIN_PAIRS) - 1))
