"""What do two policies score on common seeds, with so many env steps to spend?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.mid_run_evaluation import MidRunEvaluation
from tensor_optix.core.policy.proof import MAX_PAIRS

Pairs = tuple[list[float], list[float]]


def compared_episodes(
    evaluation: MidRunEvaluation,
    first: BaseAgent,
    second: BaseAgent,
    rng: np.random.Generator,
    *,
    affords: Callable[[], bool],
) -> Pairs:
    """Scores of both, entry i of both from the same seed; pairs go on while ``affords()``, up to MAX_PAIRS."""
    pairs: Pairs = ([], [])
    while len(pairs[0]) < MAX_PAIRS and affords():
        seed = int(rng.integers(2**31))
        a, b = evaluation.score(first, seed), evaluation.score(second, seed)
        if a is None or b is None:
            break
        pairs[0].append(a)
        pairs[1].append(b)
    return pairs
