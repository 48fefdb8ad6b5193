"""SAC on HalfCheetah-v5, planned from the environment's id.

    python examples/mujoco_sac.py

Needs PyTorch and MuJoCo: pip install -e ".[torch,mujoco]"
"""

import tensor_optix as tx


def main() -> None:
    run = tx.train("HalfCheetah-v5", "sac", "torch", seed=0, max_steps=1_000_000, out="checkpoints")
    print(run.result.reason.value, run.best_score, run.interval)


if __name__ == "__main__":
    main()
