"""The evaluator contract: a window (and what learning reported) in, a score out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tensor_optix.core.types import EpisodeData, EvalMetrics


class BaseEvaluator(ABC):
    """Scores policies. Higher is better; the unit is the evaluator's own and never changes within a run."""

    @abstractmethod
    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics | None:
        """The score of the policy that collected this window.

        train_diagnostics: of the learn call that made this policy; empty for the first one.
        None, or a NaN score, means that there is nothing to score: the window is no tick.
        """

    def score_validation(self, episode_data: EpisodeData) -> EvalMetrics | None:
        """The score of a validation window."""
        return self.score(episode_data, {})

    def combine(self, train: EvalMetrics, val: EvalMetrics) -> EvalMetrics:
        """One record of both scores; validation decides."""
        metrics = {f"train_{name}": value for name, value in train.metrics.items()}
        metrics |= {f"val_{name}": value for name, value in val.metrics.items()}
        metrics |= {
            "train_score": train.primary_score,
            "val_score": val.primary_score,
            "generalization_gap": train.primary_score - val.primary_score,
        }
        return EvalMetrics(val.primary_score, metrics, train.episode_id)

    def compare(self, candidate: EvalMetrics, baseline: EvalMetrics) -> bool:
        """True when ``candidate`` is better."""
        return candidate.beats(baseline)

    def expect(self, *, is_on_policy: bool, max_episode_steps: int | None, is_live: bool) -> None:
        """Told once, before the first window, what kind of windows will come. Default: does not care."""

    @property
    def scores_whole_episodes(self) -> bool:
        """True when a score is a mean over whole env episodes, so that some extra episodes score in the same unit."""
        return False

    def restart(self) -> None:
        """Another policy takes over from here: nothing that was collected before may enter its score."""

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs. Default: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
