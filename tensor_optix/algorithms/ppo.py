"""PPO for discrete actions, on any backend (Schulman et al. 2017, "Proximal policy optimization algorithms")."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tensor_optix.algorithms.controllers import PPOControl, controlled
from tensor_optix.algorithms.distributions import sample_categorical, softmax
from tensor_optix.algorithms.losses import ppo_estimates, ppo_loss
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.algorithms.space_checks import require_discrete, require_outputs
from tensor_optix.algorithms.spaces import PPO_PORTFOLIO, PPO_SPACE
from tensor_optix.algorithms.window_checks import action_indices
from tensor_optix.backends.base import EpochStop, Step, Update
from tensor_optix.core.base_agent import BEHAVIOUR_LOG_PROB, Extras
from tensor_optix.core.hyperparams import Space
from tensor_optix.core.trajectory_buffer import compute_gae, minibatch_rows
from tensor_optix.core.types import EpisodeData

MAX_RETURN = 1e15
"""Targets of the critic end here: their squares, summed over a minibatch, are still finite in float32."""

KL_TOLERANCE = 1.5
"""No epoch follows one whose mean KL divergence is above so many times ``target_kl``."""

LOSS_SCALARS = ("clip_ratio", "vf_coef", "entropy_coef")

IN_FORCE = ("learning_rate", "clip_ratio", "entropy_coef")
"""Told in the diagnostics: the controllers may have changed them."""


class BasePPOAgent(NetworkAgent):
    """PPO over the networks "actor" and "critic" (one value), trained by "optimizer", whatever the actions are.

    With a ``target_kl`` above 0 controllers watch over it (``controllers.py``): the learning rate follows the KL
    divergence (and is then nobody else's to tune), a clip range that is far too small widens, and the entropy of
    discrete actions has a floor and a ceiling.
    """

    space = PPO_SPACE
    default_portfolio = PPO_PORTFOLIO
    update: ClassVar[Update]
    has_largest_entropy: ClassVar[bool] = False
    _control = PPOControl()

    @abstractmethod
    def _action_columns(self, window: EpisodeData) -> dict[str, np.ndarray]:
        """The actions of a window, as the loss wants them."""

    @abstractmethod
    def _estimates(self, window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """log_prob [T] and value [T] of the policy that collected the window."""

    def _learn(self, window: EpisodeData) -> dict[str, Any]:
        """Several epochs of minibatch updates.

        Returns policy_loss, value_loss, entropy, approx_kl, clip_fraction and grad_norm (means over the last
        epoch), explained_var (of the values with which the window was collected), n_updates and skipped_updates
        (whose loss or gradient was not finite); learning_rate, clip_ratio and entropy_coef as they were in force.
        """
        params = self._in_force()
        columns = {"observation": self._seen(window.observations), **self._action_columns(window)}
        estimates = self._estimates(columns)
        if BEHAVIOUR_LOG_PROB in window.extras and self.corrects_for_behaviour:
            estimates["log_prob"] = np.asarray(window.extras[BEHAVIOUR_LOG_PROB], np.float32).reshape(window.length)
        advantages, returns = self._advantages_and_returns(window, estimates["value"])
        columns |= {
            "log_prob": estimates["log_prob"],
            "advantage": _normalised(advantages),
            "return": np.clip(returns, -MAX_RETURN, MAX_RETURN),
        }
        rows = minibatch_rows(
            window.length, params["minibatch_size"], params["n_epochs"], self._streams.stream("minibatches")
        )
        diagnostics = self._learner.run(
            self.update, columns, rows, {name: params[name] for name in LOSS_SCALARS},
            max_grad_norm=params["max_grad_norm"], rng=self._streams.stream("modules"), stop=self._epoch_stop(params),
        )  # fmt: skip
        if self._is_controlled and "approx_kl" in diagnostics:
            self._control = self._control.after(
                diagnostics, self._params, signal=float(np.std(advantages, dtype=np.float64)),
                largest_entropy=self._largest_entropy(columns["observation"][:1]),
            )  # fmt: skip
        in_force = {name: params[name] for name in IN_FORCE}
        return {**diagnostics, "explained_var": explained_variance(estimates["value"], returns), **in_force}

    @property
    def param_space(self) -> Space:
        """As declared; what the controllers own is not tunable."""
        owned = controlled(self._settings.base, is_discrete=self.has_largest_entropy)
        return super().param_space.without_tuning(owned)

    def state_dict(self) -> dict[str, Any]:
        if not self._is_controlled:
            return super().state_dict()
        return {**super().state_dict(), "controllers": self._control.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        control = PPOControl.from_state(state["controllers"]) if "controllers" in state else PPOControl()
        super().load_state_dict(state)
        self._control = control

    @property
    def _is_controlled(self) -> bool:
        return bool(self._settings.base.get("target_kl"))

    def _in_force(self) -> Mapping[str, Any]:
        """Base values times the controllers' factors: what this window is learned with."""
        if not self._is_controlled:
            if self._control != PPOControl():  # switched off in mid-run: the base values are in force again
                self._control, self._learner.learning_rate = PPOControl(), self._params["learning_rate"]
            return self._params
        params = self._control.in_force(self._params)
        self._learner.learning_rate = params["learning_rate"]
        return params

    def _largest_entropy(self, observation: np.ndarray) -> float:
        """What the policy's entropy can be at most; 0 (default) where it has no bound."""
        return 0.0

    def _epoch_stop(self, params: Mapping[str, Any]) -> EpochStop | None:
        return EpochStop("approx_kl", KL_TOLERANCE * params["target_kl"]) if self._is_controlled else None

    def _advantages_and_returns(self, window: EpisodeData, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        next_values = np.roll(values, -1)
        boundaries = self._seen(window.boundary_observations)
        next_values[window.boundary_rows] = self._learner.forward("critic", boundaries)[:, 0]
        params = self._params
        return compute_gae(
            self._normalizers.rewards(window.rewards), values, window.dones, params["gamma"], params["gae_lambda"],
            terminated=window.terminated, next_values=next_values, segments=window.row_ranges,
        )  # fmt: skip

    def _check_critic(self, observation_space: Any) -> None:
        require_outputs("critic", lambda x: self._learner.forward("critic", x), observation_space, 1,
                        "a value is a single number")  # fmt: skip


class PPOAgent(BasePPOAgent):
    """PPO for discrete actions: "actor" gives a logit for each."""

    has_largest_entropy = True
    update = Update((Step(ppo_loss, "optimizer", ("actor", "critic")),))

    def action_probs(self, observation: Any) -> np.ndarray:
        """π(·|s) for one observation, [A]."""
        return softmax(self._policy(self._seen(np.asarray(observation)[None]))[0])

    @property
    def corrects_for_behaviour(self) -> bool:
        """True: the ratio of the surrogate is taken against the policy that acted."""
        return True

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError unless the networks fit these Gymnasium spaces; one forward pass of each tries it."""
        n_actions = require_discrete(action_space, type(self).__name__)
        require_outputs("actor", lambda x: self._learner.forward("actor", x), observation_space, n_actions,
                        f"the environment has {n_actions} actions")  # fmt: skip
        self._check_critic(observation_space)

    def _choose(
        self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool
    ) -> tuple[np.ndarray, Extras]:
        logits = self._policy(observations)                                                         # [N, A]
        return (logits.argmax(axis=-1) if deterministic else sample_categorical(logits, rng)), {}

    def _largest_entropy(self, observation: np.ndarray) -> float:
        return float(np.log(self._learner.forward("actor", observation).shape[-1]))

    def _action_columns(self, window: EpisodeData) -> dict[str, np.ndarray]:
        return {"action": action_indices(window.actions, self._n_outputs(window))}

    def _estimates(self, window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._learner.evaluate(ppo_estimates, window)


def explained_variance(values: np.ndarray, returns: np.ndarray) -> float:
    """1 - Var[R - V] / Var[R]: 1 is perfect, 0 no better than a constant; 0 where the returns do not vary."""
    wide = returns.astype(np.float64)
    variance = float(np.var(wide))
    return 1.0 - float(np.var(wide - values)) / variance if variance > 0.0 else 0.0


def _normalised(x: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1, [T] in float32; by way of float64, in which the squares of any float32 are finite.

    A single advantage stays as it is: less its mean it would be 0, and nothing would ever be learned.
    """
    if len(x) == 1:
        return x.astype(np.float32)
    wide = x.astype(np.float64)
    normalised: np.ndarray = ((wide - wide.mean()) / (wide.std() + 1e-8)).astype(np.float32)
    return normalised
