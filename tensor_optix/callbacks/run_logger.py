"""RunLogger: how an experiment tracker hears of a run without ever costing it.

A leaf (``tensorboard.py``, ``wandb.py``, ``mlflow.py``) says where numbers go: ``open``, ``log``, ``conclude``,
``close``. It is a callback that is told what reporters are told: give it to ``RLOptimizer(callbacks=[...])``.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.reporting import Progress, Reporter, RunInfo
from tensor_optix.core.types import RunResult

logger = logging.getLogger(__name__)


class RunLogger(LoopCallback, Reporter):
    """Logs every tick, at the env step where it stands, and the result.

    tell: hears, in a sentence, why nothing is logged any more. An error of the tracker never ends a run: it is told
    once and kept in ``problem`` (None: nothing went wrong), and the rest of that ``run()`` is not logged.
    """

    def __init__(self, *, tell: Callable[[str], None] = logger.warning) -> None:
        self.problem: str | None = None
        self._tell = tell
        self._is_open = False

    # -- what a leaf adds ----------------------------------------------------------------------------------------

    @abstractmethod
    def open(self, run: RunInfo) -> None:
        """A ``run()`` begins; the same run may be opened again, to go on."""

    @abstractmethod
    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        """Numbers of one tick."""

    @abstractmethod
    def conclude(self, numbers: Mapping[str, float], result: RunResult) -> None:
        """The result, and its numbers."""

    @abstractmethod
    def close(self, *, is_finished: bool) -> None:
        """Let go of it; ``is_finished`` is False when the run ended by an error."""

    # -- what the loop tells -------------------------------------------------------------------------------------

    def started(self, info: RunInfo) -> None:
        self.problem, self._is_open, self._has_result = None, True, False
        self._try(self.open, info)

    def progressed(self, progress: Progress) -> None:
        if progress.score is not None:
            self._try(self.log, tick_numbers(progress), progress.env_steps)

    def finished(self, result: RunResult) -> None:
        self._has_result = True
        self._try(self.conclude, result_numbers(result), result)

    def closed(self) -> None:
        if self._is_open:
            try:
                self.close(is_finished=self._has_result)
            except Exception as error:  # noqa: BLE001 - the run is over and kept, whatever the tracker says
                self._failed(error)
        self._is_open = False

    def _try(self, action: Callable[..., None], *arguments: Any) -> None:
        if self.problem is None and self._is_open:
            try:
                action(*arguments)
            except Exception as error:  # noqa: BLE001 - a tracker's trouble must not cost a training run
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self.problem is None:
            self.problem = f"{type(error).__name__}: {error}"
            self._tell(f"{type(self).__name__} has stopped logging, the run goes on: {self.problem}")


def tick_numbers(progress: Progress) -> dict[str, float]:
    """What can be drawn of a tick, by ``group/name``; what is absent or no finite number is left out."""
    groups: dict[str, Mapping[str, Any]] = {
        "score": {"raw": progress.score, "smoothed": progress.smoothed, "best": progress.best},
        "loop": {"window": progress.window, "seconds": progress.seconds, "interval": progress.interval,
                 "state": progress.state.value},
        "metrics": progress.metrics, "hyperparams": progress.hyperparams, "evidence": progress.evidence,
    }  # fmt: skip
    return {f"{group}/{name}": value for group, values in groups.items() for name, value in finite(values).items()}


def result_numbers(result: RunResult) -> dict[str, float]:
    """The result's numbers, by name."""
    final = result.final
    return finite({
        "score": result.score, "env_steps": result.env_steps, "evaluation_steps": result.evaluation_steps,
        "windows": result.windows, "seconds": result.seconds,
        **({} if final is None else {"final_mean": final.mean, "final_low": final.low, "final_high": final.high}),
    })  # fmt: skip


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are finite numbers."""
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
