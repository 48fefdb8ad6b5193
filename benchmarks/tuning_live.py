"""Default tuning on against off, paired by seed, from good and from bad starts.

    python benchmarks/tuning_live.py OUT [--seeds 3] [--cells cartpole,lunarlander,pendulum] [--budget-minutes 30]

Each cell (task, start, on or off, seed) is a process that writes one JSON into OUT and is skipped when that is there.
"On": SPSAOptimizer and, for PPO, target_kl = 0.01; "off": neither. The table shows what is there, with 95 % bootstrap
intervals of the paired differences.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import gymnasium as gym
import numpy as np

from tensor_optix import NoTuning, ReturnEvaluator, RLOptimizer, SPSAOptimizer
from tensor_optix.core.statistics import bootstrap_interval

TASKS = {
    "cartpole": ("CartPole-v1", 100_000, {
        "default": {}, "learning rate x10": {"learning_rate": 3e-3}, "learning rate /10": {"learning_rate": 3e-5},
        "clip 0.02": {"clip_ratio": 0.02}, "entropy 0.3": {"entropy_coef": 0.3},
    }),
    "lunarlander": ("LunarLander-v3", 300_000, {
        "default": {}, "learning rate x10": {"learning_rate": 3e-3}, "learning rate /10": {"learning_rate": 3e-5},
    }),
    "pendulum": ("Pendulum-v1", 20_000, {
        "default": {}, "learning rate x10": {"learning_rate": 1e-2}, "learning rate /10": {"learning_rate": 1e-4},
    }),
}  # fmt: skip


def ppo(env, params, is_on):
    import torch
    from torch import nn

    from tensor_optix import TorchPPOAgent

    n_inputs, n_actions = env.observation_space.shape[0], env.action_space.n

    def mlp(n_outputs):
        return nn.Sequential(
            nn.Linear(n_inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, n_outputs)
        )

    actor, critic = mlp(n_actions), mlp(1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4)
    return TorchPPOAgent(actor, critic, optimizer, {**params, **({"target_kl": 0.01} if is_on else {})}), 2048


def sac(env, params, is_on):
    import torch
    from torch import nn

    from tensor_optix import TorchSACAgent

    n_inputs, n_actions = env.observation_space.shape[0], env.action_space.shape[0]

    def mlp(n_in, n_out):
        return nn.Sequential(nn.Linear(n_in, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, n_out))

    actor = mlp(n_inputs, 2 * n_actions)
    critics = [mlp(n_inputs + n_actions, 1) for _ in range(2)]
    adam = lambda modules: torch.optim.Adam([p for m in modules for p in m.parameters()], lr=1e-3)  # noqa: E731
    agent = TorchSACAgent(
        actor, *critics, n_actions, adam([actor]), adam(critics), torch.optim.Adam([torch.zeros(1)], lr=1e-3), params
    )
    return agent, 200


def cell(task, start, mode, seed, path):
    import torch

    from tensor_optix import BatchPipeline

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    env_id, steps, starts = TASKS[task]
    env = gym.make(env_id)
    agent, window = (sac if task == "pendulum" else ppo)(env, starts[start], mode == "on")
    with tempfile.TemporaryDirectory() as folder:
        optimizer = RLOptimizer(
            agent, BatchPipeline(env, window_size=window), ReturnEvaluator(), seed=seed, checkpoint_dir=folder,
            optimizer=SPSAOptimizer() if mode == "on" else NoTuning(), max_steps=steps, evaluation_episodes=20,
            dormant_threshold=10**6, stuck_after=10**6,
        )  # fmt: skip
        optimizer.run()
        rows = (optimizer.run_dir / "metrics.jsonl").read_text().splitlines()
    scores = [row["score"] for row in map(json.loads, rows) if row.get("score") is not None]
    missing = max(0, round(steps / optimizer.result.env_steps * len(scores)) - len(scores))  # stopped at the ceiling
    result = {"final": optimizer.result.final.mean, "area": float(np.mean(scores + missing * [scores[-1]]))}
    path.write_text(json.dumps(result))


def table(out, tasks, seeds):
    print(f"{'task':12s} {'start':18s} {'n':>2s} {'final off':>10s} {'final on':>10s} {'difference [95 %]':>26s} "
          f"{'area, difference [95 %]':>26s}")  # fmt: skip
    for task in tasks:
        for start in TASKS[task][2]:
            pairs = [[read(out, task, start, mode, seed) for mode in ("off", "on")] for seed in range(seeds)]
            pairs = [pair for pair in pairs if all(pair)]
            if pairs:
                off, on = ([pair[side]["final"] for pair in pairs] for side in (0, 1))
                gains = " ".join(f"{interval([pair[1][key] - pair[0][key] for pair in pairs]):>26s}"
                                 for key in ("final", "area"))  # fmt: skip
                print(f"{task:12s} {start:18s} {len(pairs):2d} {np.mean(off):10.1f} {np.mean(on):10.1f} {gains}")


def interval(differences):
    low, high = bootstrap_interval(differences, np.random.default_rng(0))
    return f"{np.mean(differences):+8.1f} [{low:+.1f}, {high:+.1f}]"


def path_of(out, task, start, mode, seed):
    return out / f"{task}-{start.replace(' ', '_').replace('/', 'by')}-{mode}-{seed}.json"


def read(out, *cell_name):
    path = path_of(out, *cell_name)
    return json.loads(path.read_text()) if path.exists() else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", default="cartpole,lunarlander,pendulum")
    parser.add_argument("--budget-minutes", type=float, default=30.0)
    parser.add_argument("--one", nargs=4, metavar=("TASK", "START", "MODE", "SEED"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        task, start, mode, seed = arguments.one
        cell(task, start, mode, int(seed), path_of(arguments.out, task, start, mode, int(seed)))
        return
    tasks, until = arguments.cells.split(","), time.monotonic() + 60 * arguments.budget_minutes
    for seed in range(arguments.seeds):
        for task in tasks:
            for start in TASKS[task][2]:
                for mode in ("off", "on"):
                    if not path_of(arguments.out, task, start, mode, seed).exists() and time.monotonic() < until:
                        subprocess.run([sys.executable, __file__, str(arguments.out),
                                        "--one", task, start, mode, str(seed)], check=True)  # fmt: skip
    table(arguments.out, tasks, arguments.seeds)


if __name__ == "__main__":
    main()
