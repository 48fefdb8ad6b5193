"""Which policy does an agent hold? Its preprocessing, its network as layers, its way of choosing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from tensor_optix.algorithms.a2c import A2CAgent
from tensor_optix.algorithms.dqn import DQNAgent
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.algorithms.ppo import PPOAgent
from tensor_optix.algorithms.ppo_continuous import GaussianPPOAgent
from tensor_optix.algorithms.sac import SACAgent
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.normalizers import ObsNormalizer, RunningMeanStd
from tensor_optix.errors import ConfigError
from tensor_optix.export.heads import (
    ActionUnits,
    AsChosen,
    Bounds,
    Categorical,
    EpsilonGreedy,
    Head,
    Indices,
    SquashedGaussian,
)
from tensor_optix.export.layers import Dense, Layer, Normalise
from tensor_optix.export.numpy_policy import NumpyPolicy
from tensor_optix.export.recognising import Unsupported

TOLERANCE = 1e-4
"""Relative to the largest output: by so much a description may differ from the network it describes."""


class HasSpaces(Protocol):
    """An environment, or a pipeline over one."""

    @property
    def observation_space(self) -> Any: ...
    @property
    def action_space(self) -> Any: ...


def policy_of(agent: BaseAgent, env: HasSpaces | None = None) -> NumpyPolicy:
    """The agent's policy as it is now, checked against the agent itself on random observations.

    env: whose action space the actions are for; without one they stay in the agent's units.
    Raises ConfigError for agents, normalisers and networks that have no description.
    """
    if not isinstance(agent, NetworkAgent) or agent.acting_changes_state:
        raise ConfigError(f"only built-in agents that act by their network can be exported, got {_name(agent)}")
    if env is not None:
        agent.check_spaces(env.observation_space, env.action_space)
    head = _head(agent)
    network = _network_layers(agent.acting_module, _name(agent))
    layers = (*_preprocessing(agent), *network)
    units = AsChosen() if env is None else _units(env.action_space, head)
    policy = NumpyPolicy(_observation_shape(layers, env), layers, head, units, _name(agent))
    _require_agreement(policy, agent)
    return policy


def _head(agent: NetworkAgent) -> Head:
    if isinstance(agent, PPOAgent | A2CAgent):
        return Categorical()
    if isinstance(agent, DQNAgent):
        return EpsilonGreedy(float(agent.epsilon))
    if isinstance(agent, GaussianPPOAgent | SACAgent):
        return SquashedGaussian()
    raise ConfigError(f"it is not known how {_name(agent)} chooses its actions: export its network yourself")


def _preprocessing(agent: NetworkAgent) -> tuple[Normalise, ...]:
    statistics = agent.observation_statistics
    if statistics is None:
        return ()
    if type(statistics) is not ObsNormalizer:
        raise ConfigError(f"a {type(statistics).__name__} cannot be exported: use ObsNormalizer, or none")
    moments = RunningMeanStd(statistics.mean.shape)
    moments.load_state_dict(statistics.state_dict())
    return (Normalise(moments.mean, moments.std, float(statistics.clip)),)


def _network_layers(module: Any, owner: str) -> tuple[Layer, ...]:
    """By the framework that the module's class comes from."""
    homes = {kind.__module__.split(".")[0] for kind in type(module).__mro__}
    try:
        return tuple(_recogniser(homes)(module))
    except Unsupported as error:
        raise ConfigError(
            f"{owner} acts with a network that cannot be exported: {error} has no description. Sequential stacks of "
            "dense, convolutional, flatten, layer norm and common activation layers have"
        ) from error


def _recogniser(homes: set[str]) -> Callable[[Any], Iterable[Layer]]:
    if "torch" in homes:
        from tensor_optix.export.torch_stack import layers_of as of_torch

        return of_torch
    if "keras" in homes:
        from tensor_optix.export.tf_stack import layers_of as of_keras

        return of_keras
    if "flax" in homes:
        from tensor_optix.export.flax_stack import layers_of as of_flax

        return of_flax
    raise Unsupported("a module of no known framework")


def _units(space: Any, head: Head) -> ActionUnits:
    """What the pipelines make of actions (``pipeline/actions.py``)."""
    if not isinstance(head, SquashedGaussian):
        return Indices(int(space.start))
    if not (space.is_bounded() and np.issubdtype(space.dtype, np.floating)):
        return AsChosen()
    return Bounds(space.low.copy(), space.high.copy())


def _observation_shape(layers: tuple[Layer, ...], env: HasSpaces | None) -> tuple[int, ...]:
    if env is not None:
        return tuple(env.observation_space.shape)
    first = layers[0] if layers else None
    if isinstance(first, Normalise):
        return tuple(first.mean.shape)
    if isinstance(first, Dense):
        return (int(first.weight.shape[0]),)
    raise ConfigError("the shape of observations is not known: give the environment, export_policy(..., env=env)")


def _require_agreement(policy: NumpyPolicy, agent: NetworkAgent) -> None:
    """The description must compute what the network does: layers may be joined in ways that do not show."""
    observations = np.random.default_rng(0).standard_normal((5, *policy.observation_shape)).astype(np.float32)
    ours, theirs = policy.outputs(observations), agent.policy_outputs(observations)
    if not np.allclose(ours, theirs, rtol=0.0, atol=TOLERANCE * max(1.0, float(np.abs(theirs).max()))):
        raise ConfigError(f"the network of {_name(agent)} computes something else than its layers one after another")


def _name(agent: Any) -> str:
    return type(agent).__name__
