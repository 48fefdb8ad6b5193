"""What an algorithm asks of a framework: a few operations, and a learner that trains named networks.

The mathematics of the algorithms is written once, over ``Ops`` and networks given as callables. A ``Learner`` knows
one framework: how to differentiate such a loss and how to step the user's own optimizer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tensor_optix.errors import ArchitectureMismatch

Tensor = Any
"""An array of the framework at hand."""

Network = Callable[[Tensor], Tensor]
Networks = Mapping[str, Network]
Batch = Mapping[str, Tensor]
Scalars = Mapping[str, Any]
"""Hyperparameters by name: run-time values (floats or 0-d arrays), so that a new value never recompiles."""


class Ops(Protocol):
    """The operations that losses are written in. Besides them: ``+ - * /``, comparisons and indexing."""

    def exp(self, x: Tensor) -> Tensor: ...
    def tanh(self, x: Tensor) -> Tensor: ...
    def softplus(self, x: Tensor) -> Tensor: ...
    def abs(self, x: Tensor) -> Tensor: ...
    def square(self, x: Tensor) -> Tensor: ...
    def clip(self, x: Tensor, low: Any, high: Any) -> Tensor: ...
    def minimum(self, x: Tensor, y: Tensor) -> Tensor: ...
    def maximum(self, x: Tensor, y: Tensor) -> Tensor: ...

    def where(self, condition: Tensor, x: Any, y: Any) -> Tensor:
        """``x`` where the condition holds, else ``y``."""
        ...

    def mean(self, x: Tensor) -> Tensor:
        """Mean over everything: a scalar."""
        ...

    def sum_last(self, x: Tensor) -> Tensor:
        """Sum over the last axis."""
        ...

    def log_softmax(self, x: Tensor) -> Tensor:
        """Logarithm of the softmax over the last axis."""
        ...

    def take_last(self, x: Tensor, index: Tensor) -> Tensor:
        """``x[..., index]`` row by row: x [B, A], index [B] -> [B]."""
        ...

    def argmax_last(self, x: Tensor) -> Tensor:
        """Index of the largest entry of the last axis, the first of equals: x [B, A] -> [B], integers."""
        ...

    def squeeze_last(self, x: Tensor) -> Tensor:
        """[B, 1] -> [B]."""
        ...

    def concat_last(self, parts: Sequence[Tensor]) -> Tensor:
        """Join along the last axis."""
        ...

    def flat_rows(self, x: Tensor) -> Tensor:
        """[B, ...] -> [B, D]; vectors stay as they are."""
        ...

    def stop_gradient(self, x: Tensor) -> Tensor:
        """``x`` as a constant."""
        ...


Loss = Callable[[Ops, Networks, Batch, Scalars], tuple[Tensor, dict[str, Tensor]]]
"""(ops, networks, batch, scalars) -> (scalar to minimise, scalar metrics by name). Deterministic: noise comes in the
batch."""

Estimate = Callable[[Ops, Networks, Batch], dict[str, Tensor]]
"""(ops, networks, batch) -> arrays by name, one row for each row of the batch."""

NetworkState = dict[str, dict[str, np.ndarray]]
"""Network name -> parameter (or buffer) name -> array."""


@dataclass(frozen=True)
class Step:
    """One optimizer's part of an update: minimise ``loss`` with respect to the networks that it trains.

    Other networks in the loss are constants to it, though gradients flow through them (SAC's actor learns through
    its critics).
    """

    loss: Loss
    optimizer: str
    trains: tuple[str, ...]


@dataclass(frozen=True)
class Update:
    """What one minibatch does: the gradients of all steps, taken at the same weights, are applied; then targets move.

    targets: target network -> its source, of equal shape. θ_target ← τ θ_source + (1 - τ) θ_target with the scalar
    "tau" of this update: 1 is a hard copy, 0 leaves the target as it is (not a bit of it changes then).
    """

    steps: tuple[Step, ...]
    targets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InOrder:
    """Rows of one epoch that takes the data as it lies, batch after batch: no row needs to be gathered."""

    n_updates: int
    batch_size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """As of an index matrix [E, M, B]."""
        return (1, self.n_updates, self.batch_size)

    def batches(self, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns [M, B, ...] of ``data``."""
        n, size = self.n_updates, self.batch_size
        return {name: column.reshape(n, size, *column.shape[1:]) for name, column in data.items()}


@dataclass(frozen=True)
class EpochStop:
    """No further epoch begins after one in which the mean of ``metric`` is above ``limit``."""

    metric: str
    limit: float


