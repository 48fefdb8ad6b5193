"""The agent contract: six methods that every agent has, and defaults for all that the loop may ask besides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tensor_optix.core.hyperparams import Param, Space
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ConfigError

REQUIRED_METHODS = ("act", "learn", "get_hyperparams", "set_hyperparams", "save_weights", "load_weights")

Actions = np.ndarray
Extras = dict[str, np.ndarray]

BEHAVIOUR_LOG_PROB = "behaviour_log_prob"
"""The extra that holds log b(a|s) of each action where another policy b than the learner's own has chosen it."""


class BaseAgent(ABC):
    """Anything that acts and learns. The loop calls the six abstract methods; the rest has working defaults."""

    default_param_bounds: ClassVar[dict[str, tuple[float, float]]] = {}
    default_log_params: ClassVar[list[str]] = []
    default_min_episodes_before_dormant: ClassVar[int] = 0
    default_portfolio: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Hyperparameters worth trying early in a search besides the defaults: each good on other tasks."""

    @abstractmethod
    def act(self, observation: Any) -> Any:
        """An action for one observation."""

    @abstractmethod
    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Learn from one window; returns diagnostics by name."""

    @abstractmethod
    def get_hyperparams(self) -> HyperparamSet:
        """The current base hyperparameters."""

    @abstractmethod
    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        """Take over base hyperparameters."""

    @abstractmethod
    def save_weights(self, path: str) -> None:
        """Write the policy's weights to ``path`` (a file or a directory of the agent's own)."""

    @abstractmethod
    def load_weights(self, path: str) -> None:
        """Read what ``save_weights`` wrote."""

    # -- what the loop may ask besides -------------------------------------------------------------------------

    @property
    def is_on_policy(self) -> bool:
        """True when a window is learned from once, with the policy that collected it."""
        return True

    @property
    def corrects_for_behaviour(self) -> bool:
        """True when ``learn`` weighs actions that others chose by the extra ``BEHAVIOUR_LOG_PROB``."""
        return False

    @property
    def param_space(self) -> Space | None:
        """The declared hyperparameters: here, those that the class gives tuner bounds for; None without any."""
        bounds, log_params = self.default_param_bounds, self.default_log_params
        kinds = {name: "log_float" if name in log_params else "float" for name in bounds}
        params = {name: Param(kinds[name], *bounds[name], tunable=True) for name in bounds}
        return Space(**params) if params else None

    @property
    def warming_up(self) -> bool:
        """True while scores say nothing about learning yet; the clock and the tuner wait."""
        return False

    @property
    def acts_in_unit_box(self) -> bool:
        """True when continuous actions are in (-1, 1) and the pipeline scales them to the environment's bounds."""
        return False

    @property
    def acting_changes_state(self) -> bool:
        """False when ``act_batch`` draws from the caller's stream only and leaves the agent as it was."""
        return True

    @property
    def continues_exactly(self) -> bool:
        """False where ``state_dict`` cannot hold all that matters: something outside of the agent has a say in it."""
        return True

    @property
    def decisions(self) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
        """What the last ``learn`` has decided: (kind, text, evidence), for the run's log. Default: nothing."""
        return ()

    def act_batch(
        self, observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool = False
    ) -> tuple[Actions, Extras]:
        """Actions [N, ...] for observations [N, ...], and extras [N, ...] by name that ``learn`` will want back.

        The caller passes its own stream, so that whoever evaluates never disturbs a rollout. This default calls
        ``act`` row by row and can honour neither keyword.
        """
        return np.stack([np.asarray(self.act(observation)) for observation in observations]), {}

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError when the agent cannot work in these Gymnasium spaces. Default: no opinion."""

    def seed(self, rng: np.random.Generator) -> None:
        """Draw everything random from ``rng`` from now on. Default: the agent draws nothing of ours."""

    def reset_cache(self) -> None:
        """Forget what was remembered while acting. Default: nothing is."""

    def policy_state(self) -> dict[str, Any] | None:
        """One policy as a state tree (weights, normaliser statistics, optimizer moments), for snapshots.

        None (default): the agent's own ``save_weights`` is used instead.
        """
        return None

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """Take over a policy; all of it or, with an error, nothing."""
        raise NotImplementedError(f"{type(self).__name__} gives no policy_state")

    def state_dict(self) -> dict[str, Any] | None:
        """Everything for an exact continuation, or None (default): a resumed run has the weights only."""
        return None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        raise NotImplementedError(f"{type(self).__name__} gives no state_dict")

    def average_weights(self, paths: list[str]) -> None:
        """Load the mean of the weights saved at ``paths``. Default: does nothing."""

    def perturb_weights(self, noise_scale: float) -> None:
        """Multiply every weight by ``1 + noise_scale * N(0, 1)``. Default: does nothing."""

    def action_probs(self, observation: Any) -> np.ndarray | None:
        """Probability of each discrete action for one observation; None (default) where there is none."""
        return None

    def q_values(self, observations: np.ndarray) -> np.ndarray | None:
        """Q(s, ·) [N, A] for observations [N, ...]; None (default) for an agent that does not act by such."""
        return None

    def teardown(self) -> None:
        """Release devices and memory. Default: does nothing."""


class _SixMethodAgent(BaseAgent):
    """An object that merely has the six methods, seen through the contract.

    Whatever else of the contract the object defines is used as well, where a name can only mean ours: ``seed`` or
    ``state_dict`` of a stranger may mean anything. (Derive from BaseAgent to give these.)
    """

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        for name in _OPTIONAL_METHODS:
            if callable(own := getattr(wrapped, name, None)):
                setattr(self, name, own)
        for name in _OPTIONAL_CONSTANTS:
            if hasattr(wrapped, name):
                setattr(self, name, getattr(wrapped, name))

    def act(self, observation: Any) -> Any:
        return self.wrapped.act(observation)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return self.wrapped.learn(episode_data) or {}

    def get_hyperparams(self) -> HyperparamSet:
        hyperparams: HyperparamSet = self.wrapped.get_hyperparams()
        return hyperparams

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        self.wrapped.set_hyperparams(hyperparams)

    def save_weights(self, path: str) -> None:
        self.wrapped.save_weights(path)

    def load_weights(self, path: str) -> None:
        self.wrapped.load_weights(path)

    @property
    def is_on_policy(self) -> bool:
        return bool(getattr(self.wrapped, "is_on_policy", True))

    @property
    def warming_up(self) -> bool:
        return bool(getattr(self.wrapped, "warming_up", False))

    @property
    def acts_in_unit_box(self) -> bool:
        return bool(getattr(self.wrapped, "acts_in_unit_box", False))

    @property
    def param_space(self) -> Space | None:
        space = getattr(self.wrapped, "param_space", None)
        return space if isinstance(space, Space) else super().param_space


_OPTIONAL_CONSTANTS = (
    "default_param_bounds", "default_log_params", "default_min_episodes_before_dormant", "default_portfolio",
)  # fmt: skip

_OPTIONAL_METHODS = (
    "act_batch", "check_spaces", "reset_cache", "policy_state", "load_policy_state", "average_weights",
    "perturb_weights", "action_probs", "teardown",
)  # fmt: skip


def given_object(agent: Any) -> Any:
    """The object that the user gave, where ``agent`` may be a wrapper that ``as_agent`` put around it."""
    return agent.wrapped if isinstance(agent, _SixMethodAgent) else agent


def as_agent(candidate: Any) -> BaseAgent:
    """``candidate`` itself, or wrapped when it merely has the six methods.

    Raises ConfigError that names every missing method.
    """
    if isinstance(candidate, BaseAgent):
        return candidate
    missing = [name for name in REQUIRED_METHODS if not callable(getattr(candidate, name, None))]
    if missing:
        raise ConfigError(
            f"{type(candidate).__name__} cannot be used as an agent: it lacks {', '.join(missing)}. "
            f"An agent has the six methods {', '.join(REQUIRED_METHODS)}"
        )
    return _SixMethodAgent(candidate)
