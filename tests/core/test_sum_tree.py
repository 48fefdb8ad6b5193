import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.sum_tree import SumTree
from tensor_optix.errors import ConfigError

masses = st.lists(st.integers(0, 5), min_size=1, max_size=70).filter(any)


def filled(values):
    tree = SumTree(len(values))
    tree.set(np.arange(len(values)), np.array(values, dtype=float))
    return tree


@given(masses)
def test_every_height_is_in_the_row_that_a_plain_walk_finds(values):
    tree = filled(values)
    heights = np.arange(sum(values)) + 0.5
    expected = [row for row, mass in enumerate(values) for _ in range(mass)]
    assert tree.total == sum(values)
    assert tree.find(heights).tolist() == expected
    assert tree.find(np.floor(heights)).tolist() == expected


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 5000])
def test_changes_are_seen_by_every_level(size):
    rng = np.random.default_rng(size)
    plain, tree = np.zeros(size), SumTree(size)
    for n_rows in (1, 2, 7, size):
        rows = rng.integers(size, size=n_rows)
        values = rng.integers(1, 100, size=n_rows).astype(float)
        plain[rows] = values
        tree.set(rows, values)
        assert tree.total == plain.sum()
        heights = np.concatenate([rng.random(50) * tree.total, plain.cumsum(), [0.0]])  # the borders, too
        heights = heights[heights < tree.total]
        assert tree.find(heights).tolist() == np.searchsorted(plain.cumsum(), heights, side="right").tolist()
        np.testing.assert_array_equal(tree.mass(np.arange(size)), plain)


@given(masses, st.integers(0, 2**32 - 1))
def test_a_tree_built_anew_from_its_leaves_is_equal_bit_for_bit(values, seed):
    rng = np.random.default_rng(seed)
    tree = SumTree(len(values))
    for _ in range(5):
        tree.set(rng.integers(len(values), size=3), rng.random(3))
    again = SumTree(len(values))
    again.rebuild(tree.mass(np.arange(len(values))))
    np.testing.assert_array_equal(again._nodes, tree._nodes)


def test_rounding_is_the_same_on_every_level_when_a_large_tree_is_built_anew():
    rng, tree, again = np.random.default_rng(0), SumTree(20_000), SumTree(20_000)
    for n_rows in (1, 64, 3000):
        tree.set(rng.integers(20_000, size=n_rows), rng.random(n_rows))
    again.rebuild(tree.mass(np.arange(20_000)))
    np.testing.assert_array_equal(again._nodes, tree._nodes)


@given(st.lists(st.sampled_from([0.0, 1e-12, 0.1, 0.3, 1e9]), min_size=1, max_size=40).filter(any))
def test_rows_without_mass_are_never_found_however_sums_are_rounded(values):
    tree = filled(values)
    heights = np.concatenate([np.cumsum(values), np.linspace(0, 1, 50) * tree.total])
    assert (tree.mass(tree.find(heights)) > 0).all()


def test_draws_are_in_proportion_to_the_masses():
    tree = filled([1.0, 0.0, 3.0, 6.0])
    rows = tree.find(np.random.default_rng(0).random(100_000) * tree.total)
    np.testing.assert_allclose(np.bincount(rows) / 100_000, [0.1, 0.0, 0.3, 0.6], atol=0.01)


def test_a_tree_of_no_rows_is_refused():
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        SumTree(0)
