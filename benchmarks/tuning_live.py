"""Default tuning on against off, paired by seed, from good and from bad starts.

    python benchmarks/tuning_live.py OUT [--seeds 3] [--cells cartpole,lunarlander,dqn,pendulum] [--starts default,...]
                                         [--budget-minutes 30]

Each cell (task, start, on or off, seed) is a process that writes one JSON into OUT and is skipped when that is there.
"On" is with controllers where the algorithm has them, and SPSAOptimizer: what ``train`` does with PPO when nothing is
said (with DQN and SAC it tunes nothing, for what this shows). "Off" is the same run with ``target_kl=0`` and
``NoTuning``. A run that ends at the ceiling keeps its last score for the rest of
the budget. The table shows what is there, with 95 % bootstrap intervals of the paired differences.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from tensor_optix import NoTuning, SPSAOptimizer, quick
from tensor_optix.core.statistics import bootstrap_interval

PPO_STARTS = {
    "default": {}, "learning rate x10": {"learning_rate": 3e-3}, "learning rate /10": {"learning_rate": 3e-5},
    "clip 0.02": {"clip_ratio": 0.02}, "entropy 0.3": {"entropy_coef": 0.3},
}  # fmt: skip
TASKS = {
    "cartpole": ("CartPole-v1", "ppo", "torch", 60_000, PPO_STARTS),
    "lunarlander": ("LunarLander-v3", "ppo", "torch", 300_000, PPO_STARTS),
    "dqn": ("CartPole-v1", "dqn", "jax", 50_000, {"default": {}}),
    "pendulum": ("Pendulum-v1", "sac", "torch", 10_000, {
        "default": {}, "learning rate x10": {"learning_rate": 3e-3}, "learning rate /10": {"learning_rate": 3e-5},
    }),
}  # fmt: skip


def cell(task, start, mode, seed, path):
    env_id, algorithm, backend, steps, starts = TASKS[task]
    off = {"target_kl": 0.0} if algorithm == "ppo" and mode == "off" else {}
    with tempfile.TemporaryDirectory() as folder:
        plan = quick.plan(
            env_id, algorithm, backend, seed=seed, out=folder, max_steps=steps, evaluation_episodes=20,
            dormant_threshold=10**6, stuck_after=10**6, **starts[start], **off,
        )  # fmt: skip
        tuner = SPSAOptimizer() if mode == "on" else NoTuning()
        began = time.process_time()
        optimizer = plan.over(*plan.parts(), optimizer=tuner)
        optimizer.run()
        rows = (optimizer.run_dir / "metrics.jsonl").read_text().splitlines()
    scores = [row["score"] for row in map(json.loads, rows) if row.get("score") is not None]
    missing = max(0, round(steps / optimizer.result.env_steps * len(scores)) - len(scores))  # stopped at the ceiling
    result = {
        "final": optimizer.result.final.mean, "area": float(np.mean(scores + missing * [scores[-1]])),
        "reason": str(optimizer.result.reason), "env_steps": optimizer.result.env_steps, "scores": scores,
        "cpu_seconds": round(time.process_time() - began, 1),
    }  # fmt: skip
    path.write_text(json.dumps(result))


def table(out, tasks, seeds):
    print(f"{'task':12s} {'start':18s} {'n':>2s} {'final off':>10s} {'final on':>10s} {'difference [95 %]':>26s} "
          f"{'area, difference [95 %]':>26s}")  # fmt: skip
    for task in tasks:
        for start in TASKS[task][-1]:
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
    parser.add_argument("--cells", default="cartpole,lunarlander,dqn,pendulum")
    parser.add_argument("--starts", default="", help="default: all of the task")
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
            for start in arguments.starts.split(",") if arguments.starts else TASKS[task][-1]:
                for mode in ("off", "on"):
                    if not path_of(arguments.out, task, start, mode, seed).exists() and time.monotonic() < until:
                        subprocess.run([sys.executable, __file__, str(arguments.out),
                                        "--one", task, start, mode, str(seed)], check=True)  # fmt: skip
    table(arguments.out, tasks, arguments.seeds)


if __name__ == "__main__":
    main()
