"""Does every algorithm learn the tasks that others publish scores for, on every backend?

    python -m tests.long.learning results                     every cell that the directory has no file of
    python -m tests.long.learning results --only CartPole-v1 ppo torch
    python -m tests.long.learning results --table

Run it from the root of the project. A cell is an environment, an algorithm, a backend and a seed. It is trained in a
process of its own, which is ended after the cell's time limit and writes one JSON file; a cell whose file is there is
skipped, so that the whole may be broken off and started again at any time. One cell takes from half a minute (PPO,
CartPole) to some twenty minutes (SAC, LunarLander), on one core.

A run is what ``train`` would make of the task, with the settings below (the generic agent, which ``train`` does not
know, is made by hand). Its score is the mean of fresh deterministic episodes of the best policy. It passes at
``PASS_SHARE`` of the way from uniformly random actions to the published score (RL Baselines3 Zoo, benchmark.md at
22e3ff2).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import mean, median
from typing import Any

import gymnasium as gym
import numpy as np

PASS_SHARE = 0.9
RANDOM_EPISODES = 100
SEEDS = {"torch": 5, "jax": 3, "tf": 3}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "TF_CPP_MIN_LOG_LEVEL": "2",
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """How one algorithm is trained on one task. published: the score to come near; settings: those of ``train``.

    only_on: the one backend that it is run on, once (the fastest for it); None: on all of them, with several seeds.
    """

    env_id: str
    algorithm: str
    published: float
    steps: int
    minutes: int
    episodes: int = 100
    only_on: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


_LUNAR_PPO = {
    "n_envs": 16, "window_size": 1024, "gamma": 0.999, "gae_lambda": 0.98, "n_epochs": 4, "entropy_coef": 0.01,
    "learning_rate": 1e-3, "minibatch_size": 256,
}  # fmt: skip
SETTINGS = (
    Setting("CartPole-v1", "ppo", 500.0, 100_000, 10),
    Setting("CartPole-v1", "dqn", 500.0, 50_000, 20),
    Setting("Pendulum-v1", "sac", -157.0, 20_000, 40, settings={"learning_rate": 1e-3, "learning_starts": 100}),
    Setting("Pendulum-v1", "ppo", -172.2, 300_000, 40, settings={
        "n_envs": 4, "window_size": 1024, "gamma": 0.9, "learning_rate": 1e-3,
    }),
    Setting("LunarLander-v3", "ppo", 242.1, 1_000_000, 60, only_on="torch", settings=_LUNAR_PPO),
    Setting("LunarLander-v3", "dqn", 154.4, 100_000, 60, only_on="torch", settings={"hidden": (256, 256)}),
    Setting("LunarLanderContinuous-v3", "ppo", 270.9, 1_000_000, 60, only_on="torch", settings=_LUNAR_PPO),
    # half of the published 500,000 steps, and networks of a tenth of the published 400-300: minutes, not hours
    Setting("LunarLanderContinuous-v3", "sac", 260.4, 250_000, 40, only_on="jax", settings={
        "learning_rate": 7.3e-4, "learning_starts": 5_000, "tau": 0.01, "hidden": (128, 128), "batch_size": 128,
    }),
    Setting("CartPole-v1", "a2c", 500.0, 500_000, 20),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One run to be made."""

    setting: Setting
    backend: str
    seed: int

    @property
    def key(self) -> str:
        return "_".join((self.setting.env_id, self.setting.algorithm, self.backend, str(self.seed)))


@dataclass(frozen=True)
class Result:
    """share: of the way from random to published. steps: until the run ended, for ``reason``."""

    env_id: str
    algorithm: str
    backend: str
    seed: int
    score: float
    deviation: float
    random: float
    published: float
    share: float
    passes: bool
    steps: int
    reason: str
    training_score: float | None
    cpu_seconds: float
    settings: dict[str, Any]


def main() -> None:
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    if options.cell is not None:
        cell = next(cell for cell in cells() if cell.key == options.cell)
        _write(options.results / f"{cell.key}.json", asdict(trained(cell)))
        return
    if not options.table:
        for cell in chosen(cells(options.seeds), options.only):
            _run_apart(cell, options.results)
    print(table(stored(options.results)))


def cells(n_seeds: int | None = None) -> list[Cell]:
    """All of them; ``n_seeds`` on every backend, or as many as SEEDS says."""
    return [
        Cell(setting, backend, seed)
        for setting in SETTINGS
        for backend in ((setting.only_on,) if setting.only_on else SEEDS)
        for seed in range(1 if setting.only_on else n_seeds or SEEDS[backend])
    ]


def chosen(among: Iterable[Cell], words: Sequence[str]) -> list[Cell]:
    """Those that have all of ``words`` as environment, algorithm, backend or seed."""
    return [cell for cell in among if set(words) <= set(cell.key.split("_"))]


