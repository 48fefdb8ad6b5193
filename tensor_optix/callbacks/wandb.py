"""WandbLogger: a run on Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tensor_optix._lazy import missing
from tensor_optix.callbacks.run_logger import RunLogger, logger
from tensor_optix.core.reporting import Event, RunInfo
from tensor_optix.core.types import RunResult


class WandbLogger(RunLogger):
    """Logs scores, metrics and hyperparameters over env steps, decisions as a table, and the result as the summary.

    project: its project. mode: "online", "offline" (kept in the run's directory, for ``wandb sync``) or None: what
    WANDB_MODE says. More keywords go to ``wandb.init``. Resumed runs go on under the same id.
    Raises MissingDependency without wandb.
    """

    def __init__(
        self,
        project: str = "tensor-optix",
        *,
        mode: Any = None,
        tell: Callable[[str], None] = logger.warning,
        **keywords: Any,
    ) -> None:
        super().__init__(tell=tell)
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise missing("wandb") from error
        self._wandb: Any = wandb
        self._keywords = {"project": project, "mode": mode, **keywords}
        self._run: Any = None
        self._decisions: list[list[Any]] = []

    def open(self, run: RunInfo) -> None:
        config = {"environment": run.environment, "agent": run.agent, "seed": run.seed, **run.hyperparams}
        given = {"id": run.run_id, "name": run.run_id, "dir": str(run.run_dir), "resume": "allow", "config": config}
        self._decisions = []
        self._run = self._wandb.init(**{**given, **self._keywords})
        self._run.define_metric("*", step_metric="env_steps")

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        self._run.log({"env_steps": env_steps, **numbers})

    def decided(self, event: Event) -> None:
        self._decisions.append([event.env_steps, event.kind, event.text])

    def conclude(self, numbers: Mapping[str, float], result: RunResult) -> None:
        columns = ["env_steps", "kind", "text"]
        self._run.log({"decisions": self._wandb.Table(columns=columns, data=self._decisions)})
        words = {"reason": result.reason.value, "verdict": result.verdict.value, "explanation": result.explanation}
        self._run.summary.update({f"result/{name}": value for name, value in {**numbers, **words}.items()})

    def close(self, *, is_finished: bool) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if is_finished else 1)
            self._run = None
