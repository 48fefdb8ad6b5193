"""One pass of the loop as a value: which policy was scored, how, and what was concluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.convergence import Judgement
from tensor_optix.core.types import EvalMetrics, HyperparamSet


@dataclass(frozen=True)
class Window:
    """Window ``number``, collected by a policy that ``made_by`` trained; env_steps and seconds: totals at its end.

    metrics and judgement are None without a score; smoothed: the mean of the last few scores, this one included.
    train_score: what the training signal says, which the rule and the tuner follow; selection: what policies are
    chosen by, where this one has it. told: what the rule was told, from which its judgement can be had again.
    """

    number: int
    env_steps: int
    seconds: float
    made_by: HyperparamSet
    metrics: EvalMetrics | None = None
    smoothed: float | None = None
    judgement: Judgement | None = None
    train_score: float | None = None
    selection: float | None = None
    told: Mapping[str, Any] | None = None
