"""How does an exported policy choose: what are the network's outputs, and what does the environment get for them?

With the same generator every head draws just what the agent it came from would draw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from tensor_optix.algorithms.distributions import sample_categorical, sample_epsilon_greedy, sample_gaussian


class Head(ABC):
    """Actions in the agent's own units: indices [N], or numbers in (-1, 1) [N, D]."""

    @abstractmethod
    def best(self, outputs: np.ndarray) -> np.ndarray:
        """The policy's best guess for the network's outputs [N, K]."""

    @abstractmethod
    def drawn(self, outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Actions drawn from the policy."""


@dataclass(frozen=True)
class Categorical(Head):
    """Outputs are logits."""

    def best(self, outputs: np.ndarray) -> np.ndarray:
        return _argmax(outputs)

    def drawn(self, outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return sample_categorical(outputs, rng)


@dataclass(frozen=True)
class EpsilonGreedy(Head):
    """Outputs are action values; a drawn action is random with probability ``epsilon``."""

    epsilon: float

    def best(self, outputs: np.ndarray) -> np.ndarray:
        return _argmax(outputs)

    def drawn(self, outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return sample_epsilon_greedy(outputs, self.epsilon, rng)


@dataclass(frozen=True)
class SquashedGaussian(Head):
    """Outputs are [μ ‖ log σ]; actions are tanh(u), u ~ N(μ, σ²), the best guess tanh(μ)."""

    def best(self, outputs: np.ndarray) -> np.ndarray:
        action: np.ndarray = np.tanh(outputs[:, : outputs.shape[-1] // 2])
        return action

    def drawn(self, outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        action: np.ndarray = np.tanh(sample_gaussian(outputs, rng))
        return action


class ActionUnits(ABC):
    """From the agent's units to the environment's."""

    @abstractmethod
    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """[N] or [N, D] -> what the environment gets, row by row."""

    @abstractmethod
    def fits(self, n_numbers: int) -> bool:
        """True where actions of ``n_numbers`` (0: an index) can be turned into these units."""


@dataclass(frozen=True)
class AsChosen(ActionUnits):
    """The agent's own: nobody said for which action space the policy is, or it is no bounded one."""

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        return actions

    def fits(self, n_numbers: int) -> bool:
        return True


@dataclass(frozen=True)
class Indices(ActionUnits):
    """A discrete space whose first action is ``start``."""

    start: int

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        return actions + self.start

    def fits(self, n_numbers: int) -> bool:
        return n_numbers == 0


@dataclass(frozen=True, eq=False)
class Bounds(ActionUnits):
    """A box: (-1, 1) becomes (low, high); arrays of the shape and the type of the space's actions."""

    low: np.ndarray
    high: np.ndarray

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        scaled = actions.reshape(len(actions), *self.low.shape).astype(self.low.dtype)
        scaled = scaled * self.half_width + self.middle
        inside: np.ndarray = np.minimum(np.maximum(scaled, self.low), self.high)
        return inside

    def fits(self, n_numbers: int) -> bool:
        is_box = self.low.shape == self.high.shape and self.low.dtype == self.high.dtype
        return is_box and self.low.size == n_numbers > 0

    @property
    def half_width(self) -> np.ndarray:
        """Half of ``high - low``."""
        half: np.ndarray = (self.high - self.low) / 2
        return half

    @property
    def middle(self) -> np.ndarray:
        """Of ``low`` and ``high``."""
        middle: np.ndarray = (self.high + self.low) / 2
        return middle


def _argmax(outputs: np.ndarray) -> np.ndarray:
    indices: np.ndarray = outputs.argmax(axis=-1)
    return indices
