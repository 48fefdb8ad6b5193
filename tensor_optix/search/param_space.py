"""What is searched: parameter specifications, and how a trial draws from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from tensor_optix.core.hyperparams import Param, Space
from tensor_optix.errors import ConfigError, nearest

ParamSpace = Mapping[str, tuple[Any, ...]]
"""Name -> ("float" | "log_float" | "int" | "log_int", low, high) or ("categorical", value, value, ...)."""

KINDS = ("float", "log_float", "int", "log_int", "categorical")


class Draws(Protocol):
    """What a search hands to its trials (Optuna's Trial)."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Dimension:
    """One searched hyperparameter. from_one: what is drawn, on a logarithmic scale, is its distance from 1."""

    name: str
    kind: str
    low: Any = None
    high: Any = None
    choices: tuple[Any, ...] = ()
    from_one: bool = False

    def drawn(self, trial: Draws) -> Any:
        """This trial's value."""
        is_log = self.kind.startswith("log_")
        if self.kind == "categorical":
            return trial.suggest_categorical(self.name, self.choices)
        if self.from_one:
            return 1.0 - trial.suggest_float(self._label, 1.0 - self.high, 1.0 - self.low, log=True)
        suggest = trial.suggest_int if self.kind.endswith("int") else trial.suggest_float
        return suggest(self.name, self.low, self.high, log=is_log)

    def holding(self, value: Any) -> Dimension:
        """This dimension, widened where ``value`` lies outside: the user's own values win."""
        if self.kind == "categorical":
            return self if value in self.choices else replace(self, choices=(*self.choices, value))
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    def queued(self, value: Any) -> dict[str, Any]:
        """What to enqueue so that a trial draws ``value``; nothing where the value lies outside."""
        if self.kind == "categorical":
            return {self.name: value} if value in self.choices else {}
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return {}
        return {self._label: 1.0 - value} if self.from_one else {self.name: value}

    @property
    def middle(self) -> Any:
        """A value in the middle of the range, on its scale."""
        if self.kind == "categorical":
            return self.choices[0]
        if self.from_one:
            return 1.0 - math.sqrt((1.0 - self.low) * (1.0 - self.high))
        middle = math.sqrt(self.low * self.high) if self.kind.startswith("log_") else (self.low + self.high) / 2
        return round(middle) if self.kind.endswith("int") else middle

    @property
    def _label(self) -> str:
        return f"1-{self.name}" if self.from_one else self.name


class SearchSpace:
    """All dimensions of a search."""

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        self.dimensions = dict(dimensions)

    @classmethod
    def given(cls, specs: ParamSpace) -> SearchSpace:
        """The user's specifications, taken literally. Raises ConfigError that names the one that cannot work."""
        if not isinstance(specs, Mapping) or not all(isinstance(name, str) for name in specs):
            raise ConfigError(f"param_space must be a dict, name: (kind, low, high), got {specs!r}")
        if not specs:
            raise ConfigError("param_space is empty: there is nothing to search")
        return cls({name: _checked(name, spec) for name, spec in specs.items()})

    @classmethod
    def declared(cls, space: Space | None) -> SearchSpace:
        """What an agent declares as tunable; discount-like parameters by their distance from 1."""
        tunable = {name: param for name, param in (space or {}).items() if param.tunable}
        if not tunable:
            raise ConfigError("the agent declares nothing tunable: pass param_space={name: (kind, low, high)}")
        return cls({name: _of_param(name, param) for name, param in tunable.items()})

    def holding(self, params: Mapping[str, Any]) -> SearchSpace:
        """This space, widened where one of ``params`` lies outside."""
        return SearchSpace({
            name: dimension.holding(params[name]) if name in params else dimension
            for name, dimension in self.dimensions.items()
        })  # fmt: skip

    def drawn(self, trial: Draws) -> dict[str, Any]:
        """Hyperparameters for one trial."""
        return {name: dimension.drawn(trial) for name, dimension in self.dimensions.items()}

    def queued(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What to enqueue so that a trial draws ``params``, as far as they lie in this space."""
        queued: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            if name in params:
                queued |= dimension.queued(params[name])
        return queued

    @property
    def middle(self) -> dict[str, Any]:
        """The middle of every range."""
        return {name: dimension.middle for name, dimension in self.dimensions.items()}

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of every dimension."""
        return {name: dimension.kind for name, dimension in self.dimensions.items()}

    def __len__(self) -> int:
        return len(self.dimensions)


def require_functions(**factories: Any) -> None:
    """Raise ConfigError for one that cannot be called."""
    for name, factory in factories.items():
        if not callable(factory):
            raise ConfigError(f"{name} must be a function, got {factory!r}")


def _checked(name: str, spec: Any) -> Dimension:
    if not isinstance(spec, tuple | list) or not spec or spec[0] not in KINDS:
        kind = spec[0] if isinstance(spec, tuple | list) and spec else spec
        hint = nearest(str(kind), KINDS) or f" It must be one of {', '.join(KINDS)}."
        raise ConfigError(f"param_space[{name!r}] starts with {kind!r}.{hint}")
    kind, *values = (value.item() if isinstance(value, np.generic) else value for value in spec)
    if kind == "categorical":
        if not values:
            raise ConfigError(f"param_space[{name!r}] lists no values")
        return Dimension(name, kind, choices=tuple(values))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    if len(values) != 2 or not numbers or values[0] > values[1]:
        raise ConfigError(f"param_space[{name!r}] must be ({kind!r}, low, high) with low <= high, got {spec!r}")
    if kind.startswith("log_") and values[0] <= 0:
        raise ConfigError(f"param_space[{name!r}] is on a logarithmic scale: low must be above 0, got {values[0]!r}")
    if kind.endswith("int") and any(v != int(v) for v in values):
        raise ConfigError(f"param_space[{name!r}] must have whole numbers as bounds, got {spec!r}")
    return Dimension(name, kind, *(map(int, values) if kind.endswith("int") else values))


def _of_param(name: str, param: Param) -> Dimension:
    if param.kind in ("categorical", "bool"):
        return Dimension(name, "categorical", choices=param.choices or (False, True))
    if param.low is None or param.high is None:
        raise ConfigError(f"the tunable hyperparameter {name!r} is declared without a range: pass param_space")
    near_one = param.kind == "float" and param.low >= 0.5 and param.high < 1.0
    return Dimension(name, param.kind, param.low, param.high, from_one=near_one)
