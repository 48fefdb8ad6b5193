"""What does spawning gain over a control with unchanged hyperparameters at equal steps? One row per trial.

    python benchmarks/spawn_gain.py                                       Acrobot-v1, seeds 0 to 2
    python benchmarks/spawn_gain.py --env LunarLander-v3 --seeds 1 --max-steps 600000 --window 2048
    python benchmarks/spawn_gain.py --env CartPole-v1 --seeds 1

Each run trains PPO until it is dormant, then has a budget of three spawns. gain: mean score of the variant less that
of its control on common seeds, t of the paired difference, and the t that adoption needs. A run without rows had no
spawn, and the report says why: CartPole reaches its ceiling in some 30,000 steps, of which a quarter does not pay for
ten pairs of episodes of 500 steps.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from typing import Any

import gymnasium as gym

from tensor_optix import BatchPipeline, PolicyManager, RLOptimizer, make_agent

COLUMNS = ("spawn", "noise", "variant_steps", "control_steps", "evaluation_steps", "n_pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Acrobot-v1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-steps", type=int, default=200_000)
    parser.add_argument("--window", type=int, default=512)
    arguments = parser.parse_args()
    print("seed  spawn   noise  variant  control  evaluation  pairs      gain      t  needed  adopted")
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as out:
            report, optimizer, printed = evolve(arguments, seed, out)
        for trial in report["trials"]:
            print(f"{seed:4d}  {row(trial)}", flush=True)
        result = optimizer.result
        print(f"      {result.env_steps} steps, {result.reason.value}, final score {result.final.mean:g}")
    print(printed)


def evolve(arguments: argparse.Namespace, seed: int, out: str) -> tuple[dict[str, Any], RLOptimizer, str]:
    """One run: (training report, its optimizer, the report as printed)."""
    env = gym.make(arguments.env)
    agent, printed = make_agent(env, "ppo", seed=seed), io.StringIO()
    optimizer = RLOptimizer(
        agent, BatchPipeline(env=env, window_size=arguments.window), checkpoint_dir=out, seed=seed,
        max_steps=arguments.max_steps,
    )  # fmt: skip
    manager = PolicyManager(optimizer.registry, max_spawns=3, stream=printed)
    optimizer.add_callback(manager.as_callback(agent, agent_factory=lambda: make_agent(env, "ppo", seed=seed)))
    optimizer.run()
    return manager.training_report(), optimizer, printed.getvalue()


def row(trial: dict[str, Any]) -> str:
    spawn, noise, *steps = (trial[name] for name in COLUMNS)
    variant, control, evaluation, n_pairs = steps
    return (
        f"{spawn:5d}  {noise:6.3f}  {variant:7d}  {control:7d}  {evaluation:10d}  {n_pairs:5d}  "
        f"{trial['gain']:+8.2f}  {trial['t']:5.1f}  {trial['threshold']:6.2f}  {trial['is_adopted']}"
    )


if __name__ == "__main__":
    main()
