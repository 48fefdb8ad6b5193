"""What do several runs say together?"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tensor_optix.cli.ending import Ending
from tensor_optix.cli.failures import say
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import write_line
from tensor_optix.errors import TensorOptixError


def tell_together(endings: Sequence[Ending], *, as_json: bool, has_report: bool) -> None:
    """A last line over all runs: the interquartile mean of their scores, with its interval; and their common page."""
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
    if has_report:
        _compare(endings, as_json=as_json)


def _compare(endings: Sequence[Ending], *, as_json: bool) -> None:
    from tensor_optix.quick.comparison import compare_runs

    try:
        page = compare_runs([ending.result.run_dir for ending in endings])
    except TensorOptixError as error:  # the runs are done and kept
        say(f"no comparison: {error}")
        return
    if not as_json:
        write_line(sys.stdout, f"compare  {shown(page)}")


def score_of(ending: Ending) -> float | None:
    """On fresh seeds where there is such a score, else in training."""
    result = ending.result
    return result.final.mean if result.final is not None else result.score
