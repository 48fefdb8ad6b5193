"""How does a series of numbers look on one line of text?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """At most ``width`` blocks, lowest to highest; a longer series is averaged into so many parts of equal size."""
    columns = _averaged(values, width)
    if not columns:
        return ""
    low, high = min(columns), max(columns)
    if high == low:
        return BLOCKS[len(BLOCKS) // 2 - 1] * len(columns)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round((value - low) / (high - low) * top)] for value in columns)


def bar(part: float, whole: float, width: int) -> str:
    """``part`` of ``whole`` as a bar of ``width`` characters."""
    filled = round(width * min(max(part / whole, 0.0), 1.0)) if whole > 0 else 0
    return "█" * filled + "░" * (width - filled)


def _averaged(values: Sequence[float], width: int) -> list[float]:
    n = len(values)
    if n <= width:
        return list(values)
    edges = [n * column // width for column in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
