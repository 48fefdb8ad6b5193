"""The evidence rule on synthetic curves whose end is known; ``benchmarks/stopping_synthetic.py`` has the table."""

import math

import numpy as np
import pytest

from tensor_optix.core.evidence import EvidenceRule
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.replay import first_end
from tensor_optix.core.types import Verdict
from tensor_optix.testing.learning_curves import FAMILIES, NOISES, learning_curve, noise

EACH = 4  # curves per family and kind of noise


def outcomes(sd):
    """(was the stop false, stop / T95) of every curve at one noise level."""
    found = []
    for index, family in enumerate(FAMILIES):
        for seed in range(EACH * len(NOISES)):
            rng = np.random.default_rng([index, seed, round(1000 * sd)])
            curve = learning_curve(family, rng, slow=80.0)
            scores = curve.level + sd * noise(NOISES[seed % len(NOISES)], rng, len(curve.level))
            tick = first_end(EvidenceRule(LoopConfig()), scores.tolist()).tick
            is_false = tick is not None and curve.level[tick - 1] < 0.95
            found.append((is_false, math.inf if tick is None else tick / curve.t95))
    return found


@pytest.mark.parametrize(("sd", "longest"), [(0.03, 2.1), (0.1, 2.9), (0.2, 4.0)])
def test_false_stops_are_rare_and_stops_are_in_time(sd, longest):
    found = outcomes(sd)
    assert np.mean([is_false for is_false, _ in found]) <= 0.05
    assert np.median([ratio for _, ratio in found]) <= longest


@pytest.mark.parametrize("kind", NOISES)
def test_pure_noise_is_never_called_converged(kind):
    for seed in range(40):
        scores = noise(kind, np.random.default_rng([seed, 7]), 300).tolist()
        assert first_end(EvidenceRule(LoopConfig()), scores).last.verdict is Verdict.STUCK


def test_looking_twice_as_often_stops_at_about_the_same_env_step():
    """Every policy gives one noisy score; with twice the windows, each twice as noisy a look at the same curve."""
    ratios = []
    for seed in range(36):
        rng = np.random.default_rng([seed, 11])
        curve = learning_curve(list(FAMILIES)[seed % len(FAMILIES)], rng, n=1200, fast=50.0, slow=120.0)
        errors = rng.normal(size=1200)
        once = curve.level[1::2] + 0.05 * (errors[::2] + errors[1::2]) / 2
        twice = curve.level + 0.05 * errors
        coarse = first_end(EvidenceRule(LoopConfig()), once.tolist()).tick
        fine = first_end(EvidenceRule(LoopConfig()), twice.tolist()).tick
        ratios.append(fine / (2 * coarse))
    assert 0.9 <= np.median(ratios) <= 1.1
