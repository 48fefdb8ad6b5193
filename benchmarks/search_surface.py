"""How good are the hyperparameters that a search picks? On a made-up response surface, where the best is known.

    python benchmarks/search_surface.py [--replicates 50] [--trials 20] [--steps 20] [--random]

Four hyperparameters; the level that a training reaches falls with the distance from an optimum that is drawn anew for
each replicate. Learning is faster at higher learning rates, also where the level is lower: curves cross. One training
in ten fails (its seed never takes off), whatever its hyperparameters. Every trial is a whole RLOptimizer run of the
TrialOrchestrator. The agent's defaults lie a quarter of each range away from the optimum. Reported is the true level
of the picked hyperparameters, as a share of the optimum's.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tests.search.surface import Surface, picked_level


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicates", type=int, default=50)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--random", action="store_true", help="for comparison: no TPE and no pruning")
    arguments = parser.parse_args()
    shares, defaults, began = [], [], time.monotonic()
    for number in range(arguments.replicates):
        surface = Surface.drawn(number)
        with tempfile.TemporaryDirectory(dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None) as folder:
            shares.append(picked_level(surface, folder, number, arguments.trials, is_random=arguments.random))
        defaults.append(surface.level(surface.defaults))
        print(f"{number:3d}  {shares[-1]:.3f}   mean {np.mean(shares):.3f}  defaults {np.mean(defaults):.3f}"
              f"   {time.monotonic() - began:6.0f} s", flush=True)  # fmt: skip
    rng = np.random.default_rng(0)
    means = [np.mean(rng.choice(shares, len(shares))) for _ in range(2000)]
    print(f"{arguments.trials} trainings, {len(shares)} replicates: pick / optimum {np.mean(shares):.3f} "
          f"[{np.quantile(means, 0.025):.3f}, {np.quantile(means, 0.975):.3f}]; the defaults alone "
          f"{np.mean(defaults):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
