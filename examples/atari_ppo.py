"""PPO on Pong: four grey frames of 84 x 84, eight environments.

    python examples/atari_ppo.py

Needs PyTorch and the Arcade Learning Environment: pip install -e ".[torch,atari]"
"""

import ale_py
import gymnasium as gym

import tensor_optix as tx


def main() -> None:
    gym.register_envs(ale_py)
    run = tx.train("ALE/Pong-v5", "ppo", "torch", seed=0, max_steps=10_000_000, out="checkpoints")
    print(run.result.reason.value, run.best_score, run.interval)


if __name__ == "__main__":
    main()
