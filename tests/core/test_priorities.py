import numpy as np
import pytest

from tensor_optix.core.priorities import Priorities, importance_weights
from tensor_optix.core.state import join_state, split_state
from tensor_optix.errors import ConfigError, NonFiniteError


def with_errors(td_errors, *, alpha=1.0, capacity=8):
    priorities = Priorities(capacity, alpha=alpha, eps=1e-6)
    rows = np.arange(len(td_errors))
    priorities.add(rows, len(rows))
    priorities.update(rows, np.array(td_errors))
    return priorities


def probabilities(priorities, n_rows):
    """P of every row, as the draws say."""
    rows, found = priorities.draw(50, 64, np.random.default_rng(0))
    table = np.zeros(n_rows)
    table[rows] = found
    return table


def test_weights_are_those_of_the_paper():
    weights = importance_weights(np.array([[0.1, 0.2, 0.7], [0.25, 0.25, 0.5]]), 4, 0.5)
    expected = [[1, (0.1 / 0.2) ** 0.5, (0.1 / 0.7) ** 0.5], [1, 1, 0.5**0.5]]
    np.testing.assert_allclose(weights, expected)


def test_weights_at_beta_1_turn_the_mean_over_draws_into_the_mean_over_rows():
    probability = np.array([0.1, 0.2, 0.7])
    values = np.array([3.0, 5.0, 8.0])
    weights = importance_weights(probability[None], 3, 1.0)[0]
    assert (probability * weights * values).sum() / (probability * weights).sum() == pytest.approx(values.mean())


def test_rows_are_drawn_in_proportion_to_the_power_of_their_priority():
    priorities = with_errors([1.0, -2.0, 4.0], alpha=0.5)
    powers = np.array([1.0, 2.0, 4.0]) ** 0.5
    np.testing.assert_allclose(probabilities(priorities, 3), powers / powers.sum(), rtol=1e-5)
    rows, _ = priorities.draw(2000, 8, np.random.default_rng(1))
    np.testing.assert_allclose(np.bincount(rows.ravel()) / rows.size, powers / powers.sum(), atol=0.01)


def test_each_batch_draws_once_from_each_equal_part_of_the_mass():
    rows, _ = with_errors([1.0] * 8).draw(20, 8, np.random.default_rng(0))
    assert np.sort(rows, axis=1).tolist() == [list(range(8))] * 20


def test_new_rows_get_the_largest_priority_so_far_even_after_it_went_down():
    priorities = with_errors([3.0, 1.0])
    priorities.update(np.array([0]), np.array([1.0]))
    priorities.add(np.array([2]), 3)
    np.testing.assert_allclose(probabilities(priorities, 3), [0.2, 0.2, 0.6], rtol=1e-5)


def test_the_last_error_counts_where_a_row_was_drawn_twice():
    priorities = with_errors([1.0, 1.0])
    priorities.update(np.array([0, 0]), np.array([9.0, 3.0]))
    np.testing.assert_allclose(probabilities(priorities, 2), [0.75, 0.25], rtol=1e-5)


def test_alpha_changes_at_run_time_without_losing_a_priority():
    priorities = with_errors([1.0, 3.0])
    probabilities(priorities, 2)
    for alpha, expected in [(2.0, [0.1, 0.9]), (0.5, [1 / (1 + 3**0.5), 3**0.5 / (1 + 3**0.5)]), (1.0, [0.25, 0.75])]:
        priorities.alpha = alpha
        np.testing.assert_allclose(probabilities(priorities, 2), expected, rtol=1e-5)


def test_uniform_priorities_cost_no_memory_until_alpha_is_raised():
    priorities = Priorities(1000, alpha=0.0, eps=1e-6)
    priorities.add(np.arange(3), 3)
    assert priorities.nbytes == 0
    priorities.alpha = 1.0
    np.testing.assert_allclose(probabilities(priorities, 3), [1 / 3] * 3)
    assert priorities.nbytes > 0


def test_priorities_that_were_saved_and_loaded_go_on_identically():
    ours, theirs = with_errors([1.0, 5.0, 0.5], alpha=0.6), Priorities(8, alpha=0.0, eps=1e-6)
    ours.update(np.array([1]), np.array([0.1]))
    theirs.load_state_dict(join_state(*split_state(ours.state_dict())), n_rows=3)
    for priorities in (ours, theirs):
        priorities.add(np.array([3, 4]), 5)
    draws = [priorities.draw(3, 16, np.random.default_rng(0)) for priorities in (ours, theirs)]
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("bad", [{"priority": np.ones(2)}, {"priority": np.array([1.0, np.nan, 1.0])},
                                 {"largest": 0.0}, {"alpha": -1.0}])  # fmt: skip
def test_stored_priorities_that_do_not_fit_are_refused_and_change_nothing(bad):
    priorities = with_errors([1.0, 5.0, 0.5])
    before = probabilities(priorities, 3)
    with pytest.raises(ConfigError):
        priorities.load_state_dict({**priorities.state_dict(), **bad}, n_rows=3)
    np.testing.assert_array_equal(probabilities(priorities, 3), before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_errors_that_are_not_finite_are_refused_and_change_nothing(bad):
    priorities = with_errors([1.0, 3.0])
    with pytest.raises(NonFiniteError, match="td_error"):
        priorities.update(np.array([0, 1]), np.array([5.0, bad]))
    np.testing.assert_allclose(probabilities(priorities, 2), [0.25, 0.75], rtol=1e-5)


def test_an_enormous_error_stays_finite():
    priorities = with_errors([1e300, 1.0])
    assert np.isfinite(probabilities(priorities, 2)).all()


@pytest.mark.parametrize("settings", [{"alpha": -0.1, "eps": 1e-6}, {"alpha": np.nan, "eps": 1e-6},
                                      {"alpha": 0.6, "eps": 0.0}])  # fmt: skip
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="must be a finite number"):
        Priorities(8, **settings)
