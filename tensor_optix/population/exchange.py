"""Who takes over from whom when an interval is over, and with which hyperparameters? Pure decisions.

Population based training by truncation selection (Jaderberg et al. 2017): the worst fifth take over the policies of
the best fifth, with their hyperparameters mutated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.core.hyperparams import Space
from tensor_optix.core.policy.mutation import FULL_NOISE, mutated

SHARE = 0.2
"""Of the members that take over, and of those that are taken over from."""


@dataclass(frozen=True)
class Succession:
    """What a member is in the next interval: the policy of member ``source`` (its own, or a better one's) under
    ``params``."""

    source: int
    params: dict[str, Any]


def exchanged(
    fitness: Sequence[float], params: Sequence[Mapping[str, Any]], space: Space | None, rng: np.random.Generator
) -> list[Succession]:
    """One entry a member. fitness [K]: higher is better, NaN for a member without any score.

    Nobody takes over from one that is no better. A member that nobody could compare goes on as it is.
    """
    stays = [Succession(number, dict(own)) for number, own in enumerate(params)]
    ranked = sorted(range(len(fitness)), key=lambda number: (_value(fitness[number]), -number))
    n_moving = min(max(1, round(SHARE * len(fitness))), len(fitness) // 2)
    for loser in ranked[:n_moving]:
        source = ranked[len(ranked) - 1 - int(rng.integers(n_moving))]
        if _value(fitness[source]) > _value(fitness[loser]):
            stays[loser] = Succession(source, mutated(params[source], space, FULL_NOISE, rng))
    return stays


def best_of(fitness: Sequence[float]) -> int | None:
    """The member with the highest fitness, of equals the first; None where none has any."""
    best = max(range(len(fitness)), key=lambda number: (_value(fitness[number]), -number))
    return None if math.isnan(fitness[best]) else best


def _value(fitness: float) -> float:
    return -math.inf if math.isnan(fitness) else fitness
