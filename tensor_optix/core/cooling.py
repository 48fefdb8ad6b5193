"""How a cool-down reaches the agent: its learning rate is lowered for one learn call, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import HyperparamSet

_NAME = "learning_rate"


def can_be_cooled(agent: BaseAgent) -> bool:
    """True when the agent has a learning rate that nobody else changes: one under a schedule is left to it."""
    value, space = agent.get_hyperparams().params.get(_NAME), agent.param_space
    is_ours = space is None or _NAME not in space or not space[_NAME].is_scheduled
    return isinstance(value, int | float) and not isinstance(value, bool) and is_ours


@contextmanager
def cooled(agent: BaseAgent, factor: float | None) -> Iterator[None]:
    """Within, the learning rate is ``factor`` times its base value; afterwards the base value is in force again."""
    base = agent.get_hyperparams()
    if factor is None or factor == 1.0 or not can_be_cooled(agent):
        yield
        return
    agent.set_hyperparams(HyperparamSet({**base.params, _NAME: base.params[_NAME] * factor}, base.episode_id))
    try:
        yield
    finally:
        agent.set_hyperparams(base)
