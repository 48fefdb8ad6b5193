"""What do several runs of one plan say together?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.statistics import interquartile_mean, stratified_interval
from tensor_optix.errors import ConfigError
from tensor_optix.quick.runs import Run

SCORE_SEED = 0  # of the resampling: the same runs give the same interval


@dataclass(frozen=True)
class Summary:
    """iqm: interquartile mean of the runs' best scores; low, high: its 95 % bootstrap interval over the runs."""

    scores: tuple[float, ...]
    iqm: float
    low: float
    high: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> Summary:
        """Raises ConfigError without any score."""
        if not scores:
            raise ConfigError("none of the runs has a score: let them be longer (max_steps)")
        low, high = stratified_interval([list(scores)], RandomStreams(SCORE_SEED).stream("interval of the IQM"))
        return cls(tuple(scores), interquartile_mean(scores), low, high)

    def __str__(self) -> str:
        return f"IQM {self.iqm:.1f} [95 %: {self.low:.1f} to {self.high:.1f}] over {len(self.scores)} runs"


@dataclass(frozen=True)
class Experiment:
    """Several runs, each with a seed of its own."""

    runs: tuple[Run, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Experiment:
        """In the order in which they were run."""
        return cls(tuple(runs))

    @property
    def summary(self) -> Summary:
        """Over the runs that have a score."""
        return Summary.of([run.best_score for run in self.runs if run.best_score is not None])

    def report(self) -> Path:
        """Write ``comparison.html`` beside the runs; its path. Raises MissingDependency without matplotlib."""
        from tensor_optix.quick.comparison import compare_runs

        return compare_runs([run.run_dir for run in self.runs])

    @property
    def best(self) -> Run:
        """The run with the highest score. Chosen among noisy ones, it looks better than it is."""
        scored = [run for run in self.runs if run.best_score is not None]
        return max(scored, key=lambda run: run.best_score or 0.0) if scored else self.runs[0]
