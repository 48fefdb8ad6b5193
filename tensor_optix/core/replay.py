"""What would a rule have said of these scores?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.convergence import ConvergenceRule, EndedEpisode, Judgement, Tick
from tensor_optix.core.types import LoopState


@dataclass(frozen=True)
class Ended:
    """tick: the first at which the rule said DORMANT, counted from 1, with what it said; None when it never did."""

    tick: int | None
    last: Judgement


def told(tick: Tick, restart: str) -> dict[str, Any]:
    """What a rule was told at a tick, as JSON values. restart: "new", "same" or "": how it was restarted before."""
    episodes = [[episode.episode_return, episode.truncated] for episode in tick.episodes]
    return {"score": tick.score, "smoothed": tick.smoothed, "episodes": episodes, "restart": restart}


def replayed(rule: ConvergenceRule, records: Iterable[Mapping[str, Any]]) -> Iterator[Judgement]:
    """The judgements of a fresh rule on what ``told`` recorded, in that order: those of the run, exactly."""
    for record in records:
        if record["restart"]:
            rule.restart(is_new_agent=record["restart"] == "new")
        episodes = [EndedEpisode(float(value), bool(truncated)) for value, truncated in record["episodes"]]
        yield rule.judge(Tick(float(record["score"]), float(record["smoothed"]), episodes))


def judgements(
    rule: ConvergenceRule, scores: Sequence[float], *, smoothing: int = 2,
    episodes: Sequence[Sequence[EndedEpisode]] = (),
) -> Iterator[Judgement]:  # fmt: skip
    """The rule's judgement after each score, oldest first. episodes: of each tick, where they are known."""
    for i, score in enumerate(scores):
        recent = scores[max(0, i + 1 - smoothing) : i + 1]
        ended = episodes[i] if i < len(episodes) else ()
        yield rule.judge(Tick(float(score), float(sum(recent)) / len(recent), ended))


def first_end(rule: ConvergenceRule, scores: Sequence[float], *, smoothing: int = 2) -> Ended:
    """Where the rule would have ended the run. scores: at least one."""
    last = None
    for tick, last in enumerate(judgements(rule, scores, smoothing=smoothing), start=1):
        if last.state is LoopState.DORMANT:
            return Ended(tick, last)
    if last is None:
        raise ValueError("scores must hold at least one score, got none")
    return Ended(None, last)
