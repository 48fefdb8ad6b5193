"""What the loop tells of a small run, word for word, for everything that logs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensor_optix.core.reporting import Event, Progress, RunInfo
from tensor_optix.core.types import FinalScore, LoopState, RunResult, StopReason, Verdict


def a_start(run_dir: Path, **changes: Any) -> RunInfo:
    values: dict[str, Any] = {
        "run_id": "20261123-1", "run_dir": run_dir, "environment": "Toy-v0", "agent": "ToyAgent", "seed": 77,
        "dormant_threshold": 20, "hyperparams": {"learning_rate": 1e-3, "gamma": 0.99, "double": True},
    }  # fmt: skip
    return RunInfo(**{**values, **changes})


def a_tick(window: int, score: float | None, **changes: Any) -> Progress:
    values: dict[str, Any] = {
        "window": window, "env_steps": 100 * (window + 1), "seconds": 0.5, "state": LoopState.ACTIVE,
        "verdict": Verdict.IMPROVING, "interval": 1, "score": score, "smoothed": score, "best": score,
        "improved": True, "is_evaluation_point": True, "explanation": "a gain", "metrics": {"loss": 0.25},
        "hyperparams": {"learning_rate": 1e-3, "double": True}, "evidence": {"noise": float("nan")},
    }  # fmt: skip
    return Progress(**{**values, **changes})


def a_result(run_dir: Path) -> RunResult:
    return RunResult(
        reason=StopReason.CONVERGED, verdict=Verdict.CONVERGED, explanation="no gain", score=20.0,
        final=FinalScore(19.0, 18.0, 20.0, (19.0,)), windows=3, env_steps=300, evaluation_steps=10, seconds=1.5,
        run_dir=run_dir, best_snapshot=None, seed=77,
    )  # fmt: skip


def tell(reporter: Any, run_dir: Path, *, is_finished: bool = True) -> None:
    """Three windows, the second without a score, a decision and the result."""
    reporter.started(a_start(run_dir))
    reporter.progressed(a_tick(0, 10.0))
    reporter.progressed(a_tick(1, None))
    reporter.decided(Event("best", 2, 300, 1.0, "new best score 20"))
    reporter.progressed(a_tick(2, 20.0))
    if is_finished:
        reporter.finished(a_result(run_dir))
    reporter.closed()