class Learner(ABC):
    """Trains named networks of one framework with the user's own optimizers.

    Constructors take ``networks`` by name and ``optimizers`` by name. A target network is a network of its own name
    that no optimizer holds.

    Everything passed in and out is NumPy. Networks act and estimate in evaluation mode, and are trained in the mode
    in which the user left them.
    """

    networks: Any
    """The user's own networks, a mapping by name."""

    @abstractmethod
    def forward(self, name: str, inputs: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] of network ``name`` for inputs [N, ...], in one batch of any N."""

    @abstractmethod
    def acting_forward(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """The fastest ``forward`` of network ``name`` for small batches of float32.

        Ask again after the weights changed: a backend may hand out a copy of them.
        """

    @abstractmethod
    def evaluate(self, estimate: Estimate, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``estimate`` of the networks as they are, for all rows of ``data`` in one batch."""

    @abstractmethod
    def run(
        self,
        update: Update,
        data: Mapping[str, np.ndarray],
        rows: np.ndarray | InOrder,
        scalars: Mapping[str, float | np.ndarray],
        *,
        max_grad_norm: float,
        rng: np.random.Generator,
        stop: EpochStop | None = None,
    ) -> dict[str, float]:
        """A sequence of minibatch updates, as one compiled program where the backend compiles.

        Update (e, m) is made on ``data[rows[e, m]]``; rows: int64 [E, M, B], or ``InOrder``. scalars: one value for
        all updates, or an array [E, M] with one for each. Neither new values of the scalars, nor another learning
        rate or number of epochs, compile anything anew; M and B are shapes. Each step's gradients are clipped to the
        global norm ``max_grad_norm`` over the networks it trains. ``rng`` gives one seed to whatever the networks
        draw themselves (dropout).
        An update of which any step's loss or gradient is not finite is skipped as a whole and leaves weights,
        targets, buffers and moments as they are.
        Returns, over the updates made in the last epoch that was run, the mean of each metric of each step's loss
        and of ``grad_norm`` (before clipping; ``<optimizer>_grad_norm`` where there are several steps), absent if
        there are none; ``n_updates`` made and ``skipped_updates``.
        Raises NonFiniteError at the fifth skipped update in a row, counted across calls.
        """

    @abstractmethod
    def loss_and_gradients(
        self, step: Step, data: Mapping[str, np.ndarray], scalars: Mapping[str, float]
    ) -> tuple[float, NetworkState]:
        """The step's loss on all of ``data`` and its gradient for every parameter it trains; changes nothing."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """Of the first optimizer's first group. Setting it keeps the ratios between groups and between optimizers."""

    @learning_rate.setter
    @abstractmethod
    def learning_rate(self, value: float) -> None: ...

    @property
    def scheduled(self) -> tuple[str, ...]:
        """The hyperparameters that schedules of the user's decide: the learning rate, or none (default)."""
        return ()

    @property
    def keeps_schedules(self) -> bool:
        """True where ``state_dict`` holds how far such schedules have got (default)."""
        return True

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """``{"networks": NetworkState, "optimizers": {optimizer: {"type", "moments" by the names of parameters}}}``.

        And ``skipped_in_a_row``. A learner that loads it goes on bit for bit.
        """

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any], *, source: str = "the given state") -> None:
        """Take over networks, and the optimizers' moments where ``state`` has them; all of it or nothing.

        source: where the state came from, for errors.
        Raises ArchitectureMismatch that names the parameters (or the optimizers) that differ.
        """

    @abstractmethod
    def perturb(self, noise_scale: float, rng: np.random.Generator) -> None:
        """Multiply every weight that an optimizer trains by ``1 + noise_scale * N(0, 1)``."""

    @abstractmethod
    def release(self) -> None:
        """Give back memory that only speeds things up, and that of an accelerator; everything still works."""


def mean_networks(states: Sequence[NetworkState]) -> NetworkState:
    """The mean of networks of one shape, parameter by parameter; what is not floating comes from the first."""

    def mean(arrays: list[np.ndarray]) -> np.ndarray:
        if not np.issubdtype(arrays[0].dtype, np.floating):
            return arrays[0]
        return np.mean(np.stack(arrays), axis=0, dtype=np.float64).astype(arrays[0].dtype)

    first = states[0]
    return {
        name: {key: mean([state[name][key] for state in states]) for key in parameters}
        for name, parameters in first.items()
    }


def differences(own: NetworkState, given: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """What keeps ``given`` from being loaded into networks that look like ``own``; empty when nothing does."""
    mine, theirs = _shapes(own), _shapes(given)
    texts = []
    for name in [*mine, *(name for name in theirs if name not in mine)]:
        if name not in theirs:
            texts.append(f"{name} {mine[name]} is missing there")
        elif name not in mine:
            texts.append(f"{name} {theirs[name]} is unknown here")
        elif mine[name] != theirs[name]:
            texts.append(f"{name} is {theirs[name]} there and {mine[name]} here")
    return texts


def require_alike(own: NetworkState, given: Mapping[str, Mapping[str, np.ndarray]], source: str) -> None:
    """Raise ArchitectureMismatch, which names parameters and shapes, where ``given`` cannot be loaded into ``own``."""
    if wrong := differences(own, given):
        raise ArchitectureMismatch(source, f"weights of other networks: {summary(wrong)}")


def summary(texts: Sequence[str], limit: int = 5) -> str:
    """The first few of many findings, for a message."""
    more = f"; and {len(texts) - limit} more" if len(texts) > limit else ""
    return "; ".join(texts[:limit]) + more


def _shapes(networks: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{key}": np.shape(array) for name, params in networks.items() for key, array in params.items()}
