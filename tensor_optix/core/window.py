"""One pass of the loop as a value: which policy was scored, how, and what was concluded."""

from __future__ import annotations

from dataclasses import dataclass

from tensor_optix.core.convergence import Judgement
from tensor_optix.core.types import EvalMetrics, HyperparamSet


@dataclass(frozen=True)
class Window:
    """Window ``number``, collected by a policy that ``made_by`` trained. metrics and judgement are None without a
    score; env_steps and seconds are totals at its end; n_episodes is how many env episodes ended in it."""

    number: int
    env_steps: int
    seconds: float
    made_by: HyperparamSet
    n_episodes: int
    metrics: EvalMetrics | None
    smoothed: float | None
    judgement: Judgement | None
