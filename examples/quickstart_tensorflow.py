"""PPO on CartPole-v1 with Keras models and a Keras optimizer of your own.

    python examples/quickstart_tensorflow.py

Needs TensorFlow: pip install -e ".[tf]"
"""

import gymnasium as gym
import tensorflow as tf

from tensor_optix import BatchPipeline, HyperparamSet, RLOptimizer, TFPPOAgent


def network(n_outputs: int) -> tf.keras.Model:
    return tf.keras.Sequential([
        tf.keras.layers.Input(shape=(4,)),
        tf.keras.layers.Dense(64, activation="tanh"),
        tf.keras.layers.Dense(64, activation="tanh"),
        tf.keras.layers.Dense(n_outputs),
    ])


def main() -> None:
    agent = TFPPOAgent(
        actor=network(2),     # logits, one per action
        critic=network(1),    # a value
        optimizer=tf.keras.optimizers.Adam(3e-4),
        hyperparams=HyperparamSet(params={
            "learning_rate": 3e-4, "clip_ratio": 0.2, "entropy_coef": 0.01, "vf_coef": 0.5,
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
