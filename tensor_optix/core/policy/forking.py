"""How does a fresh agent become a fork of the best policy, how a variant of it, and how is it kept for a resume?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.policy.mutation import mutated
from tensor_optix.core.state import misfit
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import ConfigError

WEIGHT_SHARE = 0.1
"""Relative noise on weights for a noise scale of 1: a policy is torn apart long before its hyperparameters are."""

Mutation = Callable[[BaseAgent], None]


def fork(shell: BaseAgent, origin: BaseAgent, registry: CheckpointRegistry) -> None:
    """Make ``shell`` the best policy. One that replays gets what ``origin`` has experienced, too."""
    if not shell.is_on_policy:
        _copy_experience(shell, origin)
    registry.load_best(shell)


def vary(agent: BaseAgent, noise_scale: float, rng: np.random.Generator) -> None:
    """Move the agent's hyperparameters and, much less, its weights."""
    present = agent.get_hyperparams()
    params = mutated(present.params, agent.param_space, noise_scale, rng)
    agent.set_hyperparams(HyperparamSet(params, present.episode_id))
    agent.seed(np.random.default_rng(int(rng.integers(2**63))))  # weights are moved by the agent's own stream
    agent.perturb_weights(WEIGHT_SHARE * noise_scale)


def _copy_experience(shell: BaseAgent, origin: BaseAgent) -> None:
    if type(shell) is not type(origin):
        return
    state, pattern = origin.state_dict(), shell.state_dict()
    if state is not None and pattern is not None and misfit(state, pattern) is None:
        shell.load_state_dict(copy.deepcopy(state))


# -- as a state tree -------------------------------------------------------------------------------------------------


def agent_tree(agent: BaseAgent) -> dict[str, Any] | None:
    """All that is needed to have the agent again; None for one that gives neither a state nor a policy."""
    state = agent.state_dict()
    if state is not None:
        return {"state": state}
    policy = agent.policy_state()
    return None if policy is None else {"policy": policy, "hyperparams": dict(agent.get_hyperparams().params)}


def load_agent_tree(agent: BaseAgent, tree: dict[str, Any]) -> None:
    """The inverse of ``agent_tree``."""
    if "state" in tree:
        agent.load_state_dict(tree["state"])
        return
    agent.load_policy_state(tree["policy"])
    agent.set_hyperparams(HyperparamSet(tree["hyperparams"]))


def made_by(factory: Callable[[], Any] | None) -> Callable[[], Any]:
    """``factory``. Raises ConfigError where there is none."""
    if factory is None:
        raise ConfigError("this run holds spawned agents: give as_callback the agent_factory that made them")
    return factory
