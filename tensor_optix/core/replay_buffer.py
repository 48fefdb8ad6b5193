"""What do off-policy agents learn from again and again? Past transitions, drawn uniformly or by priority."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.core.hyperparams import Param
from tensor_optix.core.priorities import Priorities, importance_weights
from tensor_optix.core.replay_rows import Rows, rows_of
from tensor_optix.core.transition_ring import TransitionRing
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError

Batch = dict[str, np.ndarray]

_SHARE, _COUNT = Param("float", limits="[0, 1]"), Param("int", limits="[1, inf)")


class ReplayBuffer:
    """The newest ``capacity`` transitions, as raw as they were collected; whole windows go in, batches come out.

    Memory is taken once, in the types of the data; every observation is stored once. Transitions never mix
    environments or env episodes, and those of an environment go on from one window into the next.

    alpha: 0 draws uniformly, above 0 by priority |TD error| + eps to this power; may be set at any time.
    """

    def __init__(self, capacity: int, *, alpha: float = 0.0, eps: float = 1e-6) -> None:
        self._ring = TransitionRing(capacity)
        self._priorities = Priorities(capacity, alpha=alpha, eps=eps)

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def capacity(self) -> int:
        """How many transitions there is room for."""
        return self._ring.capacity

    @property
    def nbytes(self) -> int:
        """Bytes that everything here takes once it is full."""
        return self._ring.nbytes + self._priorities.nbytes

    @property
    def alpha(self) -> float:
        """How much priorities count: 0 not at all, 1 in proportion."""
        return self._priorities.alpha

    @alpha.setter
    def alpha(self, alpha: float) -> None:
        self._priorities.alpha = alpha

    def add(self, window: EpisodeData) -> int:
        """Store the transitions of ``window``; returns how many it had.

        A row whose true successor nobody recorded, and which did not terminate, is none. Where ``window`` has more
        than ``capacity``, its last ones are stored.
        """
        return self._append(rows_of(window))

    def sample(
        self,
        n_batches: int,
        batch_size: int,
        *,
        rng: np.random.Generator,
        n_step: int = 1,
        gamma: float = 0.99,
        beta: float = 0.4,
    ) -> Batch:
        """K batches of B transitions, drawn in one go with replacement: arrays [K·B, ...], batch after batch.

        observation, action; reward: Σ γ^k r over the steps used; next_observation: the one after these steps;
        terminated: 1.0 where the last of them was terminal; discount: γ^(steps used) · (1 - terminated), so that the
        target is reward + discount · V(next_observation); n_used: the steps used, n_step or fewer where the env
        episode ended or has not gone on yet; weight: what makes up for priorities (β, scaled to a maximum of 1 in
        each batch); index: for ``update_priorities``, good until the next ``add``.
        """
        if not len(self):
            raise ConfigError("the replay holds no transitions yet: add a window before sampling")
        if n_step < 1:
            raise ConfigError(f"n_step must be at least 1, got {n_step}")
        if self.alpha > 0.0:
            rows, probability = self._priorities.draw(n_batches, batch_size, rng)
            index = rows.reshape(-1)
            weight = importance_weights(probability, len(self), beta).reshape(-1).astype(np.float32)
        else:
            # twice as fast as rng.integers, and as even to one part in ten million
            index = (rng.random(n_batches * batch_size) * len(self)).astype(np.int64)
            weight = np.ones(len(index), dtype=np.float32)
        batch = self._ring.transitions(index, n_step=n_step, gamma=gamma)
        return {**batch, "weight": weight, "index": index}

    def update_priorities(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Rows of the last sample get priority |td_error| + eps, [M] each. Raises NonFiniteError."""
        self._priorities.update(index, td_error)

    def close_episodes(self) -> None:
        """What is added from now on goes on nowhere: the next window starts new env episodes."""
        self._ring.close()

    def state_dict(self) -> dict[str, Any]:
        """All transitions and priorities, in copies."""
        return {"ring": self._ring.state_dict(), "priorities": self._priorities.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken. Raises ConfigError, and changes nothing, where it does not fit."""
        ring = TransitionRing.from_state(self.capacity, state["ring"])
        self._priorities.load_state_dict(state["priorities"], n_rows=len(ring))
        self._ring = ring

    def _append(self, rows: Rows) -> int:
        if len(rows):
            where = self._ring.append(rows)
            self._priorities.add(where, len(self._ring))
        return len(rows)


class PrioritizedReplayBuffer:
    """Replay for a loop of your own, fed one transition at a time; with ``alpha=0`` it draws uniformly.

    n-step targets are made when they are drawn: nothing is held back. A transition whose following steps have not
    come yet is drawn with those that have, which bootstraps sooner and is right.

    rng: where draws come from; without it every buffer draws differently.
    Raises ConfigError for a beta or gamma outside [0, 1], an n_step below 1, an alpha below 0 and a capacity below 1.
    """

    def __init__(
        self,
        capacity: int,
        alpha: float = 0.0,
        beta: float = 0.4,
        n_step: int = 1,
        gamma: float = 0.99,
        eps: float = 1e-6,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._buffer = ReplayBuffer(capacity, alpha=alpha, eps=eps)
        self._rng = rng if rng is not None else np.random.default_rng()
        self.set_params(beta=beta, n_step=n_step, gamma=gamma)

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def alpha(self) -> float:
        """How much priorities count: 0 not at all, 1 in proportion."""
        return self._buffer.alpha

    def set_params(
        self,
        alpha: float | None = None,
        beta: float | None = None,
        n_step: int | None = None,
        gamma: float | None = None,
    ) -> None:
        """Change what is given, from the next sample on; what is stored stays."""
        if alpha is not None:
            self._buffer.alpha = alpha
        if beta is not None:
            self.beta: float = _SHARE.checked("beta", beta)
        if n_step is not None:
            self.n_step: int = _COUNT.checked("n_step", n_step)
        if gamma is not None:
            self.gamma: float = _SHARE.checked("gamma", gamma)

    def push(self, obs: Any, action: Any, reward: float, next_obs: Any, done: bool) -> None:
        """Store one transition; ``done`` cuts the bootstrap: it is True for terminal states.

        Where ``obs`` equals the ``next_obs`` pushed before, and that was not done, the env episode goes on.
        """
        observation, is_done = np.asarray(obs)[None], bool(done)
        columns = {
            "observation": observation,
            "action": np.asarray(action)[None],
            "reward": np.array([reward], dtype=np.float32),
            "terminated": np.array([is_done]),
        }
        successor = np.asarray(next_obs, dtype=observation.dtype)[None]
        self._buffer._append(Rows(columns, np.zeros(1, dtype=np.int64), successor, [(0, 1)], [not is_done]))

    def sample(self, batch_size: int) -> tuple[np.ndarray, ...]:
        """``(obs, actions, rewards, next_obs, dones, weights, indices, n_steps)`` of a batch, [B, ...] each.

        rewards: Σ γ^k r over n_steps; next_obs: the observation after them. The target is
        rewards + gamma ** n_steps * (1 - dones) * V(next_obs).
        """
        batch = self._buffer.sample(
            1, batch_size, rng=self._rng, n_step=self.n_step, gamma=self.gamma, beta=self.beta
        )
        names = ("observation", "action", "reward", "next_observation", "terminated", "weight", "index", "n_used")
        return tuple(batch[name] for name in names)

    def update_priorities(self, indices: np.ndarray, td_errors: np.ndarray) -> None:
        """The drawn transitions get priority |td_error| + eps."""
        self._buffer.update_priorities(indices, td_errors)

    def flush_episode(self) -> None:
        """The env episode was cut (truncated): the next push starts another, whatever it observes.

        The transitions so far keep their steps up to the cut, and bootstrap from the last ``next_obs``.
        """
        self._buffer.close_episodes()

    def state_dict(self) -> dict[str, Any]:
        """Everything, the position of the random stream included."""
        return {
            "buffer": self._buffer.state_dict(),
            "rng": self._rng.bit_generator.state,
            "params": {"beta": self.beta, "n_step": self.n_step, "gamma": self.gamma},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._buffer.load_state_dict(state["buffer"])
        self._rng.bit_generator.state = state["rng"]
        self.set_params(**state["params"])
