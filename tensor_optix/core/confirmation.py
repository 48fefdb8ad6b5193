"""Which of the best few policies is the best, on fresh seeds that they share?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.final_evaluation import MAX_EVALUATION_STEPS, FinalEvaluation
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.selection import N_CANDIDATES, Halving, seeds_needed, sequential_halving
from tensor_optix.core.statistics import level_at
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.errors import CheckpointError

Series = Sequence[tuple[int, float]]
"""(window, score) of the policies that were scored, oldest first."""


class CannotCompare(Exception):
    """Not all candidates could be evaluated; the message says why."""


@dataclass(frozen=True)
class Confirmed:
    """The winner and its mean score in the comparison, with an account for people and the numbers behind it."""

    snapshot: PolicySnapshot
    mean: float
    text: str
    evidence: dict[str, Any]


class Confirmation:
    """Sequential halving over the most promising snapshots of a registry."""

    def __init__(self, registry: CheckpointRegistry, evaluation: FinalEvaluation, streams: RandomStreams) -> None:
        self._registry = registry
        self._evaluation = evaluation
        self._streams = streams

    def winner(
        self, agent: BaseAgent, series: Series, averaged: PolicySnapshot | None = None
    ) -> Confirmed | None:
        """The snapshot that wins; None where there is nothing to compare or no way to do it (``notes`` say so).

        averaged: takes part whatever its score.
        ``agent`` plays all of them; which policy is in it afterwards is not said.
        """
        scored = [snapshot for snapshot in self._registry.snapshots if snapshot != averaged]
        candidates = promising(scored, series)[: N_CANDIDATES - (averaged is not None)]
        candidates += [averaged] if averaged is not None else []
        if len(candidates) < 2:
            return None
        by_key = {int(snapshot.snapshot_id): snapshot for snapshot in candidates}

        def evaluate(key: int, seeds: Sequence[int]) -> list[float]:
            self._registry.load(agent, by_key[key])
            return [self._score(agent, seed) for seed in seeds]

        rng = self._streams.stream("confirmation")
        seeds = [int(seed) for seed in rng.integers(2**31, size=seeds_needed(len(by_key)))]
        try:
            halving = sequential_halving(list(by_key), evaluate, seeds)
        except (CannotCompare, CheckpointError) as error:
            self._evaluation.notes.append(f"the best policies were not compared on fresh seeds: {error}")
            return None
        return _confirmed(by_key[halving.winner], halving)

    def _score(self, agent: BaseAgent, seed: int) -> float:
        if self._evaluation.steps >= MAX_EVALUATION_STEPS:
            raise CannotCompare(f"that took {self._evaluation.steps} steps")
        metrics = self._evaluation.episode(agent, seed, deterministic=True)
        if metrics is None:
            raise CannotCompare("no env episode could be scored")
        return metrics.primary_score


def promising(snapshots: Sequence[PolicySnapshot], series: Series) -> list[PolicySnapshot]:
    """Snapshots by the posterior mean of their level (``level_at``), best first; ties to the later.

    One whose window is not in the series counts with its own score.
    """
    levels = {snapshot.snapshot_id: _level(snapshot, series) for snapshot in snapshots}
    return sorted(snapshots, key=lambda s: (levels[s.snapshot_id], int(s.snapshot_id)), reverse=True)


def _level(snapshot: PolicySnapshot, series: Series) -> float:
    at = next((i for i, (window, _) in enumerate(series) if window == snapshot.episode_id), None)
    return snapshot.rank if at is None else level_at([score for _, score in series], at)


def _confirmed(winner: PolicySnapshot, halving: Halving) -> Confirmed:
    means = {str(key): mean for key, mean in halving.means.items()}
    text = (
        f"snapshot {winner.snapshot_id} is the best of {len(means)} on fresh seeds that they share "
        f"(mean {halving.means[halving.winner]:g})"
    )
    evidence = {"means": means, "rounds": [list(r) for r in halving.rounds], "n_seeds": len(halving.seeds)}
    return Confirmed(winner, halving.means[halving.winner], text, {"snapshot": winner.snapshot_id, **evidence})
