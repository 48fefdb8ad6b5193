"""Which algorithm, and which strong defaults, fit a task? (Bare constructors keep the published defaults.)

Sources: Andrychowicz et al. 2021 and Huang et al. 2022 (PPO), Hessel et al. 2018 (DQN), Haarnoja et al. 2018 and
Ball et al. 2023 (SAC), Mnih et al. 2015 (images).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tensor_optix.algorithms.spaces import DQN_SPACE, PPO_SPACE, SAC_SPACE
from tensor_optix.core.hyperparams import Space
from tensor_optix.errors import ConfigError, nearest
from tensor_optix.quick.spaces import Task

SPACES: dict[str, Space] = {"ppo": PPO_SPACE, "dqn": DQN_SPACE, "sac": SAC_SPACE}
NAMES = {"ppo": "PPO", "dqn": "DQN", "sac": "SAC"}


@dataclass(frozen=True)
class Defaults:
    """What is chosen where the user says nothing. hyperparams: those that differ from the algorithm's Space."""

    hidden: tuple[int, ...]
    activation: str
    n_envs: int
    window_size: int
    normalize_observations: bool = False
    normalize_rewards: bool = False
    hyperparams: dict[str, Any] = field(default_factory=dict)


_TARGET_KL = {"target_kl": 0.02}
"""The learning rate is the KL controller's: ten times too much or too little is mended within some windows."""

_PPO = Defaults((64, 64), "tanh", 8, 256, True, hyperparams=_TARGET_KL)
"""Rewards as they are: on CartPole, of four seeds each, the ceiling came after 35,000 to 43,000 steps so, and after
37,000 to 82,000 with normalised ones, whose scale moves while the returns grow."""
_GAUSSIAN_PPO = Defaults((64, 64), "tanh", 8, 256, True, True, {"entropy_coef": 0.0, **_TARGET_KL})
_IMAGE_PPO = Defaults(
    (512,), "relu", 8, 128, False, True,
    {"learning_rate": 2.5e-4, "clip_ratio": 0.1, "n_epochs": 4, "minibatch_size": 256},
)  # fmt: skip
_OFF_POLICY_WARM_UP = 1_000
_DQN = Defaults(
    (128, 128), "relu", 1, 64,
    hyperparams={
        "learning_rate": 5e-4, "double": True, "huber": True, "n_step": 3, "target_tau": 0.005,
        "epsilon": 1.0, "epsilon_min": 0.05, "epsilon_decay_steps": 10_000, "learning_starts": _OFF_POLICY_WARM_UP,
    },
)  # fmt: skip
_IMAGE_DQN = Defaults(
    (512,), "relu", 1, 64,
    hyperparams={
        "learning_rate": 1e-4, "double": True, "huber": True, "n_step": 3, "target_update_steps": 4_000,
        "epsilon": 1.0, "epsilon_min": 0.01, "epsilon_decay_steps": 250_000, "learning_starts": 10_000,
        "updates_per_step": 0.25, "batch_size": 32, "replay_capacity": 50_000,
    },
)  # fmt: skip
_SAC = Defaults((256, 256), "relu", 1, 64, hyperparams={"learning_starts": _OFF_POLICY_WARM_UP})
_IMAGE_SAC = Defaults(
    (256,), "relu", 1, 64,
    hyperparams={
        "learning_rate": 1e-4, "learning_starts": _OFF_POLICY_WARM_UP, "updates_per_step": 0.25, "batch_size": 128,
        "replay_capacity": 50_000,
    },
)  # fmt: skip


VALIDATION = {"val_episodes": 5, "val_share": 0.1}
"""Settings of the loop that ``plan`` gives a run besides: five held-out env episodes each time, for at most a tenth
of all env steps. val_episodes=0 leaves validation out."""


@dataclass(frozen=True)
class Choice:
    """A value, and why it was taken."""

    value: str
    why: str


def choose_algorithm(wanted: str, task: Task) -> Choice:
    """``wanted``, or what fits the actions. Raises ConfigError for one that cannot act there."""
    require_known("algorithm", wanted, ("auto", *SPACES))
    if wanted == "auto":
        if task.is_discrete:
            return Choice("ppo", "discrete actions")
        return Choice("ppo", "continuous actions and images") if task.is_image else Choice("sac", "continuous actions")
    if wanted == "dqn" and not task.is_discrete:
        raise ConfigError("DQN needs a Discrete action space, and this environment's actions are continuous: "
                          "use sac or ppo")  # fmt: skip
    if wanted == "sac" and task.is_discrete:
        raise ConfigError("SAC needs continuous actions, and this environment has a Discrete action space: "
                          "use ppo or dqn")  # fmt: skip
    return Choice(wanted, "asked for")


def defaults_for(algorithm: str, *, is_image: bool, is_discrete: bool) -> Defaults:
    """The strong defaults of ``algorithm`` for such a task."""
    if algorithm == "dqn":
        return _IMAGE_DQN if is_image else _DQN
    if algorithm == "sac":
        return _IMAGE_SAC if is_image else _SAC
    if is_image:
        return _IMAGE_PPO
    return _PPO if is_discrete else _GAUSSIAN_PPO


def require_known(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise ConfigError, with the nearest one, unless ``value`` is among ``known``."""
    if value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value!r}.{nearest(str(value), known)}")
