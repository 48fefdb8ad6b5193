"""What a run tells while it goes on: progress and decisions as values, and reporters that show or keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from tensor_optix.core.types import LoopState, RunResult, Verdict
from tensor_optix.storage import FileSystem


@dataclass(frozen=True)
class RunInfo:
    """What is known before the first window.

    target: the score, or the value of ``target_metric``, that counts as solved; None: there is none.
    unit: what policies are chosen by: training, validation or external.
    """

    run_id: str
    run_dir: Path
    environment: str
    agent: str
    seed: int
    dormant_threshold: int
    hyperparams: Mapping[str, Any]
    target: float | None = None
    target_metric: str | None = None
    unit: str = "training"


@dataclass(frozen=True)
class Progress:
    """One window, after it has been learned from. Scores are None where there was nothing to score.

    score: of the training signal; ``metrics`` holds others. told: what the convergence rule was told, if it was.
    """

    window: int
    env_steps: int
    seconds: float
    state: LoopState
    verdict: Verdict
    interval: int
    score: float | None
    smoothed: float | None
    best: float | None
    improved: bool
    is_evaluation_point: bool
    explanation: str
    metrics: Mapping[str, float]
    hyperparams: Mapping[str, Any]
    evidence: Mapping[str, float]
    told: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Event:
    """One decision of the loop, with the numbers behind it."""

    kind: str
    window: int
    env_steps: int
    seconds: float
    text: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Reporter:
    """Shows or keeps what the loop tells; all methods do nothing by default."""

    def started(self, info: RunInfo) -> None:
        """A ``run()`` begins."""

    def progressed(self, progress: Progress) -> None:
        """A window is done."""

    def decided(self, event: Event) -> None:
        """The loop has decided something."""

    def finished(self, result: RunResult) -> None:
        """The run has its result."""

    def closed(self) -> None:
        """``run()`` is being left, with a result or with an error."""


class Reporters(Reporter):
    """Several reporters as one."""

    def __init__(self, reporters: Iterable[Reporter]) -> None:
        self._reporters = list(reporters)

    def add(self, reporter: Reporter) -> None:
        """Append one; it is told from now on."""
        self._reporters.append(reporter)

    def started(self, info: RunInfo) -> None:
        for reporter in self._reporters:
            reporter.started(info)

    def progressed(self, progress: Progress) -> None:
        for reporter in self._reporters:
            reporter.progressed(progress)

    def decided(self, event: Event) -> None:
        for reporter in self._reporters:
            reporter.decided(event)

    def finished(self, result: RunResult) -> None:
        for reporter in self._reporters:
            reporter.finished(result)

    def closed(self) -> None:
        for reporter in self._reporters:
            reporter.closed()


class LineReporter(Reporter):
    """One line per evaluation point: what ``verbose=True`` prints."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def progressed(self, progress: Progress) -> None:
        if progress.is_evaluation_point:
            self._stream.write(evaluation_line(progress) + "\n")
            self._stream.flush()


class LogFileReporter(Reporter):
    """The same lines at the end of a file."""

    def __init__(self, path: Path, fs: FileSystem) -> None:
        self._path = path
        self._fs = fs

    def progressed(self, progress: Progress) -> None:
        if progress.is_evaluation_point:
            self._fs.append(self._path, (evaluation_line(progress) + "\n").encode())


class EvaluationPoints:
    """Which windows are evaluation points: every improvement, else one per ``interval`` windows.

    Windows without a score count here (their line says n/a), so that a silent run still shows that it is alive.
    """

    def __init__(self) -> None:
        self.windows_since_point: int | None = None

    def is_due(self, interval: int, improved: bool) -> bool:
        """Count one more window; the first one is a point."""
        since = self.windows_since_point
        due = improved or since is None or since + 1 >= interval
        self.windows_since_point = 0 if due or since is None else since + 1
        return due


class Rows(Protocol):
    """Where rows are kept."""

    def append_metrics(self, row: dict[str, Any]) -> None: ...
    def append_event(self, row: dict[str, Any]) -> None: ...


class RowReporter(Reporter):
    """Keeps a row per tick and a row per decision in the run directory."""

    def __init__(self, files: Rows) -> None:
        self._files = files

    def progressed(self, progress: Progress) -> None:
        if progress.score is not None:
            self._files.append_metrics(tick_row(progress))

    def decided(self, event: Event) -> None:
        self._files.append_event(event_row(event))


def of_training(metrics: Mapping[str, Any], name: str) -> Any:
    """The metric ``name`` as training gave it, also in a validated tick, whose record calls it ``train_NAME``; None
    where there is none."""
    return metrics.get(f"train_{name}", metrics.get(name))


def evaluation_line(progress: Progress) -> str:
    """``[loop] ep=  16  raw=  208.1  smoothed=  136.9  state=ACTIVE  interval=8``; n/a for an absent score."""
    line = (
        f"[loop] ep={progress.window:4d}  raw={_score_text(progress.score)}  "
        f"smoothed={_score_text(progress.smoothed)}  state={progress.state.name}  interval={progress.interval}"
    )
    return f"{line}  ← improvement detected, reset" if progress.improved else line


def tick_row(progress: Progress) -> dict[str, Any]:
    """A tick as JSON values."""
    return {
        "window": progress.window, "env_steps": progress.env_steps, "seconds": round(progress.seconds, 3),
        "score": progress.score, "smoothed": progress.smoothed, "best": progress.best,
        "state": progress.state.name, "verdict": progress.verdict.value, "interval": progress.interval,
        "improved": progress.improved, "evaluation_point": progress.is_evaluation_point,
        "metrics": dict(progress.metrics), "hyperparams": dict(progress.hyperparams),
        "evidence": dict(progress.evidence), "told": dict(progress.told) if progress.told else None,
    }  # fmt: skip


def event_row(event: Event) -> dict[str, Any]:
    """A decision as JSON values."""
    return {
        "kind": event.kind, "window": event.window, "env_steps": event.env_steps,
        "seconds": round(event.seconds, 3), "text": event.text, "evidence": dict(event.evidence),
    }  # fmt: skip


def summary_of(result: RunResult) -> dict[str, Any]:
    """How a run ended, as JSON values."""
    final = result.final
    return {
        "error": None, "reason": result.reason.value, "verdict": result.verdict.value,
        "explanation": result.explanation, "score": result.score, "windows": result.windows,
        "env_steps": result.env_steps, "evaluation_steps": result.evaluation_steps,
        "seconds": round(result.seconds, 3), "notes": list(result.notes),
        "health": dict(result.health), "resume_level": result.resume.level, "resume_why": result.resume.why,
        "best_snapshot": result.best_snapshot.snapshot_id if result.best_snapshot else None,
        "final": None if final is None else {
            "mean": final.mean, "low": final.low, "high": final.high, "returns": list(final.returns),
            "deterministic": final.deterministic,
        },
    }  # fmt: skip


def _score_text(score: float | None) -> str:
    return "    n/a" if score is None else f"{score:7.1f}"
