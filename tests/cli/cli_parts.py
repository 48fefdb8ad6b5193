"""Toy runs for the tests of the command line: what ``quick`` would prepare, without an environment or a framework."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.loop_config import LoopConfig
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
from tensor_optix.quick.defaults import VALIDATION

HYPERPARAMS = {"learning_rate": 3e-4, "gamma": 0.99}
BUILD = {
    "algorithm": "ppo", "backend": "torch", "is_discrete": True, "is_image": False, "hidden": [64, 64],
    "activation": "tanh", "n_envs": 8, "window_size": 256, "frame_stack": 1, "normalize_observations": True,
    "normalize_rewards": False,
}  # fmt: skip


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


def an_info(run_dir: Path = Path("/runs/x"), environment: str = "Toy-v0", **changes: Any) -> RunInfo:
    return RunInfo("x", run_dir, environment, "ToyAgent", 5, 20, HYPERPARAMS, **changes)


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


def a_plan(seed: int | None = 5, env_id: str = "Toy-v0", **settings: Any) -> dict[str, Any]:
    """What RLOptimizer.plan says; of its settings only those that differ from the defaults."""
    return {
        "seed": seed, "environment": env_id, "hyperparams": HYPERPARAMS, "details": {**BUILD, "env_id": env_id},
        "settings": {**asdict(LoopConfig()), **VALIDATION, **settings},
        "resume": {"level": "E3", "why": "all is known"},
    }  # fmt: skip


class ToyOptimizer:
    """What ``train`` needs of an RLOptimizer: tells its reporters a short story and has a result."""

    state = LoopState.DORMANT
    agent = None

    def __init__(self, run_dir: Path, reporters: Any, plan: Any, outcome: RunResult | BaseException) -> None:
        self.run_dir = run_dir
        self.plan = plan
        self._reporters, self._outcome = reporters, outcome
        self.callbacks: list[LoopCallback] = []
        self.result: RunResult | None = None
        self.best_snapshot: PolicySnapshot | None = None

    def add_callback(self, callback: LoopCallback) -> None:
        self.callbacks.append(callback)

    def run(self) -> None:
        for reporter in self._reporters:
            reporter.started(an_info(self.run_dir))
            reporter.decided(an_event(evidence={"gain": float("nan")}))
            reporter.progressed(a_progress())
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        self.result = self._outcome
        for callback in self.callbacks:
            callback.on_stop(self._outcome)
        for reporter in self._reporters:
            reporter.finished(self._outcome)
            reporter.closed()


class Made:
    """Stands in for ``quick.prepare`` or ``quick.resume`` and keeps what it was asked for."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.outcome: RunResult | BaseException = a_result(run_dir)
        self.best: PolicySnapshot | None = None
        self.plan = a_plan()
        self.asked: dict[str, Any] = {}
        self.optimizer: ToyOptimizer | None = None

    def __call__(self, subject: Any, **asked: Any) -> ToyOptimizer:
        self.asked = {"subject": subject, **asked}
        print("an environment prints this")
        self.optimizer = ToyOptimizer(self.run_dir, asked["reporters"], self.plan, self.outcome)
        self.optimizer.best_snapshot = self.best
        return self.optimizer
