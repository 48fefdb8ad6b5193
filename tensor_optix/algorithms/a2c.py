"""REINFORCE and advantage actor-critic over one network of logits: the generic agents, on any backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.distributions import sample_categorical, softmax
from tensor_optix.algorithms.losses import policy_gradient_loss
from tensor_optix.algorithms.network_agent import NO_CLIPPING, NetworkAgent
from tensor_optix.algorithms.ppo import explained_variance
from tensor_optix.algorithms.space_checks import require_discrete, require_outputs
from tensor_optix.algorithms.spaces import A2C_SPACE
from tensor_optix.algorithms.window_checks import action_indices
from tensor_optix.backends.base import Learner, Loss, Step, Update
from tensor_optix.core.base_agent import Extras
from tensor_optix.core.trajectory_buffer import compute_gae
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ConfigError

POLICY_GRADIENT = Update((Step(policy_gradient_loss, "optimizer", ("model",)),))

LossOfWindow = Callable[[EpisodeData], Loss]
"""A loss of the user's own, made for one window; the batch's "target" [T] holds what would weigh the log-probs."""


class A2CAgent(NetworkAgent):
    """One gradient step a window on -E[log π(a|s) A], with the network "model" (logits) and "optimizer".

    A = G - V with the values that the window brings (``EpisodeData.values``), else G less its mean over the window
    (as it is in a window of one row); either way scaled to deviation 1 where it varies. Samples its actions;
    deterministic ones are the argmax.

    loss_of_window: a loss of your own in place of that.
    """

    space = A2C_SPACE
    acting_network = "model"

    def __init__(
        self,
        learner: Learner,
        hyperparams: HyperparamSet | dict[str, Any],
        *,
        loss_of_window: LossOfWindow | None = None,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        self._loss_of_window = loss_of_window
        super().__init__(learner, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer)

    def action_probs(self, observation: Any) -> np.ndarray:
        """π(·|s) for one observation, [A]."""
        return softmax(self._policy(self._seen(np.asarray(observation)[None]))[0])

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError unless the network fits these Gymnasium spaces; one forward pass tries it."""
        n_actions = require_discrete(action_space, type(self).__name__)
        require_outputs("model", lambda x: self._learner.forward("model", x), observation_space, n_actions,
                        f"the environment has {n_actions} actions")  # fmt: skip

    def _choose(
        self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool
    ) -> tuple[np.ndarray, Extras]:
        logits = self._policy(observations)                                                         # [N, A]
        return (logits.argmax(axis=-1) if deterministic else sample_categorical(logits, rng)), {}

    def _learn(self, window: EpisodeData) -> dict[str, Any]:
        """Returns loss, entropy (of the built-in loss), grad_norm, n_updates, skipped_updates, baseline_type ("a2c"
        where the window brought values, else "reinforce") and explained_variance (of those values, else 0)."""
        params = self._params
        returns, values = self._returns(window, params["gamma"])
        baseline = values if values is not None else returns.mean() if window.length > 1 else 0.0
        columns = {
            "observation": self._seen(window.observations),
            "action": action_indices(window.actions, self._n_outputs(window)),
            "target": _scaled(returns - baseline),
        }
        diagnostics = self._learner.run(
            self._update_for(window), columns, np.arange(window.length).reshape(1, 1, -1), {},
            max_grad_norm=params.get("max_grad_norm", NO_CLIPPING), rng=self._streams.stream("modules"),
        )  # fmt: skip
        explained = 0.0 if values is None else explained_variance(values, returns)
        kind = "reinforce" if values is None else "a2c"
        return {**diagnostics, "baseline_type": kind, "explained_variance": explained}

    def _update_for(self, window: EpisodeData) -> Update:
        if self._loss_of_window is None:
            return POLICY_GRADIENT
        return Update((Step(self._loss_of_window(window), "optimizer", ("model",)),))

    def _returns(self, window: EpisodeData, gamma: float) -> tuple[np.ndarray, np.ndarray | None]:
        """G [T] and V [T]. Where an episode was truncated or goes on, V of its last row stands for what follows.

        Without values nothing does: then G counts what was seen.
        """
        given = None if window.values is None else np.asarray(window.values, dtype=np.float64).reshape(-1)
        if given is not None and len(given) != window.length:
            raise ConfigError(f"values of a window must be one for each of its {window.length} rows, got {len(given)}")
        values = np.zeros(window.length) if given is None else given
        next_values = np.roll(values, -1)
        next_values[window.boundary_rows] = values[window.boundary_rows]
        _, returns = compute_gae(
            self._normalizers.rewards(window.rewards), values, window.dones, gamma, 1.0,
            terminated=window.terminated, next_values=next_values, segments=window.row_ranges,
        )  # fmt: skip
        return returns, given


def _scaled(advantage: np.ndarray) -> np.ndarray:
    """Deviation 1 (the mean stays: it is the baseline's business), [T] in float32.

    Advantages that do not vary, one alone for example, stay as they are: there is no deviation to divide by.
    """
    wide = advantage.astype(np.float64)
    deviation = wide.std()
    varies = deviation > 1e-6 * np.abs(wide).max()
    scaled: np.ndarray = (wide / (deviation + 1e-8) if varies else wide).astype(np.float32)
    return scaled
