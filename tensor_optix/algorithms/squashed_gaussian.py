"""What do agents share whose actions are tanh(u), u ~ N(μ, σ²), with [μ ‖ log σ] from the network "actor"?"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.distributions import sample_gaussian
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.algorithms.space_checks import checked_count, require_continuous, require_outputs
from tensor_optix.backends.base import Learner
from tensor_optix.core.types import HyperparamSet


class SquashedGaussianAgent(NetworkAgent):
    """Actions lie in (-1, 1); pipelines scale them to the environment's bounds. The best guess is tanh(μ).

    action_dim: numbers of one action; the actor gives twice as many. Stands before the algorithm among the bases.
    """

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

    def _pre_squash(self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool) -> np.ndarray:
        """u [N, D]: μ if ``deterministic``, else a sample."""
        head = self._policy(observations)                                                           # [N, 2D]
        return head[:, : self.action_dim] if deterministic else sample_gaussian(head, rng)

    def _check_actor(self, observation_space: Any, action_space: Any) -> None:
        require_continuous(action_space, self.action_dim, type(self).__name__)
        require_outputs("actor", lambda x: self._learner.forward("actor", x), observation_space, 2 * self.action_dim,
                        f"it needs a mean and a log_std for each of action_dim={self.action_dim}")  # fmt: skip
