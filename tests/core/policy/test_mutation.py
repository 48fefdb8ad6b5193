"""Mutated hyperparameters: inside their bounds, of their type, by a log-normal factor."""

import math

import numpy as np
import pytest

from tensor_optix import LinearSchedule, Param, Space
from tensor_optix.core.policy.mutation import mutated

SPACE = Space(
    learning_rate=Param("log_float", 1e-4, 1e-2, tunable=True),
    gamma=Param("float", 0.95, 0.999, tunable=True),
    n_epochs=Param("int", 1, 20, tunable=True),
    activation=Param("categorical", choices=("tanh", "relu"), tunable=True),
    double=Param("bool", tunable=True),
    minibatch_size=Param("int", 32, 512),
)
ORIGIN = {"learning_rate": 1e-3, "gamma": 0.99, "n_epochs": 3, "activation": "tanh", "double": True,
          "minibatch_size": 64}  # fmt: skip


def many(params, space, noise=0.1, n=400):
    rng = np.random.default_rng(0)
    return [mutated(params, space, noise, rng) for _ in range(n)]


def test_the_factor_is_log_normal_with_a_deviation_of_ln_one_and_a_half():
    wide = Space(learning_rate=Param("log_float", 1e-9, 1e9, tunable=True))
    logs = np.log([params["learning_rate"] / 1e-3 for params in many({"learning_rate": 1e-3}, wide, n=2000)])
    assert np.std(logs) == pytest.approx(math.log(1.5), rel=0.05)
    assert np.mean(logs) == pytest.approx(0, abs=0.03)


def test_a_tenth_of_the_noise_is_a_tenth_of_the_step():
    wide = Space(learning_rate=Param("log_float", 1e-9, 1e9, tunable=True))
    logs = [np.log([p["learning_rate"] / 1e-3 for p in many({"learning_rate": 1e-3}, wide, s)]) for s in (0.1, 0.01)]
    assert logs[1] == pytest.approx(logs[0] / 10)


def test_values_stay_inside_their_bounds_and_of_their_type():
    for params in many(ORIGIN, SPACE):
        assert 1e-4 <= params["learning_rate"] <= 1e-2
        assert 0.95 <= params["gamma"] <= 0.999
        assert 1 <= params["n_epochs"] <= 20
        assert {name: type(value) for name, value in params.items()} == {k: type(v) for k, v in ORIGIN.items()}


def test_every_tunable_parameter_moves_and_no_other():
    seen = many(ORIGIN, SPACE)
    for name in SPACE:
        assert len({params[name] for params in seen}) > 1 or not SPACE[name].tunable
    assert {params["minibatch_size"] for params in seen} == {64}


def test_a_small_whole_number_is_not_stuck_where_it_is():
    assert {params["n_epochs"] for params in many({**ORIGIN, "n_epochs": 1}, SPACE)} >= {1, 2}


def test_gamma_moves_in_its_distance_from_one():
    gammas = np.array([params["gamma"] for params in many(ORIGIN, SPACE)])
    assert np.mean((gammas > 0.9501) & (gammas < 0.9989)) > 0.9  # a factor on gamma itself would end at a bound


def test_a_value_of_the_users_outside_the_bounds_widens_them():
    rates = [params["learning_rate"] for params in many({**ORIGIN, "learning_rate": 0.5}, SPACE)]
    assert max(rates) == 0.5
    assert min(rates) > 0.1


def test_undeclared_fractions_stay_fractions_and_counts_stay_counts():
    for params in many({"gamma": 0.99, "batch": 8, "name": "x", "flag": True, "none": None}, None):
        assert 0 < params["gamma"] < 1
        assert isinstance(params["batch"], int)
        assert params["batch"] >= 1
        assert (params["name"], params["flag"], params["none"]) == ("x", True, None)


def test_a_schedule_stays_what_it_is():
    schedule = LinearSchedule(1e-3, 0.0, 100)
    assert mutated({"learning_rate": schedule}, SPACE, 0.1, np.random.default_rng(0)) == {"learning_rate": schedule}
