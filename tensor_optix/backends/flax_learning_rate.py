"""At which learning rate does an optax transformation step, and how is that changed between updates?

optax compiles the rate into the transformation. What it returns is proportional to the rate, so another rate is a
factor on it; only ``optax.inject_hyperparams`` keeps the rate in its state, and there it is set.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import DictKey, GetAttrKey, tree_flatten_with_path, tree_map_with_path

Path = tuple[Any, ...]
"""Where a leaf is in a tree: the keys on the way to it."""

_INJECTED = (GetAttrKey("hyperparams"), DictKey("learning_rate"))
_SCHEDULED = (GetAttrKey("hyperparams_states"), DictKey("learning_rate"))
_CONSTANT = optax.scale(1.0).update
_SCHEDULE = optax.scale_by_schedule(lambda count: 1.0).update
_SAMPLED_COUNTS = (0, *(10**k for k in range(7)))


@dataclass(frozen=True)
class LearningRate:
    """The rate of one transformation; state: what its ``init`` gave."""

    transformation: optax.GradientTransformation
    state: Any

    @cached_property
    def shown(self) -> dict[Path, Any]:
        """The rates that ``inject_hyperparams`` shows in its state, and where."""
        return {path: leaf for path, leaf in tree_flatten_with_path(self.state)[0] if path[-2:] == _INJECTED}

    @cached_property
    def injected(self) -> dict[Path, Any]:
        """Those of them that are constants, and so can be set; a schedule would write over them."""
        paths = [path for path, _ in tree_flatten_with_path(self.state)[0]]
        scheduled = {path[:n] for path in paths for n in range(len(path)) if path[n : n + 2] == _SCHEDULED}
        return {path: leaf for path, leaf in self.shown.items() if path[:-2] not in scheduled}

    @cached_property
    def initial(self) -> float | None:
        """The rate it was built with: of its first part where it has several, the largest where it is a schedule.

        None where the transformation is not made of optax's own steps and so does not tell.
        """
        factors = [float(leaf) for leaf in self.shown.values()][:1] or [factor.size for factor in self._factors]
        rate = float(np.prod(factors or [0.0]))
        return rate if 0 < rate < np.inf else None

    @property
    def is_scheduled(self) -> bool:
        """True where a schedule of the user's decides the rate (another base rate is a factor on the schedule)."""
        return len(self.injected) < len(self.shown) or any(factor.is_scheduled for factor in self._factors)

    @cached_property
    def _factors(self) -> list[_Factor]:
        return list(_factors_in(self.transformation.update, set()))

    def factor(self, ratio: float) -> float:
        """What to multiply updates by, for ``ratio`` times the initial rate."""
        return 1.0 if self.injected else ratio

    def placed(self, state: Any, ratio: float) -> Any:
        """``state`` with ``ratio`` times the initial rate where a rate was injected."""
        if not self.injected:
            return state

        def placed(path: Path, leaf: Any) -> Any:
            return (self.injected[path] * ratio).astype(leaf.dtype) if path in self.injected else leaf

        return tree_map_with_path(placed, state)


@dataclass(frozen=True)
class _Factor:
    """By how much one step of a transformation scales, in absolute value."""

    size: float
    is_scheduled: bool


def _factors_in(update: Any, seen: set[int]) -> Iterator[_Factor]:
    """What ``update`` scales by, which optax holds in closures."""
    if isinstance(update, optax.GradientTransformation):
        yield from _factors_in(update.update, seen)
    elif isinstance(update, dict):  # one transformation for each label: the first stands for all
        yield from _factors_in(next(iter(update.values()), None), seen)
    elif isinstance(update, list | tuple):
        for part in update:
            yield from _factors_in(part, seen)
    elif isinstance(update, FunctionType) and id(update) not in seen:
        seen.add(id(update))
        held = inspect.getclosurevars(update).nonlocals
        if _is_made_by(update, _CONSTANT):
            yield _Factor(abs(float(held["step_size"])), is_scheduled=False)
        elif _is_made_by(update, _SCHEDULE):
            sizes = [abs(float(held["step_size_fn"](jnp.int32(count)))) for count in _SAMPLED_COUNTS]
            yield _Factor(max(sizes), is_scheduled=True)
        else:
            yield from _factors_in(tuple(held.values()), seen)


def _is_made_by(update: FunctionType, example: Any) -> bool:
    return isinstance(example, FunctionType) and update.__code__ is example.__code__


def strongly_typed(state: Any) -> Any:
    """``state`` in the types that updates give back, so that the first update and the second are one program."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), state)
