"""PPO for continuous actions, on any backend: a Gaussian policy whose actions are squashed into (-1, 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.algorithms.distributions import unsquashed
from tensor_optix.algorithms.losses import gaussian_ppo_estimates, gaussian_ppo_loss
from tensor_optix.algorithms.ppo import BasePPOAgent
from tensor_optix.algorithms.squashed_gaussian import SquashedGaussianAgent
from tensor_optix.algorithms.window_checks import action_rows, unit_actions
from tensor_optix.backends.base import Step, Update
from tensor_optix.core.base_agent import Extras
from tensor_optix.core.types import EpisodeData

PRE_SQUASH = "pre_squash"
"""The extra that holds u of each action tanh(u): atanh would lose it where tanh rounds to 1."""


class GaussianPPOAgent(SquashedGaussianAgent, BasePPOAgent):
    """PPO for actions tanh(u), u ~ N(μ, σ²): "actor" gives [μ ‖ log σ], ``2 * action_dim`` numbers."""

    update = Update((Step(gaussian_ppo_loss, "optimizer", ("actor", "critic")),))

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError unless the networks fit these Gymnasium spaces; one forward pass of each tries it."""
        self._check_actor(observation_space, action_space)
        self._check_critic(observation_space)

    def _choose(
        self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool
    ) -> tuple[np.ndarray, Extras]:
        u = self._pre_squash(observations, rng, deterministic)
        return np.tanh(u), {PRE_SQUASH: u}

    def _action_columns(self, window: EpisodeData) -> dict[str, np.ndarray]:
        if PRE_SQUASH in window.extras:
            u = action_rows(PRE_SQUASH, window.extras[PRE_SQUASH], window.length, self.action_dim)
        else:
            u = unsquashed(unit_actions(window.actions, window.length, self.action_dim))
        return {PRE_SQUASH: u.astype(np.float32)}

    def _estimates(self, window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._learner.evaluate(gaussian_ppo_estimates, window)
