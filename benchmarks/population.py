"""What does a population make of a bad learning rate, beside one agent with as many env steps?

    python benchmarks/population.py                       CartPole-v1, four PPO agents that begin a tenth too slow
    python benchmarks/population.py --jobs 1 2            the same in this process and on two: what comes out is equal

A row per run: how many processes, env steps of everybody, seconds, why it ended, the final score on fresh seeds, how
often a member took over from another one, and the learning rate that the best policy was made with. The KL controller
is off, which would find the learning rate by itself.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from tensor_optix import BatchPipeline, NoTuning, Population, RLOptimizer, make_agent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--size", type=int, default=4)
    parser.add_argument("--jobs", type=int, nargs="+", default=[2])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-steps", type=int, default=80_000)
    parser.add_argument("--learning-rate", type=float, default=3e-5)
    arguments = parser.parse_args()
    print("seed  members  processes   steps  seconds  reason     final  takeovers  learning rate")
    for seed in range(arguments.seeds):
        for n_jobs in arguments.jobs:
            print(row(seed, arguments.size, n_jobs, populated(arguments, seed, n_jobs)), flush=True)
        print(row(seed, 1, 1, alone(arguments, seed)), flush=True)


def populated(arguments: argparse.Namespace, seed: int, n_jobs: int) -> RLOptimizer:
    """A finished run of the population."""
    n_made = 0

    def agent_factory(params: dict[str, Any]) -> Any:
        nonlocal n_made
        n_made += 1
        return agent_of(arguments, 100 * seed + n_made)

    optimizer = RLOptimizer(
        agent_factory=agent_factory, pipeline_factory=lambda: pipeline_of(arguments), seed=seed,
        population=Population(arguments.size, interval_steps=2048, n_jobs=n_jobs), max_steps=arguments.max_steps,
        checkpoint_dir=tempfile.mkdtemp(),
    )  # fmt: skip
    optimizer.run()
    return optimizer


def alone(arguments: argparse.Namespace, seed: int) -> RLOptimizer:
    """A finished run of one agent that nobody tunes."""
    optimizer = RLOptimizer(
        agent_of(arguments, 100 * seed + 1), pipeline_of(arguments), optimizer=NoTuning(), seed=seed,
        max_steps=arguments.max_steps, checkpoint_dir=tempfile.mkdtemp(),
    )  # fmt: skip
    optimizer.run()
    return optimizer


def pipeline_of(arguments: argparse.Namespace) -> BatchPipeline:
    """Windows of 512 steps."""
    return BatchPipeline(env_id=arguments.env, window_size=512)


def agent_of(arguments: argparse.Namespace, seed: int) -> Any:
    """PPO without a KL controller, too slow by a factor of ten."""
    return make_agent(
        pipeline_of(arguments), "ppo", seed=seed, learning_rate=arguments.learning_rate, target_kl=0.0
    )


def row(seed: int, size: int, n_jobs: int, optimizer: RLOptimizer) -> str:
    """One line of the table."""
    result = optimizer.result
    assert result is not None
    events = (Path(optimizer.run_dir) / "events.jsonl").read_text().splitlines()
    takeovers = sum(json.loads(line)["kind"] == "exchanged" for line in events)
    final = float("nan") if result.final is None else result.final.mean
    rate = optimizer.agent.get_hyperparams().params["learning_rate"]
    return (
        f"{seed:4d}  {size:7d}  {n_jobs:9d}  {result.env_steps:6d}  {result.seconds:7.1f}  {result.reason.value:9s}  "
        f"{final:6.1f}  {takeovers:9d}  {rate:.2g}"
    )


if __name__ == "__main__":
    main()
