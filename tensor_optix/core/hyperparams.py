"""How a hyperparameter is declared: name, default, range, scale and doc, once, for everyone who needs them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tensor_optix.errors import ConfigError, nearest

Number = int | float


@dataclass(frozen=True)
class Interval:
    """A set of allowed numbers in the usual notation: ``"(0, 1]"`` excludes 0 and includes 1."""

    text: str

    def __contains__(self, value: Number) -> bool:
        low, high = (float(part) for part in self.text[1:-1].split(","))
        above = value > low if self.text[0] == "(" else value >= low
        below = value < high if self.text[-1] == ")" else value <= high
        return above and below


@dataclass(frozen=True)
class LinearSchedule:
    """A hyperparameter that goes from ``start`` to ``end`` over ``steps`` env steps, and stays there.

    Given in place of a number, where ``Param.schedulable`` says so. Its base value is ``start``; no tuner touches it.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ConfigError(f"steps of a LinearSchedule must be a whole number of at least 1, got {self.steps!r}")

    def at(self, step: int) -> float:
        """The value after ``step`` env steps."""
        share = min(max(step / self.steps, 0.0), 1.0)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Param:
    """One hyperparameter.

    kind: "float", "log_float", "int", "log_int", "bool" or "categorical".
    low, high: the range that a tuner or a search explores; a user's value outside it is respected.
    limits: hard limits; a value outside them is refused.
    tunable: False for shapes (a change would recompile) and for what no tuner should touch.
    schedulable: True where a ``LinearSchedule`` may stand for the number. is_scheduled: True while one does, of ours
    or of the user's own.
    """

    kind: str
    low: Number | None = None
    high: Number | None = None
    default: Any = None
    doc: str = ""
    limits: str = "(-inf, inf)"
    choices: tuple[Any, ...] = ()
    tunable: bool = False
    schedulable: bool = False
    is_scheduled: bool = False

    def checked(self, name: str, value: Any) -> Any:
        """``value`` in this parameter's type. Raises ConfigError for a wrong type or outside the hard limits."""
        if isinstance(value, LinearSchedule):
            return self._scheduled(name, value)
        if self.kind == "categorical":
            return self._chosen(name, value)
        if self.kind == "bool":
            if not isinstance(value, bool):
                raise ConfigError(f"{name} must be True or False, got {value!r}")
            return value
        number = self._number(name, value)
        if not math.isfinite(number) or number not in Interval(self.limits):
            raise ConfigError(f"{name} must lie in {self.limits}, got {value!r}")
        return number

    def _scheduled(self, name: str, schedule: LinearSchedule) -> LinearSchedule:
        if not self.schedulable:
            raise ConfigError(f"{name} takes a number, not a schedule, got {schedule!r}")
        end = float(schedule.end)
        is_bound = end in (float(part) for part in self.limits[1:-1].split(","))  # a rate may fall to 0
        checked_end = end if is_bound and math.isfinite(end) else self.checked(name, end)
        return LinearSchedule(float(self.checked(name, schedule.start)), checked_end, schedule.steps)

    def _chosen(self, name: str, value: Any) -> Any:
        if value not in self.choices:
            raise ConfigError(f"{name} must be one of {', '.join(map(repr, self.choices))}, got {value!r}")
        return value

    def _number(self, name: str, value: Any) -> Number:
        plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            raise ConfigError(f"{name} must be a number, got {value!r}")
        if self.kind in ("float", "log_float"):
            return float(plain)
        if not math.isfinite(plain) or plain != int(plain):
            raise ConfigError(f"{name} must be a whole number, got {value!r}")
        return int(plain)


class Space(Mapping[str, Param]):
    """The hyperparameters of one algorithm, by name."""

    def __init__(self, **params: Param) -> None:
        self._params = params

    def __getitem__(self, name: str) -> Param:
        return self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def without_tuning(self, names: Iterable[str]) -> Space:
        """This space with some parameters that no tuner may touch."""
        return self.extended(**{name: replace(self[name], tunable=False) for name in names})

    def explored(self, bounds: Mapping[str, tuple[Number, Number]], log_params: Collection[str]) -> Space:
        """This space, of which tuners explore what ``bounds`` names, within them, and nothing else.

        log_params: which of those on a logarithmic scale. Raises ConfigError for an unknown name.
        """
        self._require_known(bounds, "default_param_bounds")
        explored = {}
        for name, (low, high) in bounds.items():
            kind = ("log_" if name in log_params else "") + self[name].kind.removeprefix("log_")
            explored[name] = replace(self[name], kind=kind, low=low, high=high, tunable=True)
        return self.without_tuning(self).extended(**explored)

    def scheduled(self, names: Iterable[str]) -> Space:
        """This space with some parameters that follow a schedule: neither a tuner nor a cool-down touches them."""
        return self.extended(**{name: replace(self[name], tunable=False, is_scheduled=True) for name in names})

    def extended(self, **params: Param) -> Space:
        """This space with more (or redefined) parameters, for a subclass."""
        return Space(**{**self._params, **params})

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of every parameter that has one."""
        return {name: param.default for name, param in self.items() if param.default is not None}

    @property
    def tuner_bounds(self) -> dict[str, tuple[Number, Number]]:
        """Range of every tunable parameter."""
        return {
            name: (param.low, param.high)
            for name, param in self.items()
            if param.tunable and param.low is not None and param.high is not None
        }

    @property
    def log_params(self) -> list[str]:
        """Names of the tunable parameters that live on a logarithmic scale."""
        return [name for name, param in self.items() if param.tunable and param.kind.startswith("log_")]

    def checked(self, params: Mapping[str, Any], *, owner: str = "this agent") -> dict[str, Any]:
        """``params`` in their declared types; all or nothing.

        Raises ConfigError for an unknown name (with the nearest one), a wrong type or a value outside hard limits.
        """
        if not isinstance(params, Mapping):
            raise ConfigError(f"hyperparameters of {owner} are values by name, {{}} for all defaults, got {params!r}")
        self._require_known(params, owner)
        return {name: self[name].checked(name, value) for name, value in params.items()}

    def _require_known(self, names: Iterable[str], owner: str) -> None:
        for name in names:
            if name not in self:
                hint = nearest(name, self) or f" It knows: {', '.join(self)}."
                raise ConfigError(f"unknown hyperparameter {name!r} for {owner}.{hint}")
