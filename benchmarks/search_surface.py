"""How good are the hyperparameters that a search picks? On a made-up response surface, where the best is known.

    python benchmarks/search_surface.py OUT [--replicates 50] [--trainings 20] [--random] [--budget-minutes 30]

Each replicate writes one JSON into OUT and is skipped when that is there; some five seconds of CPU time each.
Four hyperparameters; the level that a training reaches falls with the distance from an optimum that is drawn anew for
each replicate. Learning is faster at higher learning rates, also where the level is lower: curves cross. One training
in ten fails (its seed never takes off), whatever its hyperparameters. Every trial is a whole RLOptimizer run of the
TrialOrchestrator; what pruning saves of the steps of so many trainings is spent on more trials. The agent's defaults
lie a quarter of each range away from the optimum. Reported is the true level of the picked hyperparameters, as a share
of the optimum's.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tests.search.surface import Surface, picked_level


def replicate(number, trainings, is_random, path):
    surface = Surface.drawn(number)
    memory = pathlib.Path("/dev/shm")  # the study is SQLite: on a file system in memory, where there is one
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        share, n_trials = picked_level(surface, folder, number, trainings, is_random=is_random)
    path.write_text(json.dumps({"share": share, "trials": n_trials, "defaults": surface.level(surface.defaults)}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--replicates", type=int, default=50)
    parser.add_argument("--trainings", type=int, default=20)
    parser.add_argument("--random", action="store_true", help="for comparison: no TPE and no pruning")
    parser.add_argument("--budget-minutes", type=float, default=30.0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kind, until = "random" if arguments.random else "tpe", time.monotonic() + 60 * arguments.budget_minutes
    paths = [arguments.out / f"{kind}-{arguments.trainings}-{number}.json" for number in range(arguments.replicates)]
    for number, path in enumerate(paths):
        if not path.exists() and time.monotonic() < until:
            replicate(number, arguments.trainings, arguments.random, path)
    rows = [json.loads(path.read_text()) for path in paths if path.exists()]
    shares = [row["share"] for row in rows]
    rng = np.random.default_rng(0)
    means = [np.mean(rng.choice(shares, len(shares))) for _ in range(2000)]
    low, high = np.quantile(means, 0.025), np.quantile(means, 0.975)
    n_trials, defaults = (np.mean([row[name] for row in rows]) for name in ("trials", "defaults"))
    print(f"{kind}, {arguments.trainings} trainings ({n_trials:.1f} trials), {len(shares)} replicates: "
          f"pick / optimum {np.mean(shares):.3f} [{low:.3f}, {high:.3f}]; the defaults alone {defaults:.3f}")


if __name__ == "__main__":
    main()
