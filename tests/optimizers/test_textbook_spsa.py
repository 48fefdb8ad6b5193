"""The two-window form: its formulas, number by number."""

import numpy as np
import pytest

from tensor_optix.core.types import HyperparamSet, TuningEvidence
from tensor_optix.optimizers.spsa_optimizer import SPSAOptimizer
from tests.optimizers.toys import SPACE


def tick(tuner, params, score):
    previous = tuner.state_dict()["scores"][-1:]
    tuner.observe(TuningEvidence(params, score, float(previous[0]) if len(previous) else 0.0, 1, 1))
    return dict(tuner.suggest(HyperparamSet(dict(params)), []).params)


def textbook(**settings):
    tuner = SPSAOptimizer(textbook=True, **settings)
    tuner.expect(SPACE)
    tuner.seed(np.random.default_rng(0))
    return tuner


def test_plus_then_minus_then_one_step_along_the_estimate():
    """x = 0.5, c = 0.05, a = 0.1: f⁺ - f⁻ = 0.04 gives |ĝ| = 0.04 / 0.1 = 0.4 and a step of 0.04 in direction Δ."""
    tuner, start = textbook(), {"rate": 1e-3, "width": 0.5}
    plus = tick(tuner, start, 0.0)
    delta = np.sign(plus["width"] - 0.5)
    assert plus["width"] == pytest.approx(0.5 + 0.05 * delta)
    minus = tick(tuner, plus, 0.54)
    assert minus["width"] == pytest.approx(0.5 - 0.05 * delta)
    assert tuner.is_probing
    after = tick(tuner, minus, 0.50)
    assert after["width"] == pytest.approx(0.5 + 0.1 * 0.4 * delta)
    assert np.log10(after["rate"]) == pytest.approx(-3 + 4 * 0.04 * np.sign(plus["rate"] - 1e-3))
    assert not tuner.is_probing


def test_the_estimate_is_clipped_and_the_position_stays_inside():
    tuner, params = textbook(learning_rate=0.9), {"rate": 1e-3, "width": 0.5}
    params = tick(tuner, params, 0.0)
    params = tick(tuner, params, 1e6)
    params = tick(tuner, params, 0.0)
    assert params["width"] in (0.0, 1.0)


def test_the_perturbation_shrinks_on_improvement_and_doubles_on_a_plateau_within_bounds():
    tuner = textbook(min_perturbation=0.04)
    for _ in range(5):
        tuner.on_improvement(None)
    assert abs(tick(tuner, {"rate": 1e-3, "width": 0.5}, 0.0)["width"] - 0.5) == pytest.approx(0.04)
    for _ in range(9):
        tuner.on_plateau([])
    assert not tuner.state_dict()["design"]["delta"]  # what was running proves nothing any more
    assert tuner.state_dict()["design"]["c"] == 0.2
