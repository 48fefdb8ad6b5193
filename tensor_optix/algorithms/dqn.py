"""Deep Q-learning for discrete actions, on any backend (Mnih et al. 2015; double, n-step, prioritized by choice)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.distributions import sample_epsilon_greedy
from tensor_optix.algorithms.losses import dqn_loss, dqn_td_errors
from tensor_optix.algorithms.replay_agent import ReplayAgent
from tensor_optix.algorithms.space_checks import checked_count, require_discrete, require_outputs
from tensor_optix.algorithms.spaces import DQN_PORTFOLIO, DQN_SPACE
from tensor_optix.algorithms.window_checks import action_indices
from tensor_optix.backends.base import Estimate, Learner, Step, Update
from tensor_optix.core.base_agent import Extras
from tensor_optix.core.hyperparams import LinearSchedule
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ConfigError


@cache
def dqn_update(double: bool, huber: bool) -> Update:
    """One gradient step of "q", then "q_target" follows."""
    return Update((Step(dqn_loss(double, huber), "optimizer", ("q",)),), {"q_target": "q"})


class DQNAgent(ReplayAgent):
    """DQN over the networks "q" and "q_target" (a value for each action), trained by "optimizer".

    Explores with probability ε, which is multiplied by ``epsilon_decay`` after every finished env episode down to
    ``epsilon_min`` (or falls linearly over ``epsilon_decay_steps`` env steps, or follows a ``LinearSchedule``);
    deterministic actions are greedy. The target is copied every ``target_update_freq`` gradient updates (or about
    every ``target_update_steps`` env steps), or follows every update with ``target_tau``.
    """

    space = DQN_SPACE
    default_portfolio = DQN_PORTFOLIO
    default_min_episodes_before_dormant = 60
    acting_network = "q"

    def __init__(
        self,
        learner: Learner,
        n_actions: int,
        hyperparams: HyperparamSet | dict[str, Any],
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        self.n_actions = checked_count("n_actions", n_actions)
        self._decayed_epsilon = 1.0
        super().__init__(learner, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer)
        self._restart_epsilon()

    # -- exploration --------------------------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """The probability of a random action now."""
        return self._acting_epsilon

    def _epsilon_at(self, env_step: int) -> float:
        params = self._settings.at(env_step)
        if "epsilon" in self._settings.schedules:
            return float(params["epsilon"])
        if "epsilon_decay_steps" in params:
            end = min(params["epsilon"], params["epsilon_min"])
            fall = LinearSchedule(params["epsilon"], end, params["epsilon_decay_steps"])
            return fall.at(env_step)
        return self._decayed_epsilon

    def _restart_epsilon(self) -> None:
        self._decayed_epsilon = float(self._settings.base["epsilon"])
        self.reset_cache()

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        """As for every agent; another ``epsilon`` than before starts its decay from there."""
        before = self._settings.base["epsilon"]
        super().set_hyperparams(hyperparams)
        if self._settings.base["epsilon"] != before:
            self._restart_epsilon()

    def reset_cache(self) -> None:
        """Act with the weights and the ε of now."""
        super().reset_cache()
        self._acting_epsilon = self._epsilon_at(self._env_steps)

    def action_probs(self, observation: Any) -> np.ndarray:
        """Of the ε-greedy policy for one observation, [A]."""
        values = self._policy(self._seen(np.asarray(observation)[None]))[0]
        probabilities = np.full(len(values), self.epsilon / len(values))
        probabilities[values.argmax()] += 1.0 - self.epsilon
        return probabilities

    def q_values(self, observations: np.ndarray) -> np.ndarray:
        """Q(s, ·), [N, A]."""
        return self._policy(self._seen(observations))

    def _choose(
        self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool
    ) -> tuple[np.ndarray, Extras]:
        values = self._policy(observations)                                                         # [N, A]
        return (values.argmax(axis=-1) if deterministic else sample_epsilon_greedy(values, self.epsilon, rng)), {}

    def _decay(self, n_episodes: int) -> None:
        floor = self._params["epsilon_min"]
        if self._decayed_epsilon > floor:
            self._decayed_epsilon = max(floor, self._decayed_epsilon * self._params["epsilon_decay"] ** n_episodes)

    # -- learning -----------------------------------------------------------------------------------------------

    def _learn(self, window: EpisodeData) -> dict[str, Any]:
        """Store the window and make the updates that are due.

        Returns loss, td_error_mean and grad_norm (means over the updates, absent without any), n_updates,
        skipped_updates, buffer_size, epsilon (with which the next window is acted), target_updated (how many times
        it was copied) and episode_reward (the sum of the window).
        """
        action_indices(window.actions, self.n_actions)  # before the replay holds them for good
        before = self._n_updates
        diagnostics = super()._learn(window)
        self._decay(len(window.ended_rows))
        params = self._params
        period = self._target_period(params)
        n_copies = 0 if "target_tau" in params else self._n_updates // period - before // period
        return {
            **diagnostics,
            "epsilon": self._epsilon_at(self._env_steps + window.length),
            "target_updated": n_copies,
            "episode_reward": window.total_reward,
        }

    def _update(self, params: Mapping[str, Any]) -> Update:
        return dqn_update(params["double"], params["huber"])

    def _td_errors(self, params: Mapping[str, Any]) -> Estimate:
        return dqn_td_errors(params["double"])

    def _scalars(self, params: Mapping[str, Any], n_updates: int) -> dict[str, float | np.ndarray]:
        if "target_tau" in params:
            return {"tau": params["target_tau"]}
        numbers = self._n_updates + 1 + np.arange(n_updates)
        return {"tau": (numbers % self._target_period(params) == 0).astype(np.float64)[None]}

    def _target_period(self, params: Mapping[str, Any]) -> int:
        """Gradient updates between two copies."""
        if "target_update_steps" in params:
            return int(max(1, round(params["target_update_steps"] * params["updates_per_step"])))
        return int(params["target_update_freq"])

    def _columns(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**super()._columns(batch), "action": batch["action"].reshape(-1).astype(np.int64)}

    # -- spaces and state ---------------------------------------------------------------------------------------

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError unless the network fits these Gymnasium spaces; one forward pass tries it."""
        n_actions = require_discrete(action_space, type(self).__name__)
        if n_actions != self.n_actions:
            raise ConfigError(f"n_actions is {self.n_actions}, but the environment has {n_actions} actions")
        require_outputs("q_network", lambda x: self._learner.forward("q", x), observation_space, n_actions,
                        f"the environment has {n_actions} actions")  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Besides what every off-policy agent has: ε."""
        return {**super().state_dict(), "decayed_epsilon": self._decayed_epsilon}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        decayed_epsilon = float(state["decayed_epsilon"])
        super().load_state_dict(state)
        self._decayed_epsilon = decayed_epsilon
        self.reset_cache()
