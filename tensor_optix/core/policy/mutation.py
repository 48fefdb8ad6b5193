"""What do the hyperparameters of a variant look like? Those of its origin, each moved a little. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.core.hyperparams import Param, Space

FULL_NOISE = 0.1  # the noise scale at which mutation is strongest
LOG_SD = math.log(1.5)  # of a factor, at full noise
REDRAW_SHARE = 0.25  # how often a category is drawn anew, at full noise
UNDECLARED = Param("float")


def mutated(
    params: Mapping[str, Any], space: Space | None, noise_scale: float, rng: np.random.Generator
) -> dict[str, Any]:
    """``params`` with every tunable one moved by a log-normal factor, sd ln 1.5 at a noise scale of 0.1.

    Values stay inside their declared range (widened to where they are); whole numbers stay whole and, at least at
    full noise, move; categories are drawn anew now and then. What a space does not declare tunable stays as it is.
    Without a space every number moves, and those between 0 and 1 stay there.
    """
    intensity = noise_scale / FULL_NOISE
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}
    return {name: _moved(value, _param_of(name, value, space), intensity, rng) for name, value in plain.items()}


def _param_of(name: str, value: Any, space: Space | None) -> Param | None:
    """How the value may move; None: not at all."""
    if space is not None:
        return space[name] if name in space and space[name].tunable else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return UNDECLARED if isinstance(value, float) or value < 1 else Param("int", low=1)


def _moved(value: Any, param: Param | None, intensity: float, rng: np.random.Generator) -> Any:
    if param is None:
        return value
    if param.kind == "categorical":
        return _redrawn(value, param.choices, intensity, rng)
    if param.kind == "bool":
        return _redrawn(value, (False, True), intensity, rng)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value  # a schedule, for example
    log_factor = intensity * LOG_SD * rng.standard_normal()
    moved = _scaled(float(value), param, log_factor)
    if param.kind.endswith("int"):
        moved = round(moved)
        if moved == value and abs(log_factor) >= LOG_SD / 2:
            moved += 1 if log_factor > 0 else -1  # small numbers would never move otherwise
    low = -math.inf if param.low is None else min(param.low, value)
    high = math.inf if param.high is None else max(param.high, value)
    return type(value)(min(max(moved, low), high))


def _scaled(value: float, param: Param, log_factor: float) -> float:
    """value · e^f; what lives next to 1 (γ, λ) is moved in its distance from 1, and a bare fraction stays one."""
    if _lives_next_to_one(param):
        return 1 - (1 - value) * math.exp(-log_factor)
    if param is UNDECLARED and 0 < value < 1:
        odds = value / (1 - value) * math.exp(log_factor)
        return odds / (1 + odds)
    return value * math.exp(log_factor)


def _lives_next_to_one(param: Param) -> bool:
    return param.low is not None and param.high is not None and param.low >= 0.5 and 0.9 <= param.high <= 1


def _redrawn(value: Any, choices: tuple[Any, ...], intensity: float, rng: np.random.Generator) -> Any:
    draws_anew = rng.random() < REDRAW_SHARE * intensity
    index = int(rng.integers(len(choices)))
    return choices[index] if draws_anew else value
