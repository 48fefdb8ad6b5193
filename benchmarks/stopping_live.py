"""Does a run end by itself, and what does it lose by that? PPO, stopped by the loop, against an unstopped twin.

    python benchmarks/stopping_live.py OUT [--envs CartPole-v1,Acrobot-v1,LunarLander-v3] [--seeds 3]
                                       [--budget-minutes 30] [--max-steps 2000000] [--no-twins]

Each cell (environment, seed) is a process that writes one JSON into OUT and does only what is not there yet. It
trains with ``train``'s defaults until the loop ends it; the twin has the same seed, no convergence rule and three
times the steps (at most ``--max-steps``). T95: the env steps after which the twin's smoothed training score (a mean
of 15) has gained 95 % of its whole gain.
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

from tensor_optix import ConvergenceRule, train
from tensor_optix.core.convergence import Judgement
from tensor_optix.core.types import LoopState, Verdict

SMOOTHING = 15


class Never(ConvergenceRule):
    """The twin's rule: goes on."""

    def judge(self, tick):
        return Judgement(LoopState.ACTIVE, Verdict.IMPROVING, False, False, 1, "goes on")

    def restart(self, *, is_new_agent):
        pass


def one(env_id, seed, steps, out, **settings):
    run = train(env_id, "ppo", seed=seed, out=out, max_steps=steps, verbose=False, **settings)
    rows = [json.loads(line) for line in (run.run_dir / "metrics.jsonl").read_text().splitlines()]
    return run, [(row["env_steps"], row["score"]) for row in rows if row["score"] is not None]


def steps_to_95(series):
    steps, scores = map(np.array, zip(*series, strict=True))
    width = min(SMOOTHING, len(scores))
    smooth = np.convolve(scores, np.ones(width) / width, mode="valid")
    start, top = smooth[0], smooth.max()
    return int(steps[width - 1 :][np.argmax(smooth >= start + 0.95 * (top - start))])


def cell(env_id, seed, max_steps, path, *, with_twin):
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        row = json.loads(path.read_text()) if path.exists() else stopped(env_id, seed, max_steps, scratch)
        path.write_text(json.dumps(row))
        if with_twin and "t95" not in row:
            path.write_text(json.dumps(row | twin(env_id, seed, min(max_steps, 3 * row["steps"]), scratch)))


def stopped(env_id, seed, max_steps, scratch):
    run, series = one(env_id, seed, max_steps, scratch)
    result = run.result
    return {
        "env": env_id, "seed": seed, "reason": result.reason.value, "why": result.explanation,
        "steps": result.env_steps, "seconds": result.seconds, "final": result.final.mean if result.final else None,
        "series": series,
    }  # fmt: skip


def twin(env_id, seed, max_steps, scratch):
    run, series = one(env_id, seed, max_steps, scratch, convergence=Never(), evaluation_episodes=100)
    final = run.result.final
    found = {"t95": steps_to_95(series), "twin_steps": run.result.env_steps}
    return {**found, "twin_final": final.mean if final else None}


def table(out):
    print(f"{'environment':<16}{'seed':>5}{'ended':>12}{'steps':>10}{'T95':>10}{'ratio':>7}{'final':>9}{'twin':>9}")
    for path in sorted(out.glob("*.json")):
        row = json.loads(path.read_text())
        line = f"{row['env']:<16}{row['seed']:>5}{row['reason']:>12}{row['steps']:>10,}"
        t95 = f"{row['t95']:>10,}{row['steps'] / row['t95']:>7.2f}" if "t95" in row else " " * 17
        print(line + t95 + f"{row['final']:>9.1f}" + (f"{row['twin_final']:>9.1f}" if "t95" in row else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--envs", default="CartPole-v1,Acrobot-v1,LunarLander-v3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget-minutes", type=float, default=30)
    parser.add_argument("--max-steps", type=int, default=2_000_000)
    parser.add_argument("--no-twins", action="store_true")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.cell:
        env_id, seed = options.cell
        path = options.out / f"{env_id}-{seed}.json"
        cell(env_id, int(seed), options.max_steps, path, with_twin=not options.no_twins)
        return
    end = time.monotonic() + 60 * options.budget_minutes
    for env_id in options.envs.split(","):
        for seed in range(options.seeds):
            left = end - time.monotonic()
            if left <= 0:
                continue
            call = [sys.executable, __file__, str(options.out), "--max-steps", str(options.max_steps),
                    *(["--no-twins"] if options.no_twins else []), "--cell", env_id, str(seed)]  # fmt: skip
            try:
                subprocess.run(call, check=True, timeout=left)
            except subprocess.TimeoutExpired:
                print(f"{env_id} seed {seed}: not finished within the budget")
    table(options.out)


if __name__ == "__main__":
    main()
