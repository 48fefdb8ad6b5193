"""What does spawning gain over a control with unchanged hyperparameters at equal steps? One row per trial.

    python benchmarks/spawn_gain.py                                       Acrobot-v1, seeds 0 to 2
    python benchmarks/spawn_gain.py --env CartPole-v1 --seeds 1
    python benchmarks/spawn_gain.py --env LunarLander-v3 --seeds 1 --envs 8 --window 2048 --patience 25 \\
        --max-steps 1500000

Each run trains PPO until it is dormant, then has a budget of three spawns. gain: mean score of the variant less that
of its control on common seeds, t of the paired difference, and the t that adoption needs. One seed each gave -8.5,
-7.3, -1.4 (Acrobot), +0.1, +48.9, -11.1 (LunarLander, dormant early by a patience of 25) and 0, 0, 0 (CartPole, at its
ceiling before the first spawn): none was adopted.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym

from tensor_optix import BatchPipeline, PolicyManager, RLOptimizer, VectorBatchPipeline, make_agent
from tensor_optix.pipeline.env_pipeline import EnvPipeline

COLUMNS = ("spawn", "noise", "variant_steps", "control_steps", "evaluation_steps", "n_pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Acrobot-v1")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--max-steps", type=int, default=200_000)
    parser.add_argument("--window", type=int, default=512, help="env steps of all environments together")
    parser.add_argument("--envs", type=int, default=1, help="environments side by side")
    parser.add_argument("--patience", type=int, help="scores without a gain until DORMANT; default: by the evidence")
    parser.add_argument("--json", type=Path, help="add a line with everything for each seed to this file")
    arguments = parser.parse_args()
    print("seed  spawn   noise  variant  control  evaluation  pairs      gain      t  needed  adopted")
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        with tempfile.TemporaryDirectory() as out:
            report, optimizer, printed = evolve(arguments, seed, out)
        for trial in report["trials"]:
            print(f"{seed:4d}  {row(trial)}", flush=True)
        result = optimizer.result
        assert result is not None
        final = "no final score" if result.final is None else f"final score {result.final.mean:g}"
        print(f"      {result.env_steps} steps, {result.seconds:.0f} s, {result.reason.value}, {final}")
        print(printed, flush=True)
        if arguments.json is not None:
            facts = {"env": arguments.env, "seed": seed, "steps": result.env_steps, "seconds": result.seconds,
                     "reason": result.reason.value, "final": result.final and result.final.mean, "printed": printed,
                     "trials": report["trials"]}  # fmt: skip
            with arguments.json.open("a") as rows:
                rows.write(json.dumps(facts) + "\n")


def evolve(arguments: argparse.Namespace, seed: int, out: str) -> tuple[dict[str, Any], RLOptimizer, str]:
    """One run: (training report, its optimizer, the report as printed)."""
    pipeline, printed = pipeline_of(arguments), io.StringIO()

    def agent_factory() -> Any:
        return make_agent(pipeline, "ppo", seed=seed)

    rule = {} if arguments.patience is None else {"dormant_threshold": arguments.patience}
    agent = agent_factory()
    optimizer = RLOptimizer(
        agent, pipeline, checkpoint_dir=out, seed=seed, max_steps=arguments.max_steps, **rule
    )
    manager = PolicyManager(optimizer.registry, max_spawns=3, stream=printed)
    optimizer.add_callback(manager.as_callback(agent, agent_factory=agent_factory))
    optimizer.run()
    return manager.training_report(), optimizer, printed.getvalue()


def pipeline_of(arguments: argparse.Namespace) -> EnvPipeline:
    """Windows of ``--window`` steps, over ``--envs`` environments."""
    if arguments.envs == 1:
        return BatchPipeline(env=gym.make(arguments.env), window_size=arguments.window)
    makers = [lambda: gym.make(arguments.env)] * arguments.envs
    return VectorBatchPipeline(makers, window_size=arguments.window // arguments.envs)


def row(trial: dict[str, Any]) -> str:
    spawn, noise, *steps = (trial[name] for name in COLUMNS)
    variant, control, evaluation, n_pairs = steps
    return (
        f"{spawn:5d}  {noise:6.3f}  {variant:7d}  {control:7d}  {evaluation:10d}  {n_pairs:5d}  "
        f"{trial['gain']:+8.2f}  {trial['t']:5.1f}  {trial['threshold']:6.2f}  {trial['is_adopted']}"
    )


if __name__ == "__main__":
    main()
