"""What does an environment itself say of an env episode that has ended, besides its rewards?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData

SUCCESS_KEYS, SUCCESS_RATE = ("is_success", "success"), "success_rate"
LEFT_OUT = ("TimeLimit.truncated",)
MAX_FACTS = 24
"""So many different names are kept: an environment that invents new ones all the time must not fill the logs."""


class EpisodeFacts:
    """Means over env episodes of the numbers in their last ``info``: ``success_rate``, and others as ``info/NAME``.

    An episode that does not say a number takes no part in its mean. Numbers that are not finite are left out.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}  # name -> [sum, episodes]

    def add(self, data: EpisodeData) -> None:
        """The env episodes that ended in this window."""
        for row in data.ended_rows if data.infos else ():
            for name, value in facts_of(data.infos[row]).items():
                if name in self._sums or len(self._sums) < MAX_FACTS:
                    total = self._sums.setdefault(name, [0.0, 0.0])
                    total[0], total[1] = total[0] + value, total[1] + 1.0

    @property
    def means(self) -> dict[str, float]:
        """By name."""
        return {name: total / n for name, (total, n) in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts by name."""
        return {name: list(sums) for name, sums in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._sums = {name: [float(total), float(n)] for name, (total, n) in state.items()}


def facts_of(info: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers and truth values of one ``info``, by the names of metrics."""
    found: dict[str, float] = {}
    for name, value in info.items():
        if name not in LEFT_OUT and (number := _number(value)) is not None:
            found[SUCCESS_RATE if name in SUCCESS_KEYS else f"info/{name}"] = number
    return found


def _number(value: Any) -> float | None:
    is_number = isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating)
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf":
        value, is_number = value.item(), True
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:  # a whole number beyond floats
        return None
    return number if math.isfinite(number) else None
