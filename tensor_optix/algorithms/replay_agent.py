"""How does an off-policy agent turn windows into bursts of updates on replayed transitions?"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.network_agent import NO_CLIPPING, NetworkAgent
from tensor_optix.backends.base import Estimate, InOrder, Learner, Update
from tensor_optix.core.replay_buffer import ReplayBuffer
from tensor_optix.core.types import EpisodeData, HyperparamSet

LARGEST_BURST = 64
"""Updates of one compiled program; more are several bursts, between which priorities are brought up to date."""

BURST_NUMBERS = 2**24
"""Numbers (64 MB in float32) that the observations of one burst may take: fewer updates where they are images."""

UPDATE_COLUMNS = ("observation", "action", "reward", "next_observation", "discount", "weight")


class ReplayAgent(NetworkAgent):
    """Stores every window, then makes ``updates_per_step`` gradient updates for each of its env steps.

    What does not come out whole is credited to the next window, so that the ratio holds for windows of any size.
    Nothing is learned in the first ``learning_starts`` env steps (nor before there is one batch), and no update is
    owed for them. Updates of a window are fused into bursts; their transitions are drawn in one go.
    """

    fixed_hyperparams: ClassVar[tuple[str, ...]] = ("replay_capacity",)

    def __init__(
        self,
        learner: Learner,
        hyperparams: HyperparamSet | dict[str, Any],
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        super().__init__(learner, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer)
        self._replay = ReplayBuffer(self._params["replay_capacity"], alpha=self._params["per_alpha"])
        self._credit = 0.0
        self._n_updates = 0

    # -- what an algorithm adds ---------------------------------------------------------------------------------

    @abstractmethod
    def _update(self, params: Mapping[str, Any]) -> Update:
        """What one gradient update does; the same object for the same choice, so that it compiles once."""

    @abstractmethod
    def _scalars(self, params: Mapping[str, Any], n_updates: int) -> dict[str, float | np.ndarray]:
        """The losses' scalars and "tau" for the next ``n_updates`` updates, [1, n_updates] where they vary."""

    @abstractmethod
    def _td_errors(self, params: Mapping[str, Any]) -> Estimate:
        """An estimate that gives "td_error", for priorities."""

    def _columns(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A sample of the replay as the losses want it."""
        return {
            **{name: batch[name] for name in UPDATE_COLUMNS},
            "observation": self._seen(batch["observation"]),
            "next_observation": self._seen(batch["next_observation"]),
            "reward": self._normalizers.rewards(batch["reward"]).astype(np.float32),
        }

    # -- learning -----------------------------------------------------------------------------------------------

    @property
    def is_on_policy(self) -> bool:
        """False: transitions of many policies are learned from."""
        return False

    @property
    def warming_up(self) -> bool:
        """True in the first ``learning_starts`` env steps."""
        return self._env_steps < int(self._settings.base["learning_starts"])

    def _learn(self, window: EpisodeData) -> dict[str, Any]:
        params = self._params
        self._replay.alpha = params["per_alpha"]
        self._replay.add(window)
        n_due = self._updates_due(window.length, params)
        largest = largest_burst(np.size(window.observations) // window.length, params["batch_size"])
        bursts = [self._burst(size, params) for size in burst_sizes(n_due, largest)]
        return {**_merged(bursts), "buffer_size": len(self._replay)}

    def _updates_due(self, n_steps: int, params: Mapping[str, Any]) -> int:
        first = max(params["learning_starts"], params["batch_size"])
        n_counted = max(0, self._env_steps + n_steps - max(first, self._env_steps))
        if not len(self._replay):
            return 0
        self._credit += n_counted * params["updates_per_step"]
        n_due = math.floor(self._credit + 1e-9)  # 0.1 ten times is one update
        self._credit = max(self._credit - n_due, 0.0)
        return n_due

    def _burst(self, n_updates: int, params: Mapping[str, Any]) -> dict[str, float]:
        size = params["batch_size"]
        batch = self._replay.sample(
            n_updates, size, rng=self._streams.stream("replay"), n_step=params["n_step"], gamma=params["gamma"],
            beta=params["per_beta"],
        )  # fmt: skip
        columns = self._columns(batch)
        diagnostics = self._learner.run(
            self._update(params), columns, InOrder(n_updates, size), self._scalars(params, n_updates),
            max_grad_norm=params.get("max_grad_norm", NO_CLIPPING), rng=self._streams.stream("modules"),
        )  # fmt: skip
        self._n_updates += n_updates
        if params["per_alpha"] > 0.0:
            errors = self._learner.evaluate(self._td_errors(params), columns)["td_error"]
            self._replay.update_priorities(batch["index"], np.abs(errors))
        return diagnostics

    # -- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Besides what every agent has: the replay, and where the counts of updates are."""
        return {
            **super().state_dict(),
            "replay": self._replay.state_dict(),
            "credit": self._credit,
            "n_updates": self._n_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; all of it or, with an error, nothing."""
        replay = ReplayBuffer(self._replay.capacity)
        replay.load_state_dict(state["replay"])
        credit, n_updates = float(state["credit"]), int(state["n_updates"])
        super().load_state_dict(state)
        self._replay, self._credit, self._n_updates = replay, credit, n_updates


def largest_burst(observation_size: int, batch_size: int) -> int:
    """How many updates fit one burst; a power of two, so that there are few sizes to compile."""
    fitting = max(1, BURST_NUMBERS // (2 * observation_size * batch_size))
    return min(LARGEST_BURST, 1 << (fitting.bit_length() - 1))


def burst_sizes(n_updates: int, largest: int) -> list[int]:
    """``n_updates`` as a sum of powers of two up to ``largest``, descending."""
    sizes = [largest] * (n_updates // largest)
    rest = n_updates % largest
    return sizes + [2**bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1]


def _merged(bursts: Iterable[dict[str, float]]) -> dict[str, float]:
    """Sums of the counts, and means of the other diagnostics over all updates that were made."""
    counts = {"n_updates": 0.0, "skipped_updates": 0.0}
    sums: dict[str, float] = {}
    for burst in bursts:
        for name, value in burst.items():
            if name in counts:
                counts[name] += value
            else:
                sums[name] = sums.get(name, 0.0) + value * burst["n_updates"]
    means = {name: total / counts["n_updates"] for name, total in sums.items()}
    return {**means, **{name: int(count) for name, count in counts.items()}}
