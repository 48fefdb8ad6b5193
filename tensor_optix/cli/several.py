"""What do several runs say together?"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tensor_optix.cli.ending import Ending
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import write_line


def tell_together(endings: Sequence[Ending], *, as_json: bool) -> None:
    """A last line over all runs: the interquartile mean of their scores, with its interval."""
    from tensor_optix import quick

    scores = [score for ending in endings if (score := score_of(ending)) is not None]
    if not scores:
        return
    summary = quick.Summary.of(scores)
    if as_json:
        row = {"type": "experiment", "iqm": summary.iqm, "low": summary.low, "high": summary.high, "scores": scores}
        write_line(sys.stdout, json_line(row))
    else:
        write_line(sys.stdout, f"together {summary}")


def score_of(ending: Ending) -> float | None:
    """On fresh seeds where there is such a score, else in training."""
    result = ending.result
    return result.final.mean if result.final is not None else result.score
