import numpy as np
import pytest

from tensor_optix.core.state import join_state, misfit, split_state
from tensor_optix.errors import ConfigError
from tensor_optix.exploration.novelty import Novelty, distillation_gradient, embed, random_network


def novelty(seed=0, obs_dim=3):
    return Novelty(obs_dim, 8, learning_rate=1e-2, eps=1e-8, rng=np.random.default_rng(seed))


def test_the_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(0)
    predictor, x, target = random_network(3, 4, rng), rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    gradient = distillation_gradient(predictor, x, target)
    for name, array in predictor.items():
        place = tuple(rng.integers(size) for size in array.shape)
        losses = []
        for shift in (1e-6, -1e-6):
            moved = array.copy()
            moved[place] += shift
            losses.append(np.square(embed({**predictor, name: moved}, x) - target).mean())
        assert gradient[name][place] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4, abs=1e-9)


def test_what_was_seen_often_is_less_new_than_what_was_not():
    measured, rng = novelty(), np.random.default_rng(1)
    places = rng.normal(size=(20, 3))
    for _ in range(200):
        measured.measure(places)
        measured.learn(places)
    elsewhere = rng.normal(size=(20, 3))
    assert measured.measure(elsewhere).mean() > 20 * measured.measure(places).mean()


def test_novelty_is_about_1_at_first_and_does_not_blow_up_where_all_is_alike():
    for scale in (1e-3, 1.0, 1e3):
        found = novelty().measure(scale * np.random.default_rng(1).normal(size=(500, 3)))
        assert np.sqrt(np.square(found).mean()) == pytest.approx(1.0)
    assert np.abs(novelty().measure(np.full((50, 3), 7.0))).max() <= 1.0


def test_measuring_does_not_make_anything_familiar():
    measured, x = novelty(), np.random.default_rng(1).normal(size=(50, 3))
    np.testing.assert_allclose(measured.measure(x), measured.measure(x), rtol=1e-5)


def test_what_was_saved_and_loaded_goes_on_identically():
    ours, theirs, rng = novelty(0), novelty(1), np.random.default_rng(1)
    ours.measure(rng.normal(5.0, 2.0, size=(600, 3)))
    ours.learn(rng.normal(5.0, 2.0, size=(600, 3)))
    state = join_state(*split_state(ours.state_dict()))
    assert misfit(state, theirs.state_dict()) is None
    theirs.load_state_dict(state)
    for _ in range(3):
        x = rng.normal(size=(600, 3))
        np.testing.assert_array_equal(ours.measure(x), theirs.measure(x))
        ours.learn(x)
        theirs.learn(x)


def test_a_state_does_not_change_when_learning_goes_on():
    ours = novelty()
    state = ours.state_dict()
    before = {name: array.copy() for name, array in split_state(state)[1].items()}
    ours.measure(np.ones((5, 3)))
    ours.learn(np.random.default_rng(1).normal(size=(50, 3)))
    for name, array in split_state(state)[1].items():
        np.testing.assert_array_equal(array, before[name])


def test_networks_of_other_shapes_are_refused():
    with pytest.raises(ConfigError, match=r"stored W_1 has shape \(3, 64\), this network \(4, 64\)"):
        novelty(obs_dim=4).load_state_dict(novelty().state_dict())
