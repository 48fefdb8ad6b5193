"""What is trained in the speed benchmark, and how fast should it be?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BACKENDS = ("torch", "torch-compiled", "jax", "tf")
SB3, SBX = "Stable-Baselines3", "SBX"
RIVALS = (SB3, SBX)


@dataclass(frozen=True)
class Target:
    """So many times a rival's env steps per second."""

    rival: str
    must: float
    goal: float


@dataclass(frozen=True)
class Workload:
    """One task with one algorithm, the same for all contestants.

    window: env steps of each environment between two rounds of learning. updates_per_step: off-policy gradient
    updates for each env step. steps: of one round of measuring (the first one of SAC ends where learning starts).
    rival_windows: the window of a rival where it has another one (several updates in one go against one at a time).
    """

    env_id: str
    algorithm: str
    n_envs: int
    window: int
    steps: int
    hidden: tuple[int, ...]
    activation: str
    batch: int
    targets: Mapping[str, tuple[Target, ...]]
    updates_per_step: float = 1.0
    rival_windows: Mapping[str, int] = field(default_factory=dict)

    @property
    def hyperparams(self) -> dict[str, Any]:
        """Ours, those that do not follow from the defaults."""
        if self.algorithm == "ppo":
            return {"minibatch_size": self.batch, "n_epochs": 10, "learning_rate": 3e-4}
        shared = {"batch_size": self.batch, "updates_per_step": self.updates_per_step, "learning_starts": 256,
                  "learning_rate": 3e-4, "replay_capacity": 100_000}  # fmt: skip
        if self.algorithm == "sac":
            return shared
        return {**shared, "epsilon": 0.1, "epsilon_min": 0.1, "target_update_freq": 500, "huber": True}


def _ppo(n_envs: int, window: int, targets: dict[str, tuple[Target, ...]]) -> Workload:
    return Workload("CartPole-v1", "ppo", n_envs, window, 2048, (64, 64), "tanh", 64, targets)


def _dqn(window: int, targets: dict[str, tuple[Target, ...]], **keywords: Any) -> Workload:
    return Workload("CartPole-v1", "dqn", 1, window, 1024, (64, 64), "relu", 64, targets, **keywords)


def _sac(window: int, targets: dict[str, tuple[Target, ...]], **keywords: Any) -> Workload:
    return Workload("Pendulum-v1", "sac", 1, window, 256, (256, 256), "relu", 256, targets, **keywords)


WORKLOADS = {
    "ppo-1x2048": _ppo(1, 2048, {
        "jax": (Target(SBX, 11, 17), Target(SB3, 17, 27)), "tf": (Target(SB3, 15, 23),),
        "torch": (Target(SB3, 3, 6.3),), "torch-compiled": (Target(SB3, 5, 8),),
    }),
    "ppo-8x256": _ppo(8, 256, {
        "jax": (Target(SBX, 4.5, 6.5), Target(SB3, 9, 14)), "tf": (Target(SB3, 9, 13),),
        "torch": (Target(SB3, 2.2, 3.2),), "torch-compiled": (Target(SB3, 3.5, 5),),
    }),
    "dqn-every-4": _dqn(4, {
        "jax": (Target(SBX, 4.5, 7),), "torch": (Target(SB3, 3, 4),),
    }, updates_per_step=0.25),
    "dqn-every-step": _dqn(1, {
        "jax": (Target(SBX, 4, 6.8),), "torch": (Target(SB3, 1.8, 2.3),), "tf": (Target(SB3, 0.9, 1.5),),
    }),
    "dqn-fused-32": _dqn(32, {"jax": (Target(SBX, 2.8, 4.3),), "tf": (Target(SB3, 5, 8),)}, rival_windows={SB3: 1}),
    "sac-every-step": _sac(1, {
        "jax": (Target(SBX, 1.05, 1.2), Target(SB3, 2, 2)), "torch": (Target(SB3, 1.1, 1.4),),
        "tf": (Target(SB3, 1.4, 1.7),),
    }),
    "sac-fused-32": _sac(32, {
        "jax": (Target(SBX, 0.95, 1.0),), "tf": (Target(SB3, 1.9, 2.3),), "torch": (Target(SB3, 1.1, 1.4),),
    }, rival_windows={SB3: 1}),
}  # fmt: skip
"""The task by the name that it has on the command line."""
