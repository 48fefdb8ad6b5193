"""Is a window whole, before an agent learns from it? (Those of our pipelines are; one built by hand may not be.)"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError, NonFiniteError

ROUNDING = 1e-3
"""Actions that were scaled to an environment's bounds and back may lie this far outside their own."""


def require_sound(window: EpisodeData) -> None:
    """Raise ConfigError unless all columns have one length and the segments part the rows; NonFiniteError for NaN.

    Found out later, half of the update would be made, and a replay would hold the broken rows for good.
    """
    _require_equal_lengths(window)
    _require_segments(window)
    for name, column in (("rewards", window.rewards), ("observations", window.observations)):
        _require_finite(name, column)
    for row, observation in window.final_observations.items():
        _require_finite(f"final_observations[{row}]", observation)
    _require_finite("final_obs", window.final_obs)


def action_indices(actions: Any, n_actions: int) -> np.ndarray:
    """Actions of a window as int64 [T]. Raises ConfigError for one that is not 0, 1, ..., n_actions - 1.

    (Every framework does something else with another number: an error, NaN, or a wrong update without a word.)
    """
    given = np.asarray(actions).reshape(-1)
    numbers = given if given.dtype.kind in "iubf" else np.full(given.shape, np.nan)
    is_right = (numbers >= 0) & (numbers < n_actions)
    if numbers.dtype.kind == "f":
        is_right &= np.trunc(numbers) == numbers
    if not is_right.all():
        row = int(is_right.argmin())
        raise ConfigError(
            f"actions of this agent are the whole numbers from 0 to {n_actions - 1}, got {given[row]} at "
            f"actions[{row}] (where an environment's start elsewhere, its pipeline adds the start)"
        )
    return given.astype(np.int64)


def unit_actions(actions: Any, n_rows: int, action_dim: int) -> np.ndarray:
    """Actions of a window as float64 [T, D]. Raises ConfigError for another shape, or for one outside [-1, 1].

    (Numbers on an environment's own scale would be learned from as if the policy had chosen its bounds.)
    """
    given = action_rows("actions", actions, n_rows, action_dim)
    outside = np.abs(given) > 1.0 + ROUNDING
    if outside.any():
        row, column = (int(i) for i in np.argwhere(outside)[0])
        raise ConfigError(
            f"actions of this agent lie within [-1, 1], got {given[row, column]} at actions[{row}, {column}]: record "
            "what act returned, before it is scaled to the environment's bounds, and clip what you add to it"
        )
    return given


def action_rows(name: str, column: Any, n_rows: int, action_dim: int) -> np.ndarray:
    """``column`` as float64 [T, D]. Raises ConfigError for another number of columns, NonFiniteError for NaN."""
    given = np.asarray(column, dtype=np.float64)
    if given.size != n_rows * action_dim:
        raise ConfigError(
            f"{name} of this agent are {action_dim} numbers each (action_dim), got {n_rows} rows in an array of shape "
            f"{given.shape}"
        )
    _require_finite(name, given)
    return given.reshape(n_rows, action_dim)


def _require_equal_lengths(window: EpisodeData) -> None:
    columns = {
        "rewards": window.rewards,
        "observations": window.observations,
        "actions": window.actions,
        "terminated": window.terminated,
        "truncated": window.truncated,
        **{f"extras[{name!r}]": column for name, column in window.extras.items()},
    }
    if any(len(column) != window.length for column in columns.values()):
        lengths = {name: len(column) for name, column in columns.items()}
        raise ConfigError(f"the columns of a window must be equally long, got {lengths}")


def _require_segments(window: EpisodeData) -> None:
    stop = 0
    for start, end in window.row_ranges:
        if start != stop or end < start:
            break
        stop = end
    else:
        if stop == window.length:
            return
    raise ConfigError(
        f"segments must part the {window.length} rows of a window without a gap, (0, m), (m, n), ..., "
        f"got {window.segments}"
    )


def _require_finite(name: str, column: Any) -> None:
    numbers = np.asarray(column)
    if numbers.dtype.kind != "f" or np.isfinite(numbers).all():
        return
    first = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(numbers)))
    raise NonFiniteError(
        f"a window to learn from must hold finite numbers, got {numbers[first]} at {name}{list(first)}: "
        "repair it, or leave its env episode out"
    )
