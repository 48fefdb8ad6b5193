"""TensorBoardLogger: curves for TensorBoard, in the run's own directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensor_optix._lazy import missing
from tensor_optix.callbacks.run_logger import RunLogger, logger
from tensor_optix.core.reporting import Event, RunInfo
from tensor_optix.core.types import RunResult

FOLDER = "tensorboard"


class TensorBoardLogger(RunLogger):
    """Writes event files that ``tensorboard --logdir runs`` shows: scores, metrics and hyperparameters over env steps,
    decisions as text, the result as hyperparameters with their outcome.

    log_dir: the directory for them (default: ``tensorboard`` in the run's own directory).
    Raises MissingDependency without tensorboardX.
    """

    def __init__(self, log_dir: str | Path | None = None, *, tell: Callable[[str], None] = logger.warning) -> None:
        super().__init__(tell=tell)
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise missing("tensorboardX") from error
        self.log_dir: Path | None = None
        self._parent = log_dir
        self._make_writer = SummaryWriter
        self._writer: Any = None
        self._hyperparams: dict[str, Any] = {}

    def open(self, run: RunInfo) -> None:
        self.log_dir = run.run_dir / FOLDER if self._parent is None else Path(self._parent) / run.run_id
        self._hyperparams = dict(run.hyperparams)
        self._writer = self._make_writer(str(self.log_dir))
        self._writer.add_text("run", f"{run.agent} on {run.environment}, seed {run.seed}, run {run.run_id}")

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, env_steps)

    def decided(self, event: Event) -> None:
        self._try(self._write_decision, event)

    def _write_decision(self, event: Event) -> None:
        self._writer.add_text("decisions", f"{event.kind}: {event.text}", event.env_steps)

    def conclude(self, numbers: Mapping[str, float], result: RunResult) -> None:
        self._writer.add_text("result", f"{result.reason.value}: {result.explanation}", result.env_steps)
        known = {name: value for name, value in self._hyperparams.items() if isinstance(value, int | float | str)}
        outcome = {f"result/{name}": value for name, value in numbers.items()}
        self._writer.add_hparams(known, outcome, name="result", global_step=result.env_steps)

    def close(self, *, is_finished: bool) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
