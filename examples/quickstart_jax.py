"""PPO on CartPole-v1 with flax.nnx modules and an optax transformation of your own.

    python examples/quickstart_jax.py

Needs JAX, Flax and optax: pip install -e ".[jax]"
"""

import gymnasium as gym
import optax
from flax import nnx

from tensor_optix import BatchPipeline, FlaxPPOAgent, HyperparamSet, RLOptimizer


def network(n_outputs: int, rngs: nnx.Rngs) -> nnx.Sequential:
    return nnx.Sequential(nnx.Linear(4, 64, rngs=rngs), nnx.tanh, nnx.Linear(64, n_outputs, rngs=rngs))


def main() -> None:
    rngs = nnx.Rngs(0)
    agent = FlaxPPOAgent(
        actor=network(2, rngs),
        critic=network(1, rngs),
        optimizer=optax.adam(3e-4),
        hyperparams=HyperparamSet(params={
            "learning_rate": 3e-4, "clip_ratio": 0.2, "entropy_coef": 0.01,
            "gamma": 0.99, "gae_lambda": 0.95, "n_epochs": 10, "minibatch_size": 64,
        }, episode_id=0),
    )  # fmt: skip
    pipeline = BatchPipeline(env=gym.make("CartPole-v1"), agent=agent, window_size=2048)
    opt = RLOptimizer(agent=agent, pipeline=pipeline)
    opt.run()

    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")
    print(f"best score {opt.result.score}, in {opt.result.run_dir}")


if __name__ == "__main__":
    main()
