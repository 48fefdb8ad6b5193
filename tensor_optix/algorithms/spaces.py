"""The hyperparameters of every built-in algorithm: default, explored range, hard limits and meaning, once."""

from __future__ import annotations

from tensor_optix.core.hyperparams import Param, Space

PPO_SPACE = Space(
    learning_rate=Param(
        "log_float", 1e-4, 3e-3, default=3e-4, limits="(0, inf)", tunable=True,
        doc="step size of the optimizer's first parameter group",
    ),
    gamma=Param("float", 0.95, 0.999, default=0.99, limits="[0, 1)", tunable=True, doc="discount factor γ"),
    clip_ratio=Param("float", 0.1, 0.3, default=0.2, limits="(0, inf)", tunable=True, doc="clip range ε"),
    entropy_coef=Param(
        "float", 0.001, 0.05, default=0.01, limits="[0, inf)", tunable=True, doc="weight c₂ of the entropy bonus"
    ),
    vf_coef=Param("float", 0.25, 1.0, default=0.5, limits="[0, inf)", doc="weight c₁ of the value loss"),
    gae_lambda=Param("float", 0.9, 0.99, default=0.95, limits="[0, 1]", doc="λ of GAE: 0 is TD, 1 is Monte Carlo"),
    n_epochs=Param("int", 3, 20, default=10, limits="[1, inf)", doc="passes over each window"),
    minibatch_size=Param("log_int", 32, 512, default=64, limits="[1, inf)", doc="rows of one update (a shape)"),
    max_grad_norm=Param("float", 0.3, 2.0, default=0.5, limits="(0, inf)", doc="global norm that gradients keep to"),
)  # fmt: skip
