"""PPO for discrete actions, on any backend (Schulman et al. 2017, "Proximal policy optimization algorithms")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.algorithms.distributions import sample_categorical, softmax
from tensor_optix.algorithms.losses import ppo_estimates, ppo_loss
from tensor_optix.algorithms.spaces import PPO_SPACE
from tensor_optix.backends.base import Learner, NetworkState, mean_networks
from tensor_optix.core.base_agent import Actions, BaseAgent, Extras
from tensor_optix.core.hyperparams import Space
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.state import join_state, split_state
from tensor_optix.core.trajectory_buffer import compute_gae, minibatch_rows
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import CheckpointError, ConfigError
from tensor_optix.storage.archive import read_archive, save_archive
from tensor_optix.storage.file_system import FileSystem

MAX_RETURN = 1e15
"""Targets of the critic end here: their squares, summed over a minibatch, are still finite in float32."""


class PPOAgent(BaseAgent):
    """Acts with the network "actor" (logits of the actions), judges with "critic" (one value); both in ``learner``.

    hyperparams: any of ``PPO_SPACE``; what is missing gets its default there, ``learning_rate`` the optimizer's own.
    Raises ConfigError for an unknown or impossible hyperparameter.
    """

    default_param_bounds = PPO_SPACE.tuner_bounds
    default_log_params = PPO_SPACE.log_params

    def __init__(self, learner: Learner, hyperparams: HyperparamSet | dict[str, Any]) -> None:
        self._learner = learner
        defaults = {**self.param_space.defaults, "learning_rate": learner.learning_rate}
        self._hyperparams = HyperparamSet(defaults)
        self.set_hyperparams(hyperparams if isinstance(hyperparams, HyperparamSet) else HyperparamSet(hyperparams))
        self._streams = RandomStreams(fresh_seed())
        self._acts_by_row = type(self).act is not PPOAgent.act
        self.reset_cache()

    # -- acting -------------------------------------------------------------------------------------------------

    def act(self, observation: Any, deterministic: bool = False) -> int:
        """An action drawn from the policy (the likeliest one if ``deterministic``), by a random stream of its own."""
        return int(self._choose(np.asarray(observation)[None], self._streams.stream("act"), deterministic)[0])

    def act_batch(
        self, observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool = False
    ) -> tuple[Actions, Extras]:
        """As the contract says. A subclass that overrides ``act`` is asked row by row and hears neither keyword."""
        if self._acts_by_row:
            return super().act_batch(observations, rng=rng, deterministic=deterministic)
        return self._choose(observations, rng, deterministic), {}

    @property
    def acting_changes_state(self) -> bool:
        """True for a subclass that acts by an ``act`` of its own."""
        return self._acts_by_row

    def action_probs(self, observation: Any) -> np.ndarray:
        """π(·|s) for one observation, [A]."""
        return softmax(self._logits(np.asarray(observation, dtype=np.float32)[None])[0])

    def reset_cache(self) -> None:
        """Act with the weights as they are now (a window needs nothing remembered from acting)."""
        self._logits = self._learner.acting_forward("actor")

    def _choose(self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool) -> np.ndarray:
        logits = self._logits(np.asarray(observations, dtype=np.float32))                           # [N, A]
        return logits.argmax(axis=-1) if deterministic else sample_categorical(logits, rng)

    # -- learning -----------------------------------------------------------------------------------------------

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Several epochs of minibatch updates on one window.

        Returns policy_loss, value_loss, entropy, approx_kl, clip_fraction and grad_norm (means over the last
        epoch), explained_var (of the values with which the window was collected), n_updates and skipped_updates
        (whose loss or gradient was not finite); only n_updates for an empty window.
        """
        if episode_data.length == 0:
            return {"n_updates": 0}
        params = self._hyperparams.params
        window: dict[str, np.ndarray] = {
            "observation": np.asarray(episode_data.observations, dtype=np.float32),
            "action": np.asarray(episode_data.actions).reshape(episode_data.length).astype(np.int64),
        }
        estimates = self._learner.evaluate(ppo_estimates, window)
        advantages, returns = self._advantages_and_returns(episode_data, estimates["value"])
        window |= {
            "log_prob": estimates["log_prob"],
            "advantage": _normalised(advantages),
            "return": np.clip(returns, -MAX_RETURN, MAX_RETURN),
        }
        rows = minibatch_rows(
            episode_data.length, params["minibatch_size"], params["n_epochs"], self._streams.stream("minibatches")
        )
        diagnostics = self._learner.run(
            ppo_loss, window, rows, {name: params[name] for name in ("clip_ratio", "vf_coef", "entropy_coef")},
            max_grad_norm=params["max_grad_norm"], rng=self._streams.stream("modules"),
        )  # fmt: skip
        self.reset_cache()
        return {**diagnostics, "explained_var": _explained_variance(estimates["value"], returns)}

    def _advantages_and_returns(self, window: EpisodeData, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        next_values = np.roll(values, -1)
        boundaries = np.asarray(window.boundary_observations, dtype=np.float32)
        next_values[window.boundary_rows] = self._learner.forward("critic", boundaries)[:, 0]
        params = self._hyperparams.params
        return compute_gae(
            window.rewards, values, window.dones, params["gamma"], params["gae_lambda"],
            terminated=window.terminated, next_values=next_values, segments=window.row_ranges,
        )  # fmt: skip

    # -- hyperparameters ----------------------------------------------------------------------------------------

    @property
    def param_space(self) -> Space:
        """``PPO_SPACE``; a subclass with more hyperparameters extends it."""
        return PPO_SPACE

    def get_hyperparams(self) -> HyperparamSet:
        """All base hyperparameters. A schedule of yours on the optimizer does not change the base learning rate."""
        return self._hyperparams.copy()

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        """Take over those given, all or (with a ConfigError) none; the others stay as they are."""
        before = self._hyperparams.params
        given = self.param_space.checked(hyperparams.params, owner=type(self).__name__)
        self._hyperparams = HyperparamSet({**before, **given}, hyperparams.episode_id)
        if given.get("learning_rate", before["learning_rate"]) != before["learning_rate"]:
            self._learner.learning_rate = given["learning_rate"]  # unchanged, it may be under a schedule of the user's

    # -- spaces and randomness ----------------------------------------------------------------------------------

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise ConfigError unless the networks fit these Gymnasium spaces; one forward pass of each tries it."""
        if not any(kind.__name__ == "Discrete" for kind in type(action_space).__mro__):
            raise ConfigError(
                f"{type(self).__name__} chooses among discrete actions, but the environment's action space is "
                f"{action_space}: use a continuous agent there"
            )
        n_actions = int(action_space.n)
        self._check_outputs("actor", observation_space, n_actions, f"the environment has {n_actions} actions")
        self._check_outputs("critic", observation_space, 1, "a value is a single number")

    def _check_outputs(self, name: str, observation_space: Any, n_outputs: int, because: str) -> None:
        if observation_space.shape is None:
            raise ConfigError(f"{name} needs observations that are one array, got {observation_space}: flatten them")
        batch = np.zeros((1, *observation_space.shape), dtype=np.float32)
        try:
            outputs = self._learner.forward(name, batch)
        except Exception as error:
            raise ConfigError(
                f"{name} does not take the environment's observations, of shape {observation_space.shape} "
                f"(a batch of one: {batch.shape}): {error}"
            ) from error
        if outputs.shape != (1, n_outputs):
            given = outputs.shape[1] if outputs.ndim == 2 else f"an array of shape {outputs.shape[1:]} as"
            raise ConfigError(f"{name} gives {given} outputs but {because}: its last layer must be {n_outputs}")

    def seed(self, rng: np.random.Generator) -> None:
        """Start every stream of the agent (acting, minibatches, dropout, noise) anew from ``rng``."""
        self._streams = RandomStreams(int(rng.integers(2**63)))

    # -- state --------------------------------------------------------------------------------------------------

    def policy_state(self) -> dict[str, Any]:
        """``{"networks": ..., "optimizer": moments}``."""
        return self._learner.state_dict()

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """All of it or, with ArchitectureMismatch, nothing."""
        self._load(state)

    def state_dict(self) -> dict[str, Any]:
        """The policy, the position of every random stream, and the hyperparameters."""
        return {
            "policy": self.policy_state(),
            "streams": self._streams.state_dict(),
            "hyperparams": self.get_hyperparams().params,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._load(state["policy"])
        self.set_hyperparams(HyperparamSet(state["hyperparams"], self._hyperparams.episode_id))
        self._streams = RandomStreams(state["streams"]["seed"])
        self._streams.load_state_dict(state["streams"])

    def save_weights(self, path: str) -> None:
        """Write the networks to the directory ``path``."""
        state, arrays = split_state({"networks": self._learner.state_dict()["networks"]})
        save_archive(FileSystem(), Path(path), state=state, arrays=arrays, meta={"kind": "weights"})

    def load_weights(self, path: str) -> None:
        """Read the networks from ``path``: what ``save_weights`` wrote, or a snapshot of such a policy.

        Raises CheckpointError; ArchitectureMismatch, which names the layers, where the networks have other shapes.
        """
        self._load({"networks": _stored_networks(path)}, source=path)

    def average_weights(self, paths: list[str]) -> None:
        """Load the mean of the weights saved at ``paths``; nothing happens when there are none."""
        if paths:
            self._load({"networks": mean_networks([_stored_networks(path) for path in paths])}, source=paths[0])

    def perturb_weights(self, noise_scale: float) -> None:
        """Multiply every weight by ``1 + noise_scale * N(0, 1)``."""
        self._learner.perturb(noise_scale, self._streams.stream("perturb"))
        self.reset_cache()

    def teardown(self) -> None:
        """Give back memory that only speeds things up; the agent still works."""
        self._learner.release()

    def _load(self, state: dict[str, Any], source: str = "the given policy") -> None:
        self._learner.load_state_dict(state, source=source)
        self.reset_cache()


def _stored_networks(path: str) -> NetworkState:
    archive = read_archive(FileSystem(), Path(path))
    try:
        stored = join_state(archive.state, archive.arrays)["networks"]
        networks: NetworkState = {name: dict(parameters) for name, parameters in stored.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(path, "holds no weights of networks") from error
    if not all(isinstance(array, np.ndarray) for parameters in networks.values() for array in parameters.values()):
        raise CheckpointError(path, "holds something other than arrays where weights should be")
    return networks


def _normalised(x: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1, [T] in float32; by way of float64, in which the squares of any float32 are finite."""
    wide = x.astype(np.float64)
    normalised: np.ndarray = ((wide - wide.mean()) / (wide.std() + 1e-8)).astype(np.float32)
    return normalised


def _explained_variance(values: np.ndarray, returns: np.ndarray) -> float:
    """1 - Var[R - V] / Var[R]: 1 is perfect, 0 no better than a constant; 0 where the returns do not vary."""
    wide = returns.astype(np.float64)
    variance = float(np.var(wide))
    return 1.0 - float(np.var(wide - values)) / variance if variance > 0.0 else 0.0
