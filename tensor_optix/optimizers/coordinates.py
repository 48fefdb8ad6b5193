"""How do hyperparameters become positions between 0 and 1, and back?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tensor_optix.core.hyperparams import Interval, Param, Space
from tensor_optix.errors import ConfigError

ANYTHING = Interval("(-inf, inf)")


class Axis(Protocol):
    """One tunable hyperparameter. A move of 1 spans its whole range."""

    def moved(self, value: Any, offset: float) -> Any:
        """``value`` moved by ``offset``, kept inside the range; 0 gives the very same value back."""
        ...

    def distance(self, one: Any, other: Any) -> float:
        """How far ``other`` lies from ``one``, in units of the range, with its sign."""
        ...

    def holding(self, value: Any) -> Axis:
        """This axis, widened where ``value`` lies outside: the user's own values win. Raises ConfigError."""
        ...


@dataclass(frozen=True)
class NumberAxis:
    """A number between ``low`` and ``high``, on a logarithmic scale if ``is_log``."""

    low: float
    high: float
    is_log: bool = False
    is_int: bool = False
    limits: Interval = ANYTHING

    def position(self, value: float) -> float:
        """0 at ``low``, 1 at ``high``."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, position: float) -> float:
        """The number at a position; outside [0, 1] the nearest end."""
        if position <= 0.0 or position >= 1.0:
            number = self.low if position <= 0.0 else self.high
        elif self.is_log:
            number = self.low * (self.high / self.low) ** position
        else:
            number = self.low + position * (self.high - self.low)
        return round(number) if self.is_int else number

    def moved(self, value: float, offset: float) -> float:
        if offset == 0.0:
            return value
        number = self.value(self.position(value) + offset)
        if self.is_int and number == value:  # a whole number moves by one at least
            number = int(min(max(value + math.copysign(1, offset), self.low), self.high))
        return number if number in self.limits else value

    def distance(self, one: float, other: float) -> float:
        return self.position(other) - self.position(one)

    def holding(self, value: Any) -> NumberAxis:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"it must be a finite number, got {value!r}")
        if self.is_log and value <= 0:
            raise ConfigError(f"on a logarithmic scale it must be above 0, got {value!r}")
        is_int = self.is_int or isinstance(value, int)
        if self.low <= value <= self.high and is_int == self.is_int:
            return self  # at every tick, so nothing is made for it
        return replace(self, low=min(self.low, value), high=max(self.high, value), is_int=is_int)

    @property
    def decades(self) -> float:
        """Width of the range in powers of ten; 0 on a linear scale."""
        return math.log10(self.high / self.low) if self.is_log else 0.0


@dataclass(frozen=True)
class ChoiceAxis:
    """One of several values without an order: a move up is the next one, a move down leaves it alone."""

    choices: tuple[Any, ...]

    def moved(self, value: Any, offset: float) -> Any:
        if offset <= 0.0:
            return value
        return self.choices[(self.choices.index(value) + 1) % len(self.choices)]

    def distance(self, one: Any, other: Any) -> float:
        return float(one != other)

    def holding(self, value: Any) -> ChoiceAxis:
        return self if value in self.choices else ChoiceAxis((*self.choices, value))


class Box(Mapping[str, Axis]):
    """The axes that a tuner moves along, by name."""

    def __init__(self, axes: Mapping[str, Axis]) -> None:
        self._axes = dict(axes)

    @classmethod
    def declared(
        cls, bounds: Mapping[str, tuple[float, float]], log_params: Sequence[str], space: Space | None
    ) -> Box:
        """The axes that the user gave bounds for; where there are none, those that the agent declares as tunable.

        Scale, whole numbers and hard limits come from the agent's declaration where it knows the name. What is under a
        schedule is left to it.
        Raises ConfigError for impossible bounds.
        """
        known: Mapping[str, Param] = space or {}
        names = list(bounds) or [name for name, param in known.items() if param.tunable]
        free = [name for name in names if name not in known or not known[name].is_scheduled]
        return cls({name: _axis(name, bounds.get(name), name in log_params, known.get(name)) for name in free})

    def holding(self, params: Mapping[str, Any]) -> Box:
        """The axes of the hyperparameters that are there, widened to hold their values. Raises ConfigError."""
        held = dict[str, Axis]()
        for name, axis in self.items():
            try:
                held |= {name: axis.holding(params[name])} if name in params else {}
            except ConfigError as error:
                raise ConfigError(f"the hyperparameter {name!r} cannot be tuned: {error}") from None
        return Box(held)

    def moved(self, params: Mapping[str, Any], offsets: Mapping[str, float]) -> dict[str, Any]:
        """``params`` with some of them moved."""
        return {**params, **{name: self[name].moved(params[name], offset) for name, offset in offsets.items()}}

    def __getitem__(self, name: str) -> Axis:
        return self._axes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._axes)

    def __len__(self) -> int:
        return len(self._axes)


def _axis(name: str, bounds: tuple[float, float] | None, is_log: bool, param: Param | None) -> Axis:
    if param is not None and bounds is None and param.kind in ("categorical", "bool"):
        return ChoiceAxis(param.choices or (False, True))
    low, high = _ends(name, bounds if bounds is not None or param is None else (param.low, param.high))
    kind = param.kind if param else ""
    on_log_scale = is_log or kind.startswith("log_")
    if on_log_scale and low <= 0:
        raise ConfigError(f"{name!r} is on a logarithmic scale: its bounds must be above 0, got {(low, high)}")
    return NumberAxis(
        low, high, on_log_scale, kind.endswith("int"), Interval(param.limits) if param else ANYTHING
    )


def checked_bounds(bounds: Mapping[str, tuple[float, float]] | None) -> dict[str, tuple[float, float]]:
    """``bounds`` where every one is two numbers, the lower one first; else ConfigError."""
    if bounds is not None and not isinstance(bounds, Mapping):
        raise ConfigError(f"param_bounds must be a dict, name: (low, high), got {bounds!r}")
    return {name: _ends(name, pair) for name, pair in (bounds or {}).items()}


def checked_names(argument: str, names: Iterable[str]) -> tuple[str, ...]:
    """``names``, unless they are one text: its letters are no names."""
    if isinstance(names, str):
        raise ConfigError(f"{argument} must be a list of names, got {names!r}: write [{names!r}]")
    return tuple(names)


def _ends(name: str, bounds: Any) -> tuple[float, float]:
    try:
        low, high = bounds
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return low, high
    except (TypeError, ValueError):
        pass  # told below
    raise ConfigError(f"the bounds of {name!r} must be two numbers, the lower one first, got {bounds!r}")
