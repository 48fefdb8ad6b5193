"""Do an agent's networks fit an environment's spaces? One forward pass of each tries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_optix.errors import ConfigError

Forward = Callable[[np.ndarray], np.ndarray]


def require_discrete(action_space: Any, owner: str) -> int:
    """The number of actions. Raises ConfigError unless ``action_space`` is Discrete."""
    if not any(kind.__name__ == "Discrete" for kind in type(action_space).__mro__):
        raise ConfigError(
            f"{owner} chooses among discrete actions, but the environment's action space is "
            f"{action_space}: use a continuous agent there"
        )
    return int(action_space.n)


def require_continuous(action_space: Any, action_dim: int, owner: str) -> None:
    """Raise ConfigError unless ``action_space`` is a Box of ``action_dim`` numbers to which (-1, 1) can be scaled.

    Without finite bounds actions stay as they are: then it must have all of (-1, 1).
    """
    is_box = any(kind.__name__ == "Box" for kind in type(action_space).__mro__)
    if not is_box or not np.issubdtype(action_space.dtype, np.floating):
        raise ConfigError(
            f"{owner} gives continuous actions, but the environment's action space is {action_space}: "
            "use a discrete agent there"
        )
    if tuple(action_space.shape) != (action_dim,):
        raise ConfigError(
            f"action_dim is {action_dim}, but the environment's actions have shape {tuple(action_space.shape)}: "
            f"give action_dim={int(np.prod(action_space.shape))} and flatten actions of other shapes"
        )
    low, high = action_space.low, action_space.high
    if not (action_space.is_bounded() or ((low <= -1).all() and (high >= 1).all())):
        raise ConfigError(
            f"{owner} acts in (-1, 1), which has no scale in {action_space}, where some bounds are infinite: give "
            "it finite ones (gymnasium.wrappers.TransformAction)"
        )


def require_outputs(
    name: str, forward: Forward, observation_space: Any, n_outputs: int, because: str, *, n_beside: int = 0
) -> None:
    """Raise ConfigError unless the network takes the environment's observations and gives ``n_outputs``.

    n_beside: numbers of an action, with which ``forward`` joins each observation to one row.
    """
    if observation_space.shape is None:
        raise ConfigError(f"{name} needs observations that are one array, got {observation_space}: flatten them")
    batch = np.zeros((1, *observation_space.shape), dtype=np.float32)
    try:
        outputs = forward(batch)
    except Exception as error:
        given = f"the environment's observations, of shape {observation_space.shape} (a batch of one: {batch.shape})"
        if n_beside:
            given = f"[observation ‖ action] as one row of {batch.size + n_beside} numbers"
        raise ConfigError(f"{name} does not take {given}: {error}{_hint(observation_space)}") from error
    if outputs.shape != (1, n_outputs):
        given = outputs.shape[1] if outputs.ndim == 2 else f"an array of shape {outputs.shape[1:]} as"
        raise ConfigError(f"{name} gives {given} outputs but {because}: its last layer must be {n_outputs}")


def _hint(observation_space: Any) -> str:
    """What helps where an observation is a single number."""
    if observation_space.shape:
        return ""
    return f" ({observation_space} is one number: observations='flatten' makes a one-hot vector of it)"


def checked_count(name: str, count: Any) -> int:
    """``count`` as a whole number of at least 1. Raises ConfigError that names the argument."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {count!r}")
    return int(count)
