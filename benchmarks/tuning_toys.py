"""What every tuner does on agents whose best hyperparameters are known.

    python benchmarks/tuning_toys.py [--seeds 40]

Level toy: the score responds at once. Skill toy: learning is fast near the optimum. Good start: at the optimum; far
start: 0.3 of the range away in both hyperparameters, where nothing is solved without tuning. Some seconds a tuner.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tensor_optix import BackoffOptimizer, MomentumOptimizer, NoTuning, PBTOptimizer, SPSAOptimizer
from tests.optimizers.toys import LevelToy, SkillToy, distance, params_at, train, unit

TUNERS = {
    "none": NoTuning,
    "SPSA (default)": SPSAOptimizer,
    "SPSA, all at once": lambda: SPSAOptimizer(blockwise=False),
    "SPSA, textbook": lambda: SPSAOptimizer(textbook=True),
    "Backoff": BackoffOptimizer,
    "Momentum": MomentumOptimizer,
    "PBT": PBTOptimizer,
}
GOOD, STARTS, FAR = (0.5, 0.5), [(0.2, 0.8), (0.85, 0.4)], (0.2, 0.8)
NOISES = (0.02, 0.06, 0.15)


def nearer(make, seeds):
    """Share of seeds that end nearer the optimum of the level toy."""
    starts = [params_at(STARTS[seed % 2]) for seed in range(seeds)]
    finals = [train(LevelToy(noise=0.02), make(), start, seed=seed).final for seed, start in enumerate(starts)]
    return np.mean([distance(final) < distance(start) for final, start in zip(finals, starts, strict=True)])


def loss_from_a_good_start(make, noise, seeds):
    """Area under the curve lost against no tuning."""
    def area(tuner, seed):
        return np.mean(train(SkillToy(noise=noise), tuner, params_at(GOOD), seed=seed).scores)

    return np.mean([1 - area(make(), seed) / area(NoTuning(), seed) for seed in range(seeds)])


def solved(make, noise, start, seeds):
    """Share of seeds whose skill reaches 0.95."""
    toys = [SkillToy(noise=noise) for _ in range(seeds)]
    for seed, toy in enumerate(toys):
        train(toy, make(), params_at(start), seed=seed)
    return np.mean([toy.skill >= 0.95 for toy in toys])


def displacement(make, seeds, **toy):
    """Root mean square way of the hyperparameters where nothing responds to them, in units of the range."""
    start = params_at(GOOD)
    finals = [train(SkillToy(responds=False, **toy), make(), start, seed=seed).final for seed in range(seeds)]
    return np.sqrt(np.mean([(unit(final) - GOOD) ** 2 for final in finals]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    print(f"{seeds} seeds, 300 ticks; noise {', '.join(f'{noise:.0%}' for noise in NOISES)} of the range\n")
    print("tuner              nearer  loss, good start      solved, good    solved, far     drift  noise")
    for name, make in TUNERS.items():
        loss = " ".join(f"{loss_from_a_good_start(make, noise, seeds):6.1%}" for noise in NOISES)
        good = " ".join(f"{solved(make, noise, GOOD, seeds):4.0%}" for noise in NOISES)
        far = " ".join(f"{solved(make, noise, FAR, seeds):4.0%}" for noise in NOISES)
        drift, noise = displacement(make, seeds, noise=0.06), displacement(make, seeds, noise=1.0, skill=1.0)
        print(f"{name:18s} {nearer(make, seeds):5.0%}   {loss}  {good}  {far}  {drift:5.3f}  {noise:5.3f}", flush=True)


if __name__ == "__main__":
    main()
