"""MLflowLogger: a run in an MLflow tracking store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tensor_optix._lazy import missing
from tensor_optix.callbacks.run_logger import RunLogger, logger
from tensor_optix.core.reporting import RunInfo
from tensor_optix.core.types import RunResult

MAX_BATCH = 1000
"""Metrics in one call, by MLflow's own limit."""


class MLflowLogger(RunLogger):
    """Logs hyperparameters as params, scores and metrics over env steps, and how the run ended as tags.

    tracking_uri: of a server or a local store (``sqlite:///mlflow.db``); None: MLflow's own setting. experiment: by
    name, made where there is none. A second ``run()`` of one optimizer goes on in the same MLflow run.
    clock: seconds since the epoch, for time stamps. Raises MissingDependency without mlflow.
    """

    def __init__(
        self,
        experiment: str = "tensor-optix",
        *,
        tracking_uri: str | None = None,
        clock: Callable[[], float] = time.time,
        tell: Callable[[str], None] = logger.warning,
    ) -> None:
        super().__init__(tell=tell)
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ModuleNotFoundError as error:
            raise missing("mlflow") from error
        self._metric, self._param = Metric, Param
        self._make_client: Callable[..., Any] = MlflowClient
        self._tracking_uri = tracking_uri
        self._client: Any = None
        self._experiment = experiment
        self._clock = clock
        self._run_of: dict[str, str] = {}
        self.mlflow_run_id: str | None = None

    def open(self, run: RunInfo) -> None:
        self._client = self._make_client(self._tracking_uri)
        if run.run_id in self._run_of:
            self.mlflow_run_id = self._run_of[run.run_id]
            self._client.set_terminated(self.mlflow_run_id, "RUNNING")
            return
        found = self._client.get_experiment_by_name(self._experiment)
        experiment_id = found.experiment_id if found else self._client.create_experiment(self._experiment)
        tags = {"environment": run.environment, "agent": run.agent, "seed": str(run.seed), "run": run.run_id}
        made = self._client.create_run(experiment_id, run_name=run.run_id, tags=tags)
        self.mlflow_run_id = self._run_of[run.run_id] = made.info.run_id
        params = [self._param(name, str(value)) for name, value in run.hyperparams.items()]
        self._client.log_batch(self.mlflow_run_id, params=params)

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        now = int(self._clock() * 1000)
        metrics = [self._metric(name, value, now, env_steps) for name, value in numbers.items()]
        for start in range(0, len(metrics), MAX_BATCH):
            self._client.log_batch(self.mlflow_run_id, metrics=metrics[start : start + MAX_BATCH])

    def conclude(self, numbers: Mapping[str, float], result: RunResult) -> None:
        self.log({f"result/{name}": value for name, value in numbers.items()}, result.env_steps)
        words = {"reason": result.reason.value, "verdict": result.verdict.value, "explanation": result.explanation}
        for name, text in words.items():
            self._client.set_tag(self.mlflow_run_id, name, text)

    def close(self, *, is_finished: bool) -> None:
        if self.mlflow_run_id is not None:
            self._client.set_terminated(self.mlflow_run_id, "FINISHED" if is_finished else "FAILED")
            self.mlflow_run_id = None
