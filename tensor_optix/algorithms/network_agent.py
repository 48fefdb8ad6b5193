"""What do all built-in agents share, whatever they learn and on whatever backend?

An algorithm (``ppo.py``, ``dqn.py``, ...) derives from ``NetworkAgent`` and says

- ``space``: its hyperparameters, declared once;
- ``acting_network``: the name of the network that chooses actions;
- ``fixed_hyperparams``: those that cannot change once the agent is made;
- ``_choose``: actions for a batch of observations, from that network's outputs and the given random stream;
- ``_learn``: what to do with a window that has rows;
- ``check_spaces``, with the help of ``space_checks.py``;
- what else it remembers, by extending ``state_dict`` and ``load_state_dict``.

A leaf class (``torch_ppo.py``, ...) adds a backend: its ``__init__`` takes the user's networks and optimizers under
the published names, keeps the networks as ``_actor``, ``_q``, ..., and calls ``super().__init__`` with a ``Learner``
over them. It overrides nothing else but ``teardown`` where a backend has more to give back.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tensor_optix.algorithms.agent_normalizers import AgentNormalizers, ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.settings import Settings, stored_settings
from tensor_optix.algorithms.stored_weights import read_weights, write_weights
from tensor_optix.algorithms.window_checks import require_sound
from tensor_optix.backends.base import Learner, mean_networks, require_alike
from tensor_optix.core.base_agent import Actions, BaseAgent, Extras
from tensor_optix.core.hyperparams import Space
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ConfigError

NO_CLIPPING = 1e30
"""A gradient norm that no finite float32 gradient of a sane network reaches."""


class NetworkAgent(BaseAgent):
    """Acts and learns with the networks of a ``Learner``.

    hyperparams: any of ``space``; what is missing gets its default there, ``learning_rate`` the optimizer's own.
    obs_normalizer, reward_normalizer: statistics that are frozen while a window is collected and learned from, and
    take that window in last. Data and replay hold raw numbers; image observations reach the network as they are, in
    float32: their scaling belongs to the network.
    Raises ConfigError for an unknown or impossible hyperparameter.
    """

    space: ClassVar[Space]
    acting_network: ClassVar[str] = "actor"
    fixed_hyperparams: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Make ``space`` and the published ``default_param_bounds``, ``default_log_params`` say the same.

        A subclass that gives bounds of its own has tuners explore those, and nothing else.
        """
        super().__init_subclass__(**keywords)
        if {"default_param_bounds", "default_log_params"} & set(vars(cls)):
            cls.space = cls.space.explored(cls.default_param_bounds, cls.default_log_params)
        elif "space" in vars(cls):
            cls.default_param_bounds, cls.default_log_params = cls.space.tuner_bounds, cls.space.log_params

    def __init__(
        self,
        learner: Learner,
        hyperparams: HyperparamSet | dict[str, Any],
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        self._learner = learner
        self._normalizers = AgentNormalizers(obs_normalizer, reward_normalizer)
        defaults = self.space.defaults
        self._settings = Settings({**defaults, "learning_rate": _first_rate(learner, defaults["learning_rate"])})
        self._episode_id = 0
        self._env_steps = 0
        self._take_over(HyperparamSet.of(hyperparams))
        self._streams = RandomStreams(fresh_seed())
        self._known_outputs: int | None = None
        self._acts_by_row = type(self).act is not NetworkAgent.act
        self.reset_cache()

    def __deepcopy__(self, memo: dict[int, Any]) -> NetworkAgent:
        """Another agent that goes on as this one would. Raises ConfigError where networks cannot be copied (Keras)."""
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        copied._learner = copy.deepcopy(self._learner, memo)  # first: it knows what its networks share
        others = {name: value for name, value in vars(self).items() if name not in ("_learner", "_policy")}
        vars(copied).update(copy.deepcopy(others, memo))
        copied.reset_cache()
        return copied

    # -- what an algorithm adds ---------------------------------------------------------------------------------

    @abstractmethod
    def _choose(
        self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool
    ) -> tuple[np.ndarray, Extras]:
        """Actions [N] or [N, D], and extras, for observations as the networks see them (``_seen``)."""

    @abstractmethod
    def _learn(self, window: EpisodeData) -> dict[str, Any]:
        """Learn from a window of at least one row; returns diagnostics."""

    # -- acting -------------------------------------------------------------------------------------------------

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        """An action of the policy (its best guess if ``deterministic``), by a random stream of its own."""
        seen = self._seen(np.asarray(observation)[None])
        actions, _ = self._choose(seen, self._streams.stream("act"), deterministic)
        return actions[0].item() if actions.ndim == 1 else actions[0]

    def act_batch(
        self, observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool = False
    ) -> tuple[Actions, Extras]:
        """As the contract says. A subclass that overrides ``act`` is asked row by row and hears neither keyword."""
        if self._acts_by_row:
            return super().act_batch(observations, rng=rng, deterministic=deterministic)
        return self._choose(self._seen(observations), rng, deterministic)

    @property
    def acting_changes_state(self) -> bool:
        """True for a subclass that acts by an ``act`` of its own."""
        return self._acts_by_row

    @property
    def continues_exactly(self) -> bool:
        return self._learner.keeps_schedules

    def reset_cache(self) -> None:
        """Act with the weights as they are now (a window needs nothing remembered from acting)."""
        self._policy = self._learner.acting_forward(self.acting_network)

    def _seen(self, observations: Any) -> np.ndarray:
        """Observations as the networks see them: float32, normalised where the agent has statistics."""
        return self._normalizers.observations(np.asarray(observations))

    def _n_outputs(self, window: EpisodeData) -> int:
        """How many numbers the acting network gives for an observation; asked once."""
        if self._known_outputs is None:
            self._known_outputs = self._policy(self._seen(np.asarray(window.observations)[:1])).shape[-1]
        return self._known_outputs

    @property
    def acting_module(self) -> Any:
        """The user's own network that chooses actions."""
        return self._learner.networks[self.acting_network]

    @property
    def observation_statistics(self) -> ObservationStatistics | None:
        """What normalises observations before that network sees them."""
        return self._normalizers.observation_statistics

    def policy_outputs(self, observations: Any) -> np.ndarray:
        """Of that network, [N, K], for raw observations [N, ...]: logits, action values or [μ ‖ log σ]."""
        return self._learner.forward(self.acting_network, self._seen(observations))

    # -- learning -----------------------------------------------------------------------------------------------

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Learn from one window; returns the algorithm's diagnostics, only ``n_updates`` for an empty window.

        Raises ConfigError, or NonFiniteError, for a window that is not whole; nothing was changed then.
        """
        if episode_data.length == 0:
            return {"n_updates": 0}
        require_sound(episode_data)
        if "learning_rate" in self._settings.schedules:
            self._learner.learning_rate = self._params["learning_rate"]
        window = episode_data.for_learning()
        diagnostics = self._learn(window)
        self._normalizers.take_in(window)
        self._env_steps += window.length
        self.reset_cache()
        return diagnostics

    # -- hyperparameters ----------------------------------------------------------------------------------------

    @property
    def param_space(self) -> Space:
        """``space``, of which no tuner may touch what is scheduled.

        A subclass with more hyperparameters extends ``space``.
        """
        return self.space.scheduled({*self._settings.schedules, *self._learner.scheduled})

    @property
    def _hyperparams(self) -> HyperparamSet:
        return HyperparamSet(self._settings.base, self._episode_id)

    @property
    def _params(self) -> Mapping[str, Any]:
        """The hyperparameters in effect now: base values, and schedules where they have got to."""
        return self._settings.at(self._env_steps)

    def get_hyperparams(self) -> HyperparamSet:
        """All base hyperparameters: of a schedule its start. (One of yours on the optimizer does not show here.)"""
        return self._hyperparams.copy()

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        """Take over those given, all or (with a ConfigError) none; the others stay as they are."""
        given = HyperparamSet.of(hyperparams)
        self._require_unfixed(given.params)
        self._take_over(given)

    def _require_unfixed(self, params: Mapping[str, Any]) -> None:
        before = self._settings.base
        for name in self.fixed_hyperparams:
            if params.get(name, before.get(name)) != before.get(name):
                raise ConfigError(
                    f"{name} cannot change once the agent is made, it is {before.get(name)}, got "
                    f"{params[name]!r}: make another agent"
                )

    def _checked(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return self.param_space.checked(params, owner=type(self).__name__)

    def _take_over(self, hyperparams: HyperparamSet) -> None:
        before = self._settings
        given = self._checked(hyperparams.params)
        self._settings, self._episode_id = before.updated(given), hyperparams.episode_id
        rate = self._settings.base["learning_rate"]
        if rate != before.base["learning_rate"]:
            self._learner.learning_rate = rate  # unchanged, it may be under a schedule of the user's

    # -- randomness and state -----------------------------------------------------------------------------------

    def seed(self, rng: np.random.Generator) -> None:
        """Start every stream of the agent (acting, minibatches, dropout, noise) anew from ``rng``."""
        self._streams = RandomStreams(int(rng.integers(2**63)))

    def policy_state(self) -> dict[str, Any]:
        """``{"networks", "optimizers", "skipped_in_a_row", "normalizers"}``."""
        return {**self._learner.state_dict(), "normalizers": self._normalizers.state_dict()}

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """All of it or, with ArchitectureMismatch, nothing."""
        self._load(state)

    def state_dict(self) -> dict[str, Any]:
        """The policy, the position of every random stream, the hyperparameters and the count of env steps."""
        return {
            "policy": self.policy_state(),
            "streams": self._streams.state_dict(),
            **self._settings.state_dict(),
            "env_steps": self._env_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; all of it or, with an error, nothing."""
        params = self._checked(stored_settings(state))
        self._require_unfixed(params)
        env_steps, streams = int(state["env_steps"]), RandomStreams(state["streams"]["seed"])
        streams.load_state_dict(state["streams"])
        self._load(state["policy"])  # nothing below can fail any more
        self._end_schedules()
        self.set_hyperparams(HyperparamSet(params, self._episode_id))
        self._env_steps, self._streams = env_steps, streams

    def _end_schedules(self) -> None:
        """Those of ours give way to base values; one of the user's on the optimizer goes on."""
        if "learning_rate" in self._settings.schedules:
            self._learner.learning_rate = self._settings.base["learning_rate"]
        self._settings = Settings(self._settings.base)

    def save_weights(self, path: str) -> None:
        """Write the networks, and the statistics that they need, to the directory ``path``."""
        networks = self._learner.state_dict()["networks"]
        write_weights(path, {"networks": networks, "normalizers": self._normalizers.state_dict()})

    def load_weights(self, path: str) -> None:
        """Read the networks from ``path``: what ``save_weights`` wrote, or a snapshot of such a policy.

        Raises CheckpointError; ArchitectureMismatch, which names the layers, where the networks have other shapes.
        """
        self._load(read_weights(path), source=path)

    def average_weights(self, paths: list[str]) -> None:
        """Load the mean of the weights saved at ``paths``, with the statistics of the first; nothing without paths.

        Raises CheckpointError; ArchitectureMismatch for the first path whose weights do not fit.
        """
        if paths:
            trees, own = [read_weights(path) for path in paths], self._learner.state_dict()["networks"]
            for path, tree in zip(paths, trees, strict=True):
                self._normalizers.require_fit(tree["normalizers"], path)
                require_alike(own, tree["networks"], path)
            self._load({**trees[0], "networks": mean_networks([tree["networks"] for tree in trees])}, source=paths[0])

    def perturb_weights(self, noise_scale: float) -> None:
        """Multiply every trained weight by ``1 + noise_scale * N(0, 1)``. Raises ConfigError for a scale of NaN."""
        if not math.isfinite(noise_scale):
            raise ConfigError(f"noise_scale must be a finite number, got {noise_scale!r}")
        self._learner.perturb(noise_scale, self._streams.stream("perturb"))
        self.reset_cache()

    def teardown(self) -> None:
        """Give back memory that only speeds things up, and that of an accelerator; the agent still works."""
        self._learner.release()

    def _load(self, state: dict[str, Any], source: str = "the given policy") -> None:
        statistics = state.get("normalizers", {})
        self._normalizers.require_fit(statistics, source)
        before = self._normalizers.state_dict()
        try:
            self._normalizers.load_state_dict(statistics)
            self._learner.load_state_dict(state, source=source)
        except Exception:
            self._normalizers.load_state_dict(before)
            raise
        self.reset_cache()


def _first_rate(learner: Learner, otherwise: float) -> float:
    """The optimizer's own rate; ``otherwise`` where a schedule of the user's, which alone decides it, begins at 0."""
    rate = learner.learning_rate
    return otherwise if rate <= 0 and learner.scheduled else rate
