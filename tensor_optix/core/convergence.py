"""What a convergence rule is: it is told every tick and answers with a judgement.

The rules themselves: ``evidence.EvidenceRule`` (the default) and ``patience.PatienceRule``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tensor_optix.core.types import EpisodeData, LoopState, Verdict


@dataclass(frozen=True)
class EndedEpisode:
    """One finished env episode: its return, and whether only the time limit ended it."""

    episode_return: float
    truncated: bool


@dataclass(frozen=True)
class Tick:
    """What a rule is told: a policy's score, the smoothed score, and the env episodes that ended in its window."""

    score: float
    smoothed: float
    episodes: Sequence[EndedEpisode] = ()


@dataclass(frozen=True)
class Judgement:
    """What a rule answers. ``state`` DORMANT ends the run; ``evidence`` holds the numbers behind it.

    cooldown: what the learning rate is to be multiplied by while a real cool-down is on; None outside one.
    """

    state: LoopState
    verdict: Verdict
    improved: bool
    degraded: bool
    interval: int
    explanation: str
    evidence: dict[str, float] = field(default_factory=dict)
    cooldown: float | None = None


def judgement_state(judgement: Judgement | None) -> dict[str, Any] | None:
    """A judgement as JSON values."""
    if judgement is None:
        return None
    return {**asdict(judgement), "state": judgement.state.name, "verdict": judgement.verdict.value}


def judgement_from(state: dict[str, Any] | None) -> Judgement | None:
    """The inverse of ``judgement_state``."""
    if state is None:
        return None
    return Judgement(**{**state, "state": LoopState[state["state"]], "verdict": Verdict(state["verdict"])})


class ConvergenceRule(ABC):
    """Decides when nothing more is to be gained."""

    @abstractmethod
    def judge(self, tick: Tick) -> Judgement:
        """The judgement after one more tick."""

    @abstractmethod
    def restart(self, *, is_new_agent: bool) -> None:
        """Start a fresh clock: the run goes on, with a new budget or (``is_new_agent``) with another agent."""

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs. Default: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""


def ended_episodes(data: EpisodeData) -> list[EndedEpisode]:
    """The env episodes that ended in this window, in row order."""
    return [
        EndedEpisode(episode_return, data.truncated[row] and not data.terminated[row])
        for row, episode_return in zip(data.ended_rows, data.episode_returns, strict=False)
    ]
