"""Every loss with small networks and a random batch, for any backend to be held against NumPy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.algorithms.a2c import POLICY_GRADIENT
from tensor_optix.algorithms.dqn import dqn_update
from tensor_optix.algorithms.ppo import PPOAgent
from tensor_optix.algorithms.ppo_continuous import GaussianPPOAgent
from tensor_optix.algorithms.sac import SAC_UPDATE
from tensor_optix.backends.base import Step
from tensor_optix.backends.numpy_backend import NumpyOps

ROWS, OBSERVATION, ACTIONS, DIM, HIDDEN = 24, 4, 3, 2, 16

Weights = dict[str, dict[str, np.ndarray]]
"""Network -> ``{"0.weight": [HIDDEN, in], "0.bias", "2.weight": [out, HIDDEN], "2.bias"}``, or ``{"value": []}``."""


@dataclass(frozen=True)
class LossCase:
    """One step's loss; sizes: inputs and outputs of each tanh network (or the value of a single number)."""

    name: str
    step: Step
    sizes: dict[str, tuple[int, int] | float]
    scalars: dict[str, float]
    seed: int = 0

    @property
    def weights(self) -> Weights:
        rng = np.random.default_rng(self.seed)

        def layer(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
            scale = 1.0 / np.sqrt(n_in)
            return rng.normal(0, scale, (n_out, n_in)).astype("f4"), rng.normal(0, 0.1, n_out).astype("f4")

        found: Weights = {}
        for name, size in self.sizes.items():
            if isinstance(size, tuple):
                (w0, b0), (w1, b1) = layer(size[0], HIDDEN), layer(HIDDEN, size[1])
                found[name] = {"0.weight": w0, "0.bias": b0, "2.weight": w1, "2.bias": b1}
            else:
                found[name] = {"value": np.array(size, dtype="f4")}
        return found

    @property
    def batch(self) -> dict[str, np.ndarray]:
        return batch_of(np.random.default_rng(self.seed + 1), continuous="actor" in self.sizes and len(self.sizes) > 2)


def batch_of(rng: np.random.Generator, *, continuous: bool, n_rows: int = ROWS) -> dict[str, np.ndarray]:
    """Every column that any of the losses asks for."""

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((n_rows, *shape)).astype("f4")

    return {
        "observation": normal(OBSERVATION), "next_observation": normal(OBSERVATION),
        "action": np.tanh(normal(DIM)) if continuous else rng.integers(0, ACTIONS, n_rows),
        "pre_squash": normal(DIM), "log_prob": np.log(rng.uniform(0.2, 0.8, n_rows)).astype("f4"),
        "advantage": normal(), "return": normal(), "reward": normal(), "target": normal(),
        "discount": (0.97 * (rng.random(n_rows) < 0.8)).astype("f4"),
        "weight": rng.uniform(0.2, 1.0, n_rows).astype("f4"),
        "noise": normal(DIM), "next_noise": normal(DIM),
    }  # fmt: skip


PPO_SCALARS = {"clip_ratio": 0.2, "vf_coef": 0.5, "entropy_coef": 0.01}
Q = (OBSERVATION, ACTIONS)
CRITIC = (OBSERVATION + DIM, 1)
SAC_SIZES: dict[str, Any] = {
    "actor": (OBSERVATION, 2 * DIM), "critic1": CRITIC, "critic2": CRITIC, "target1": CRITIC, "target2": CRITIC,
    "log_alpha": -0.5,
}  # fmt: skip


def _cases() -> Iterator[LossCase]:
    yield LossCase("ppo", PPOAgent.update.steps[0], {"actor": Q, "critic": (OBSERVATION, 1)}, PPO_SCALARS)
    yield LossCase(
        "gaussian ppo", GaussianPPOAgent.update.steps[0],
        {"actor": (OBSERVATION, 2 * DIM), "critic": (OBSERVATION, 1)}, {**PPO_SCALARS, "clip_ratio": 0.9},
    )  # fmt: skip
    for double in (False, True):
        for huber in (False, True):
            name = "dqn" + " double" * double + " huber" * huber
            yield LossCase(name, dqn_update(double, huber).steps[0], {"q": Q, "q_target": Q}, {})
    for step in SAC_UPDATE.steps:
        yield LossCase(f"sac {step.optimizer}", step, SAC_SIZES, {"target_entropy": -2.0, "tau": 0.005})
    yield LossCase("policy gradient", POLICY_GRADIENT.steps[0], {"model": Q}, {})


CASES = list(_cases())


def numpy_networks(weights: Weights) -> dict[str, Callable[[np.ndarray], Any]]:
    def network(layers: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], Any]:
        if "value" in layers:
            return lambda x: layers["value"]
        return lambda x: (
            np.tanh(x @ layers["0.weight"].T + layers["0.bias"]) @ layers["2.weight"].T + layers["2.bias"]
        )

    return {name: network(layers) for name, layers in weights.items()}


def numpy_loss(case: LossCase, weights: Weights) -> float:
    batch = _widened(case.batch)
    return float(case.step.loss(NumpyOps(), numpy_networks(weights), batch, case.scalars)[0])


def numpy_slopes(case: LossCase, per_array: int = 4) -> Iterator[tuple[str, str, int, float]]:
    """(network, parameter, flat index, ∂loss / ∂ it) at random places of what the step trains, in float64.

    By central differences with everything that the loss takes for a constant held fixed, which is what
    ``stop_gradient`` says; so the parameter is moved only where its gradient flows.
    """
    weights = {name: {key: a.astype("f8") for key, a in layers.items()} for name, layers in case.weights.items()}
    rng = np.random.default_rng(7)
    for name in case.step.trains:
        for key, array in weights[name].items():
            for index in rng.integers(0, array.size, min(per_array, array.size)):
                values = []
                for change in (1e-5, -1e-5):
                    moved = copy.deepcopy(weights)
                    moved[name][key].reshape(-1)[index] += change
                    values.append(_loss_with_constants(case, moved, weights))
                yield name, key, int(index), (values[0] - values[1]) / 2e-5


def _widened(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: column.astype("f8") if column.dtype == np.float32 else column for name, column in batch.items()}


class _FrozenOps(NumpyOps):
    """``stop_gradient`` gives what it gave at the weights where the slope is taken, call by call."""

    def __init__(self, recorded: list[Any] | None) -> None:
        self.calls: list[Any] = []
        self._recorded = recorded

    def stop_gradient(self, x: Any) -> Any:
        self.calls.append(np.copy(x))
        return x if self._recorded is None else self._recorded[len(self.calls) - 1]


def _loss_with_constants(case: LossCase, moved: Weights, original: Weights) -> float:
    batch = _widened(case.batch)
    first = _FrozenOps(None)
    case.step.loss(first, numpy_networks(original), batch, case.scalars)
    ops = _FrozenOps(first.calls)
    return float(case.step.loss(ops, numpy_networks(moved), batch, case.scalars)[0])
