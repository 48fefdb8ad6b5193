"""The hyperparameters of every built-in algorithm: default, explored range, hard limits and meaning, once.

One without a default is off until it is given.
"""

from __future__ import annotations

from tensor_optix.core.hyperparams import Param, Space

PPO_SPACE = Space(
    learning_rate=Param(
        "log_float", 1e-4, 3e-3, default=3e-4, limits="(0, inf)", tunable=True, schedulable=True,
        doc="step size of the optimizer's first parameter group",
    ),
    gamma=Param("float", 0.95, 0.999, default=0.99, limits="[0, 1)", tunable=True, doc="discount factor γ"),
    clip_ratio=Param(
        "float", 0.1, 0.3, default=0.2, limits="(0, inf)", tunable=True, schedulable=True, doc="clip range ε"
    ),
    entropy_coef=Param(
        "float", 0.001, 0.05, default=0.01, limits="[0, inf)", tunable=True, doc="weight c₂ of the entropy bonus"
    ),
    vf_coef=Param("float", 0.25, 1.0, default=0.5, limits="[0, inf)", doc="weight c₁ of the value loss"),
    gae_lambda=Param("float", 0.9, 0.99, default=0.95, limits="[0, 1]", doc="λ of GAE: 0 is TD, 1 is Monte Carlo"),
    n_epochs=Param("int", 3, 20, default=10, limits="[1, inf)", doc="passes over each window"),
    minibatch_size=Param("log_int", 32, 512, default=64, limits="[1, inf)", doc="rows of one update (a shape)"),
    max_grad_norm=Param("float", 0.3, 2.0, default=0.5, limits="(0, inf)", doc="global norm that gradients keep to"),
    target_kl=Param(
        "log_float", 0.005, 0.05, limits="[0, inf)",
        doc="KL divergence per window that the learning rate is held to; no epoch follows one above 1.5 times it; "
        "0, or not given: no controller at all",
    ),
)  # fmt: skip

_REPLAY = {
    "batch_size": Param("log_int", 32, 512, default=64, limits="[1, inf)", doc="rows of one update (a shape)"),
    "replay_capacity": Param(
        "log_int", 10_000, 1_000_000, default=100_000, limits="[1, inf)",
        doc="transitions kept; fixed once the agent is made",
    ),
    "per_alpha": Param(
        "float", 0.0, 1.0, default=0.0, limits="[0, inf)", doc="priority exponent: 0 is uniform replay, 1 proportional"
    ),
    "per_beta": Param("float", 0.0, 1.0, default=0.4, limits="[0, 1]", doc="exponent of the importance weights"),
    "n_step": Param("int", 1, 5, default=1, limits="[1, inf)", doc="rewards summed before the target bootstraps"),
    "updates_per_step": Param(
        "log_float", 0.1, 4.0, default=1.0, limits="(0, inf)", doc="gradient updates for each env step"
    ),
    "learning_starts": Param("int", 0, 10_000, default=0, limits="[0, inf)", doc="env steps before the first update"),
    "max_grad_norm": Param(
        "float", 0.5, 20.0, default=10.0, limits="(0, inf)", doc="global norm that gradients keep to"
    ),
}  # fmt: skip

DQN_SPACE = Space(
    learning_rate=Param(
        "log_float", 1e-4, 1e-3, default=3e-4, limits="(0, inf)", tunable=True, schedulable=True,
        doc="step size of the optimizer's first parameter group",
    ),
    gamma=Param("float", 0.95, 0.999, default=0.99, limits="[0, 1)", tunable=True, doc="discount factor γ"),
    epsilon=Param(
        "float", 0.01, 1.0, default=0.1, limits="[0, 1]", schedulable=True,
        doc="share of random actions at the start; a schedule replaces the decay",
    ),
    epsilon_min=Param("float", 0.0, 0.2, default=0.05, limits="[0, 1]", doc="where the decay ends"),
    epsilon_decay=Param(
        "float", 0.9, 0.9999, default=0.995, limits="(0, 1]", doc="factor on ε after each finished env episode"
    ),
    epsilon_decay_steps=Param(
        "log_int", 1_000, 1_000_000, limits="[1, inf)",
        doc="ε falls linearly to epsilon_min over so many env steps, in place of epsilon_decay; off unless given",
    ),
    target_update_freq=Param(
        "log_int", 10, 10_000, default=100, limits="[1, inf)", doc="gradient updates between copies of the target"
    ),
    target_update_steps=Param(
        "log_int", 10, 10_000, limits="[1, inf)",
        doc="env steps between copies of the target, in place of target_update_freq; off unless given",
    ),
    target_tau=Param(
        "log_float", 0.001, 0.1, limits="(0, 1]",
        doc="the target follows every update with this τ, in place of copies; off unless given",
    ),
    double=Param("bool", default=False, doc="double Q-learning: the online network chooses the next action"),
    huber=Param("bool", default=False, doc="Huber loss in place of the squared error"),
    **_REPLAY,
)  # fmt: skip

