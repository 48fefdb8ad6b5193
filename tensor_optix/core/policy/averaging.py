"""Is the policy half way between two relatives as good as they are? Then their mean may stand for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def mean_policy(first: Any, second: Any) -> Any:
    """Half way between two policy trees of one shape: floating-point arrays are averaged, all else is the first's."""
    if isinstance(first, dict):
        return {name: mean_policy(child, second[name]) for name, child in first.items()}
    if isinstance(first, list):
        return [mean_policy(a, b) for a, b in zip(first, second, strict=True)]
    if isinstance(first, np.ndarray) and first.dtype.kind == "f":
        return np.asarray((first + second) / 2, dtype=first.dtype)
    return first


def is_connected(middle: Sequence[float], first: Sequence[float], second: Sequence[float]) -> bool:
    """score(½a + ½b) ≥ min(score(a), score(b)) - 1 standard error: no barrier between the two.

    middle, first, second: [n], scores on the same seeds, n ≥ 2.
    """
    error = float(np.std(middle, ddof=1)) / len(middle) ** 0.5
    worse_end = min(float(np.mean(first)), float(np.mean(second)))
    return bool(np.mean(middle) >= worse_end - error)
