"""Which of the policies scored so far is best, without falling for the luckiest? Pure decisions.

The largest of many noisy scores over-reports by much. So: keep by posterior mean, let the most promising few compete
on fresh seeds that they share, and report from seeds that were never used for choosing (``final_evaluation``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.comparison import Comparison, paired_test
from tensor_optix.core.statistics import Floats

N_CANDIDATES = 4
N_EVALUATIONS = 16  # in all, over the rounds of a confirmation
CONFIRMING_T = 2.0  # one-sided paired t beyond which a difference counts
MIN_PAIRS = 10


Evaluate = Callable[[int, Sequence[int]], Sequence[float]]


@dataclass(frozen=True)
class Halving:
    """winner: its key; means: of every candidate that was evaluated; seeds: all that were used; rounds: the keys
    that took part in each."""

    winner: int
    means: dict[int, float]
    seeds: tuple[int, ...]
    rounds: tuple[tuple[int, ...], ...]


def sequential_halving(
    candidates: Sequence[int], evaluate: Evaluate, seeds: Sequence[int], *, n_evaluations: int = N_EVALUATIONS
) -> Halving:
    """Rounds in which all survivors are evaluated on the same fresh seeds and the better half goes on (Karnin 2013).

    candidates: keys, the most promising first (it wins ties). evaluate(key, seeds): one score a seed, the same seeds
    for all that take part in a round. seeds: fresh ones, as many as ``seeds_needed`` says.
    """
    survivors, used = list(candidates), 0
    scores: dict[int, list[float]] = {key: [] for key in candidates}
    rounds: list[tuple[int, ...]] = []
    for n_seeds in halving_schedule(len(candidates), n_evaluations):
        block = seeds[used : used + n_seeds]
        used += n_seeds
        rounds.append(tuple(survivors))
        for key in survivors:
            scores[key] += [float(score) for score in evaluate(key, block)]
        survivors.sort(key=lambda key: -_mean(scores[key]))  # a stable sort: ties keep their order
        survivors = survivors[: math.ceil(len(survivors) / 2)]
    means = {key: _mean(values) for key, values in scores.items() if values}
    return Halving(survivors[0], means, tuple(seeds[:used]), tuple(rounds))


def halving_schedule(n_candidates: int, n_evaluations: int = N_EVALUATIONS) -> list[int]:
    """Seeds in each round: every round costs about the same, at least one seed. One candidate needs none.

    Four candidates, 16 evaluations: [2, 4]: 4 x 2 evaluations, then 2 x 4.
    """
    n_rounds = math.ceil(math.log2(n_candidates)) if n_candidates > 1 else 0
    survivors, schedule = n_candidates, []
    for _ in range(n_rounds):
        schedule.append(max(1, n_evaluations // (n_rounds * survivors)))
        survivors = math.ceil(survivors / 2)
    return schedule


def seeds_needed(n_candidates: int, n_evaluations: int = N_EVALUATIONS) -> int:
    """How many fresh seeds ``sequential_halving`` uses."""
    return sum(halving_schedule(n_candidates, n_evaluations))


# -- one against another ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Duel:
    """What a paired comparison on common seeds decided: ``is_proven`` when the first is better beyond chance."""

    comparison: Comparison
    is_proven: bool


def is_better(first: Sequence[float], second: Sequence[float], *, threshold: float = CONFIRMING_T) -> Duel:
    """first, second: [n], the scores of two policies on the same seeds. Fewer than MIN_PAIRS prove nothing."""
    if len(first) != len(second):
        raise ValueError(f"a paired comparison needs as many scores of both, got {len(first)} and {len(second)}")
    if len(first) < MIN_PAIRS:
        return Duel(Comparison(float(np.mean(first) - np.mean(second)), 0.0, 0.0, 1.0), False)
    comparison = paired_test(first, second)
    return Duel(comparison, comparison.t > threshold)


@dataclass(frozen=True)
class DegradationDecision:
    """is_confirmed: the present policy is worse than the best one; explanation: on what grounds."""

    is_confirmed: bool
    explanation: str


def confirm_degradation(best: Sequence[float], now: Sequence[float]) -> DegradationDecision:
    """After an alarm: is the best policy really better? best, now: their scores on the same fresh seeds."""
    duel = is_better(best, now)
    test = duel.comparison
    finding = f"the best policy scores {test.difference:g} more on {len(best)} common seeds (t = {test.t:.1f})"
    return DegradationDecision(duel.is_proven, finding)


def confirm_without_evaluation(total: float, threshold: float) -> DegradationDecision:
    """Where no evaluation episodes are to be had, an alarm that persists (twice its threshold) must do."""
    return DegradationDecision(total > 2 * threshold, f"the alarm stands at {total:.1f} (fires at {threshold:g})")


def _mean(values: Sequence[float] | Floats) -> float:
    return float(np.mean(values))
