import numpy as np
import pytest

from tensor_optix.core.trajectory_buffer import compute_gae, make_minibatches, minibatch_rows
from tensor_optix.errors import ConfigError


def test_gae_matches_the_closed_form():
    rewards, values, gamma, lam = [1.0, 2.0, 3.0], [0.5, 0.25, 0.125], 0.9, 0.8
    deltas = [1 + 0.9 * 0.25 - 0.5, 2 + 0.9 * 0.125 - 0.25, 3 + 0.9 * 4.0 - 0.125]
    expected = [sum((gamma * lam) ** k * deltas[t + k] for k in range(3 - t)) for t in range(3)]
    advantages, returns = compute_gae(rewards, values, [False] * 3, gamma, lam, last_value=4.0)
    np.testing.assert_allclose(advantages, expected, rtol=1e-6)
    np.testing.assert_allclose(returns, np.add(expected, values), rtol=1e-6)
    assert advantages.dtype == returns.dtype == np.float32


def test_without_successors_dones_cut_bootstrap_and_recursion():
    advantages, _ = compute_gae([1.0, 1.0], [0.0, 7.0], [True, False], 0.9, 0.8, last_value=10.0)
    np.testing.assert_allclose(advantages, [1.0, 1 + 9 - 7], rtol=1e-6)


def test_truncation_bootstraps_from_the_final_observation_and_termination_does_not():
    common = {"next_values": [5.0, 3.0]}
    truncated, _ = compute_gae([1.0, 1.0], [0.0, 0.0], [True, True], 0.9, 0.8, terminated=[False, True], **common)
    np.testing.assert_allclose(truncated, [1 + 0.9 * 5, 1.0], rtol=1e-6)


def test_credit_does_not_cross_a_segment():
    rewards, values, dones = [1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4], [False] * 4
    successors = [0.2, 9.0, 0.4, 8.0]
    together, _ = compute_gae(
        rewards, values, dones, terminated=dones, next_values=successors, segments=[(0, 2), (2, 4)]
    )
    halves = (slice(0, 2), slice(2, 4))
    apart = [compute_gae(rewards[h], values[h], dones[h], last_value=successors[h][1])[0] for h in halves]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-6)
    each, _ = compute_gae(rewards, values, dones, last_value=[9.0, 8.0], segments=[(0, 2), (2, 4)])
    np.testing.assert_allclose(each, together, rtol=1e-6)


@pytest.mark.parametrize(("n_envs", "n_steps"), [(17, 5), (40, 1), (64, 30)])
def test_many_environments_give_the_very_numbers_that_each_gives_alone(n_envs, n_steps):
    rng, n_rows = np.random.default_rng(0), n_envs * n_steps
    rewards, values, successors = rng.normal(size=(3, n_rows))
    terminated, truncated = rng.random((2, n_rows)) < 0.1
    columns = {"terminated": terminated, "next_values": successors}
    segments = [(start, start + n_steps) for start in range(0, n_rows, n_steps)]
    together = compute_gae(rewards, values, terminated | truncated, segments=segments, **columns)
    for start, stop in segments:
        rows = slice(start, stop)
        part = {name: column[rows] for name, column in columns.items()}
        alone = compute_gae(rewards[rows], values[rows], (terminated | truncated)[rows], **part)
        np.testing.assert_array_equal(alone, [column[rows] for column in together])


def test_many_segments_of_unequal_length_are_kept_apart_too():
    segments = [(0, 19), *((start, start + 1) for start in range(19, 36))]
    ones = np.ones(36)
    advantages, _ = compute_gae(ones, 0 * ones, ones < 0, 1.0, 1.0, segments=segments)
    assert advantages.tolist() == [*range(19, 0, -1)] + [1] * 17


@pytest.mark.parametrize("n_rows", [0, 1])
def test_the_shortest_windows_are_defined(n_rows):
    advantages, returns = compute_gae([1.0] * n_rows, [0.5] * n_rows, [False] * n_rows, 0.9, last_value=2.0)
    np.testing.assert_allclose(advantages, [1 + 1.8 - 0.5] * n_rows, rtol=1e-6)
    assert returns.shape == (n_rows,)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ConfigError, match="values': 2"):
        compute_gae([1.0], [1.0, 2.0], [False])
    with pytest.raises(ConfigError, match="together"):
        compute_gae([1.0], [1.0], [False], terminated=[False])


def test_minibatches_hold_every_row_once_and_keep_columns_together():
    data = {"x": np.arange(10), "y": np.arange(10) * 2}
    batches = list(make_minibatches(data, 4, rng=np.random.default_rng(0)))
    assert [len(batch["x"]) for batch in batches] == [4, 4, 2]
    assert sorted(np.concatenate([batch["x"] for batch in batches])) == list(range(10))
    assert all((batch["y"] == 2 * batch["x"]).all() for batch in batches)
    assert next(make_minibatches(data, 4, shuffle=False))["x"].tolist() == [0, 1, 2, 3]


def test_minibatch_rows_have_one_shape_and_a_fresh_permutation_each_epoch():
    rows = minibatch_rows(10, 4, 3, np.random.default_rng(0))
    assert rows.shape == (3, 2, 4)
    assert rows.dtype == np.int64
    assert all(len(set(epoch.ravel())) == 8 for epoch in rows)
    assert not np.array_equal(np.sort(rows[0].ravel()), np.sort(rows[1].ravel())) or not np.array_equal(*rows[:2])


def test_every_row_has_the_same_chance_to_be_dropped():
    rows = minibatch_rows(10, 4, 4000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(rows.ravel(), minlength=10) / 4000, 0.8, atol=0.03)


def test_a_window_smaller_than_a_minibatch_is_one_minibatch():
    assert sorted(minibatch_rows(5, 64, 1, np.random.default_rng(0)).ravel()) == [0, 1, 2, 3, 4]


def test_a_successor_that_is_no_number_does_not_reach_past_a_termination():
    advantages, _ = compute_gae(
        [1.0, 1.0], [0.5, 0.5], [False, True], terminated=[False, True], next_values=[0.5, float("nan")]
    )
    assert np.isfinite(advantages).all()


@pytest.mark.parametrize("size", [0, -1])
def test_minibatches_of_no_rows_are_refused(size):
    with pytest.raises(ConfigError, match=f"minibatch_size must be at least 1, got {size}"):
        list(make_minibatches({"a": np.arange(4)}, size))
