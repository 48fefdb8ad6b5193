"""Soft actor-critic for continuous actions, on any backend (Haarnoja et al. 2018), with automatic temperature."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from tensor_optix.algorithms.losses import sac_actor_loss, sac_alpha_loss, sac_critic_loss, sac_td_errors
from tensor_optix.algorithms.replay_agent import ReplayAgent
from tensor_optix.algorithms.space_checks import require_outputs
from tensor_optix.algorithms.spaces import SAC_PORTFOLIO, SAC_SPACE
from tensor_optix.algorithms.squashed_gaussian import SquashedGaussianAgent
from tensor_optix.algorithms.window_checks import unit_actions
from tensor_optix.backends.base import Estimate, Step, Update
from tensor_optix.core.base_agent import Extras
from tensor_optix.core.types import EpisodeData, HyperparamSet

SAC_UPDATE = Update(
    (
        Step(sac_critic_loss, "critic_optimizer", ("critic1", "critic2")),
        Step(sac_actor_loss, "actor_optimizer", ("actor",)),
        Step(sac_alpha_loss, "alpha_optimizer", ("log_alpha",)),
    ),
    {"target1": "critic1", "target2": "critic2"},
)


def initial_log_alpha(hyperparams: HyperparamSet | Mapping[str, Any]) -> float:
    """What the network "log_alpha" starts with. Raises ConfigError for what is no number."""
    given = HyperparamSet.of(hyperparams).params
    default = SAC_SPACE["log_alpha_init"].default
    return float(SAC_SPACE["log_alpha_init"].checked("log_alpha_init", given.get("log_alpha_init", default)))


class SACAgent(SquashedGaussianAgent, ReplayAgent):
    """SAC over "actor" ([μ ‖ log σ]), "critic1", "critic2" ([observation ‖ action] -> a value), their targets
    "target1", "target2", and "log_alpha"; trained by "actor_optimizer", "critic_optimizer" and "alpha_optimizer".

    In the first ``learning_starts`` env steps actions are uniformly random. The critics are given observations as one
    row of numbers each (images flattened), joined with the actions.
    """

    space = SAC_SPACE
    default_portfolio = SAC_PORTFOLIO
    default_min_episodes_before_dormant = 30
    fixed_hyperparams = ("replay_capacity", "log_alpha_init")

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError unless the networks fit these Gymnasium spaces; one forward pass of each tries it."""
        self._check_actor(observation_space, action_space)
        for name in ("critic1", "critic2"):
            require_outputs(name, partial(self._judged, name), observation_space, 1, "a value is a single number",
                            n_beside=self.action_dim)  # fmt: skip

    def _judged(self, critic: str, observations: np.ndarray) -> np.ndarray:
        """The values of actions 0."""
        actions = np.zeros((len(observations), self.action_dim), dtype=np.float32)
        rows = observations.reshape(len(observations), -1)
        return self._learner.forward(critic, np.concatenate([rows, actions], axis=-1))

    def _choose(
        self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool
    ) -> tuple[np.ndarray, Extras]:
        if self.warming_up and not deterministic:
            return rng.uniform(-1.0, 1.0, (len(observations), self.action_dim)).astype(np.float32), {}
        return np.tanh(self._pre_squash(observations, rng, deterministic)), {}

    # -- learning: actor_loss, critic_loss, alpha_loss, alpha, entropy, td_error_mean and gradient norms ---------

    def _learn(self, window: EpisodeData) -> dict[str, Any]:
        unit_actions(window.actions, window.length, self.action_dim)  # before the replay holds them for good
        return super()._learn(window)

    def _update(self, params: Mapping[str, Any]) -> Update:
        return SAC_UPDATE

    def _td_errors(self, params: Mapping[str, Any]) -> Estimate:
        return sac_td_errors

    def _scalars(self, params: Mapping[str, Any], n_updates: int) -> dict[str, float | np.ndarray]:
        return {"tau": params["tau"], "target_entropy": params.get("target_entropy", -float(self.action_dim))}

    def _columns(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        n_rows, rng = len(batch["reward"]), self._streams.stream("noise")
        shape = (n_rows, self.action_dim)
        return {
            **super()._columns(batch),
            "action": batch["action"].reshape(shape).astype(np.float32),
            "noise": rng.standard_normal(shape, dtype=np.float32),
            "next_noise": rng.standard_normal(shape, dtype=np.float32),
        }
