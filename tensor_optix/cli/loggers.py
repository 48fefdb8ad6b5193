"""Which experiment trackers does ``--log`` name?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.errors import ConfigError, nearest


def loggers_for(names: Sequence[str]) -> Callable[[], list[LoopCallback]]:
    """Makes a new logger for each name, once per run. Raises ConfigError, MissingDependency."""
    for name in names:
        if name not in _LOGGERS:
            hint = nearest(name, _LOGGERS) or f" It knows {', '.join(_LOGGERS)}."
            raise ConfigError(f"--log knows no tracker {name!r}.{hint}")

    def made() -> list[LoopCallback]:
        return [_LOGGERS[name]() for name in names]

    made()  # a library that is missing is told before anything is trained
    return made


def _tensorboard() -> LoopCallback:
    from tensor_optix.callbacks.tensorboard import TensorBoardLogger

    return TensorBoardLogger()


def _wandb() -> LoopCallback:
    from tensor_optix.callbacks.wandb import WandbLogger

    return WandbLogger()


def _mlflow() -> LoopCallback:
    from tensor_optix.callbacks.mlflow import MLflowLogger

    return MLflowLogger()


_LOGGERS: dict[str, Callable[[], LoopCallback]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