# -- one cell --------------------------------------------------------------------------------------------------------


def trained(cell: Cell) -> Result:
    """Train the cell and score its best policy."""
    setting, start = cell.setting, time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        loop = {"seed": cell.seed, "max_steps": setting.steps, "evaluation_episodes": setting.episodes}
        optimizer, used = (_generic if setting.algorithm == "a2c" else _planned)(cell, scratch, loop)
        optimizer.run()
    outcome = optimizer.result
    assert outcome is not None
    assert outcome.reason.name not in ("TERMINATED", "INTERRUPTED"), "somebody ended the run"
    assert outcome.final is not None, "the run has no score on fresh episodes"
    random, score = random_score(setting.env_id), outcome.final.mean
    share = (score - random) / (setting.published - random)
    return Result(
        setting.env_id, setting.algorithm, cell.backend, cell.seed, score, float(np.std(outcome.final.returns)),
        random, setting.published, share, share >= PASS_SHARE, outcome.env_steps, outcome.reason.name,
        outcome.score, time.process_time() - start, used,
    )  # fmt: skip


def _planned(cell: Cell, scratch: str, loop: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The run that ``train`` would make, and what it is made of."""
    from tensor_optix.quick.plan import plan  # the table is read without any framework

    setting = cell.setting
    made = plan(setting.env_id, setting.algorithm, cell.backend, out=scratch, **loop, **setting.settings)
    return made.build(), dict(made.recipe.build.details | made.recipe.hyperparams)


def _generic(cell: Cell, scratch: str, loop: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """REINFORCE over one network of 64 tanh units, a gradient step every 1,000 env steps."""
    from tensor_optix import RLOptimizer, VectorBatchPipeline
    from tests.agents_of_backends import small_agent

    used = {"window_size": 125, "n_envs": 8, "learning_rate": 1e-2, "gamma": 0.99, "hidden": (64,)}
    agent = small_agent(cell.backend, "a2c", {"gamma": 0.99}, seed=cell.seed, n_actions=2, rate=1e-2, hidden=(64,))
    pipeline = VectorBatchPipeline(env_id=cell.setting.env_id, n_envs=8, window_size=125)
    return RLOptimizer(agent, pipeline, checkpoint_dir=scratch, **loop), used


def random_score(env_id: str) -> float:
    """The mean return of uniformly random actions."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    returns = []
    for seed in range(RANDOM_EPISODES):
        env.reset(seed=seed)
        total, ends = 0.0, False
        while not ends:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total, ends = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return mean(returns)


def _run_apart(cell: Cell, results: Path) -> None:
    """Train the cell in a process of its own, unless there is a result; what fails is told, and tried again later."""
    if (results / f"{cell.key}.json").exists():
        return
    command = [sys.executable, "-m", "tests.long.learning", str(results), "--cell", cell.key]
    try:
        subprocess.run(command, env={**os.environ, **ONE_THREAD}, timeout=60 * cell.setting.minutes, check=True)
        print(f"{cell.key}: {_line([_read(results / f'{cell.key}.json')])}", flush=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(f"{cell.key}: {error}", flush=True)


# -- results ---------------------------------------------------------------------------------------------------------


def table(results: Iterable[Result]) -> str:
    """A line for each environment, algorithm and backend."""
    groups = groupby(results, lambda result: (result.env_id, result.algorithm, result.backend))
    lines = [f"{' '.join(key):34s} {_line(list(group))}" for key, group in groups]
    return "\n".join(lines) or "no results yet"


def _line(group: list[Result]) -> str:
    n_passed = sum(result.passes for result in group)
    shares = " ".join(f"{result.share:.2f}" for result in group)
    return (
        f"seeds {len(group)}  score {mean(r.score for r in group):8.1f}  (random {group[0].random:.1f}, published "
        f"{group[0].published:.1f})  share {shares}  steps {median(r.steps for r in group):,.0f}  "
        f"CPU {median(r.cpu_seconds for r in group):.0f} s  passed {n_passed}/{len(group)}"
    )


def stored(results: Path) -> list[Result]:
    """All results of the directory, in the order of the cells."""
    paths = [results / f"{cell.key}.json" for cell in cells(max(SEEDS.values()))]
    return [_read(path) for path in paths if path.exists()]


def _read(path: Path) -> Result:
    return Result(**json.loads(path.read_text()))


def _write(path: Path, content: dict[str, Any]) -> None:
    """All of the file or none of it."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="directory of the JSON files")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="environment, algorithm, backend, seed")
    parser.add_argument("--seeds", type=int, help="on every backend (default: 5 on torch, 3 on jax and tf)")
    parser.add_argument("--table", action="store_true", help="print the table, train nothing")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
