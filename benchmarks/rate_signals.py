"""Does any internal signal of DQN or SAC tell a learning rate that is too high from one that is too low?

    python benchmarks/rate_signals.py [--task cartpole|pendulum] [--factors 10,1,0.1] [--steps 15000] [--seed 0]

Trains what ``train`` would make, at the default rate times each factor, without any tuner, and shows eight stretches
of each run: mean return, and the signals that one might hold a rate by. Half a minute of CPU time a run with 15,000
steps of CartPole, as much for 4,000 of Pendulum.
"""

from __future__ import annotations

import argparse

import numpy as np

from tensor_optix import quick
from tensor_optix.core.rng import RandomStreams

TASKS = {"cartpole": ("CartPole-v1", "dqn"), "pendulum": ("Pendulum-v1", "sac")}
SIGNALS = ("td_error_mean", "loss", "grad_norm", "critic_optimizer_grad_norm", "alpha")
STRETCHES = 8


def trained(task, factor, steps, seed):
    """A row for each window: the mean return of the episodes that ended in it (NaN for none), and the diagnostics."""
    env_id, algorithm = TASKS[task]
    default = quick.plan(env_id, algorithm, "torch", seed=seed).recipe.build.default_hyperparams["learning_rate"]
    agent, pipeline = quick.plan(env_id, algorithm, "torch", seed=seed, learning_rate=factor * default).parts()
    agent.seed(RandomStreams(seed).stream("agent"))
    pipeline.seed(RandomStreams(seed))
    pipeline.set_agent(agent)
    pipeline.setup()
    rows, n_steps = [], 0
    for window in pipeline.episodes():
        n_steps += window.length
        score = float(np.mean(window.episode_returns)) if window.episode_returns else np.nan
        rows.append({"score": score, **agent.learn(window)})
        if n_steps >= steps:
            break
    pipeline.teardown()
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=TASKS, default="cartpole")
    parser.add_argument("--factors", default="10,1,0.1")
    parser.add_argument("--steps", type=int, default=15_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for factor in map(float, arguments.factors.split(",")):
        rows = trained(arguments.task, factor, arguments.steps, arguments.seed)
        scores = [row["score"] for row in rows if np.isfinite(row["score"])]
        last = np.mean(scores[-len(scores) // 5 :])
        print(f"{arguments.task}, rate x{factor:g}: mean return of the last fifth {last:.1f}")
        for stretch in np.array_split(np.array(rows, dtype=object), STRETCHES):
            means = {name: np.nanmean([row.get(name, np.nan) for row in stretch]) for name in ("score", *SIGNALS)
                     if any(name in row for row in stretch)}  # fmt: skip
            print("   ", "   ".join(f"{name} {value:.3g}" for name, value in means.items()), flush=True)


if __name__ == "__main__":
    main()