SAC_SPACE = Space(
    **{
        **_REPLAY,
        "learning_rate": Param(
            "log_float", 1e-4, 1e-3, default=3e-4, limits="(0, inf)", tunable=True, schedulable=True,
            doc="step size of the actor's optimizer; the others keep their ratio to it",
        ),
        "gamma": Param("float", 0.97, 0.999, default=0.99, limits="[0, 1)", tunable=True, doc="discount factor γ"),
        "tau": Param(
            "log_float", 1e-3, 1e-1, default=0.005, limits="(0, 1]", tunable=True, doc="how fast the targets follow"
        ),
        "batch_size": Param("log_int", 64, 1024, default=256, limits="[1, inf)", doc="rows of one update (a shape)"),
        "replay_capacity": Param(
            "log_int", 10_000, 1_000_000, default=1_000_000, limits="[1, inf)",
            doc="transitions kept; fixed once the agent is made",
        ),
        "learning_starts": Param(
            "int", 0, 10_000, default=1_000, limits="[0, inf)", doc="env steps with random actions, before any update"
        ),
        "max_grad_norm": Param(
            "float", 0.5, 20.0, limits="(0, inf)", doc="global norm that gradients keep to; off unless given"
        ),
        "log_alpha_init": Param("float", -5.0, 2.0, default=0.0, doc="log of the temperature α at the start"),
        "target_entropy": Param("float", doc="H_target; minus the number of action dimensions unless given"),
    }
)  # fmt: skip

A2C_SPACE = Space(
    learning_rate=Param(
        "log_float", 1e-4, 1e-2, default=1e-3, limits="(0, inf)", tunable=True, schedulable=True,
        doc="step size of the optimizer's first parameter group",
    ),
    gamma=Param("float", 0.9, 0.999, default=0.99, limits="[0, 1)", tunable=True, doc="discount factor γ"),
    max_grad_norm=Param(
        "float", 0.3, 10.0, limits="(0, inf)", doc="global norm that gradients keep to; off unless given"
    ),
)  # fmt: skip

# Tuned settings that were published for tasks unlike each other (RL Baselines3 Zoo, Raffin 2020), within the ranges
# above: what a search tries besides the defaults before it draws anything.

PPO_PORTFOLIO = (
    {"learning_rate": 1e-3, "gamma": 0.98, "clip_ratio": 0.2, "entropy_coef": 0.001},    # CartPole
    {"learning_rate": 3e-4, "gamma": 0.999, "clip_ratio": 0.2, "entropy_coef": 0.01},    # LunarLander
    {"learning_rate": 2.5e-4, "gamma": 0.99, "clip_ratio": 0.1, "entropy_coef": 0.01},   # Atari
    {"learning_rate": 1e-3, "gamma": 0.95, "clip_ratio": 0.2, "entropy_coef": 0.001},    # Pendulum
)  # fmt: skip

DQN_PORTFOLIO = (
    {"learning_rate": 6.3e-4, "gamma": 0.99},                                            # LunarLander, Acrobot
    {"learning_rate": 1e-3, "gamma": 0.98},                                              # MountainCar
    {"learning_rate": 1e-4, "gamma": 0.99},                                              # Atari
)  # fmt: skip

SAC_PORTFOLIO = (
    {"learning_rate": 1e-3, "gamma": 0.99, "tau": 0.005},                                # Pendulum
    {"learning_rate": 7.3e-4, "gamma": 0.99, "tau": 0.01},                               # LunarLanderContinuous
    {"learning_rate": 7.3e-4, "gamma": 0.98, "tau": 0.02},                               # PyBullet
    {"learning_rate": 3e-4, "gamma": 0.999, "tau": 0.01},                                # MountainCarContinuous
)  # fmt: skip
