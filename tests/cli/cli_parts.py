"""Toy runs for the tests of the command line: what ``quick`` would prepare, without an environment or a framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensor_optix.core.reporting import Event, Progress, RunInfo
from tensor_optix.core.types import (
    EvalMetrics,
    FinalScore,
    HyperparamSet,
    LoopState,
    PolicySnapshot,
    RunResult,
    StopReason,
    Verdict,
)

HYPERPARAMS = {"learning_rate": 3e-4, "gamma": 0.99}


def a_result(run_dir: Path, reason: StopReason = StopReason.CONVERGED, **changes: Any) -> RunResult:
    metrics = EvalMetrics(487.25, {}, 3)
    values: dict[str, Any] = {
        "reason": reason,
        "verdict": Verdict.CONVERGED,
        "explanation": "20 scores in a row without a gain above the noise",
        "score": 487.25,
        "final": FinalScore(500.0, 498.5, 500.0, (500.0,) * 20),
        "windows": 25,
        "env_steps": 51_200,
        "evaluation_steps": 10_000,
        "seconds": 12.0,
        "run_dir": run_dir,
        "best_snapshot": PolicySnapshot("7", metrics, HyperparamSet(HYPERPARAMS), str(run_dir / "snapshots/7"), 3),
        "seed": 5,
    }
    return RunResult(**{**values, **changes})


def an_info(run_dir: Path = Path("/runs/x"), environment: str = "Toy-v0") -> RunInfo:
    return RunInfo("x", run_dir, environment, "ToyAgent", 5, 20, HYPERPARAMS)


def a_progress(window: int = 3, score: float | None = 231.0, **changes: Any) -> Progress:
    values: dict[str, Any] = {
        "window": window, "env_steps": 2048 * (window + 1), "seconds": 9.0, "state": LoopState.COOLING,
        "verdict": Verdict.FLAT, "interval": 4, "score": score, "smoothed": score, "best": 240.0, "improved": False,
        "is_evaluation_point": True, "explanation": "7 of 20 scores without a gain above the noise", "metrics": {},
        "hyperparams": {**HYPERPARAMS, "learning_rate": 1.7e-4}, "evidence": {"misses": 7.0},
    }  # fmt: skip
    return Progress(**{**values, **changes})


def an_event(kind: str = "best", text: str = "new best score 240", **changes: Any) -> Event:
    return Event(**{"kind": kind, "window": 3, "env_steps": 8192, "seconds": 31.0, "text": text, **changes})


class ToyOptimizer:
    """What ``train`` needs of an RLOptimizer: tells its reporters a short story and has a result."""

    state = LoopState.DORMANT

    def __init__(self, run_dir: Path, reporters: Any, callbacks: Any, outcome: RunResult | BaseException) -> None:
        self.run_dir = run_dir
        self._reporters, self._callbacks, self._outcome = reporters, callbacks, outcome
        self.result: RunResult | None = None
        self.best_snapshot: PolicySnapshot | None = None

    def run(self) -> None:
        for reporter in self._reporters:
            reporter.started(an_info(self.run_dir))
            reporter.decided(an_event(evidence={"gain": float("nan")}))
            reporter.progressed(a_progress())
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        self.result = self._outcome
        for callback in self._callbacks:
            callback.on_stop(self._outcome)
        for reporter in self._reporters:
            reporter.finished(self._outcome)
            reporter.closed()
