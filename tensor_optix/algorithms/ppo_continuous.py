"""PPO for continuous actions, on any backend: a Gaussian policy whose actions are squashed into (-1, 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.distributions import sample_gaussian, unsquashed
from tensor_optix.algorithms.losses import gaussian_ppo_estimates, gaussian_ppo_loss
from tensor_optix.algorithms.ppo import BasePPOAgent
from tensor_optix.algorithms.space_checks import checked_count, require_continuous, require_outputs
from tensor_optix.backends.base import Learner, Step, Update
from tensor_optix.core.base_agent import Extras
from tensor_optix.core.types import EpisodeData, HyperparamSet

PRE_SQUASH = "pre_squash"
"""The extra that holds u of each action tanh(u): atanh would lose it where tanh rounds to 1."""


class GaussianPPOAgent(BasePPOAgent):
    """PPO for actions tanh(u), u ~ N(μ, σ²): "actor" gives [μ ‖ log σ], ``2 * action_dim`` numbers.

    Actions lie in (-1, 1); pipelines scale them to the environment's bounds. The best guess is tanh(μ).
    """

    update = Update((Step(gaussian_ppo_loss, "optimizer", ("actor", "critic")),))

    def __init__(
        self,
        learner: Learner,
        action_dim: int,
        hyperparams: HyperparamSet | dict[str, Any],
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        self.action_dim = checked_count("action_dim", action_dim)
        super().__init__(learner, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer)

    @property
    def acts_in_unit_box(self) -> bool:
        """True: actions are in (-1, 1)."""
        return True

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError unless the networks fit these Gymnasium spaces; one forward pass of each tries it."""
        require_continuous(action_space, self.action_dim, type(self).__name__)
        require_outputs("actor", lambda x: self._learner.forward("actor", x), observation_space, 2 * self.action_dim,
                        f"it needs a mean and a log_std for each of action_dim={self.action_dim}")  # fmt: skip
        self._check_critic(observation_space)

    def _choose(
        self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool
    ) -> tuple[np.ndarray, Extras]:
        head = self._policy(observations)                                                           # [N, 2D]
        u = head[:, : self.action_dim] if deterministic else sample_gaussian(head, rng)
        return np.tanh(u), {PRE_SQUASH: u}

    def _action_columns(self, window: EpisodeData) -> dict[str, np.ndarray]:
        u = window.extras[PRE_SQUASH] if PRE_SQUASH in window.extras else unsquashed(np.asarray(window.actions))
        return {PRE_SQUASH: np.asarray(u, dtype=np.float32).reshape(window.length, self.action_dim)}

    def _estimates(self, window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._learner.evaluate(gaussian_ppo_estimates, window)
