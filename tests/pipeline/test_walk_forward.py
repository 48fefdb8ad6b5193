"""walk_forward: nothing of the future, and nothing that was seen in training, reaches a validation fold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_feeds import record
from pipeline_agents import ConstantAgent

from tensor_optix import ConfigError, LivePipeline, walk_forward


def test_folds_expand_and_follow_each_other_in_time():
    folds = [(fold.train, fold.validation) for fold in walk_forward(12, n_folds=3)]
    assert folds == [(range(0, 3), range(3, 6)), (range(0, 6), range(6, 9)), (range(0, 9), range(9, 12))]


def test_a_rolling_window_keeps_its_size_and_an_embargo_its_distance():
    split = walk_forward(20, n_folds=3, train_size=6, val_size=4, embargo=2)
    folds = [(fold.train, fold.validation) for fold in split]
    assert folds == [(range(0, 6), range(8, 12)), (range(4, 10), range(12, 16)), (range(8, 14), range(16, 20))]


@given(
    st.integers(10, 300), st.integers(1, 6), st.integers(0, 10), st.integers(1, 12),
    st.one_of(st.none(), st.integers(2, 60)),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_nothing_that_validation_looks_at_was_seen_in_training(n, n_folds, embargo, lookback, size):
    try:
        folds = list(walk_forward(n, n_folds, train_size=size, embargo=embargo, lookback=lookback))
    except ConfigError:
        return
    assert len(folds) == n_folds
    validated = [row for fold in folds for row in fold.validation]
    assert validated == sorted(set(validated))  # no record is validated on twice
    assert validated[-1] == n - 1
    for fold in folds:
        seen = set(fold.train)
        looked_at = {row - back for row in fold.validation for back in range(lookback)}
        assert max(seen) < min(fold.validation)
        assert not seen & looked_at
        assert min(fold.validation) - max(seen) > embargo
        assert size is None or len(fold.train) == size


def test_the_pipelines_of_a_fold_share_no_record():
    data = [record(t) for t in range(40)]
    for fold in walk_forward(data, n_folds=3, lookback=4):
        train, validation = fold.pipelines(data)
        seen = []
        for pipeline in (train, validation):
            pipeline.set_agent(ConstantAgent())
            (window,) = pipeline.episodes()
            pipeline.teardown()
            seen.append({*window.observations[:, 0].tolist(), *window.next_observations[:, 0].tolist()})
        assert not seen[0] & seen[1]
        assert seen[0] == set(map(float, fold.train))
        assert seen[1] == set(map(float, fold.validation))


def test_statistics_of_training_windows_know_nothing_of_the_validation_records():
    """Prices that jump by a thousand where validation begins: a mean that had seen one of them would show it."""
    data = [record(t % 7 + (1000 if t >= 30 else 0)) for t in range(40)]
    (fold,) = walk_forward(data, n_folds=1, val_size=10)
    train, _ = fold.pipelines(data, agent=ConstantAgent(), episode_boundary_fn=LivePipeline.every_n_steps(5))
    windows = list(train.episodes())
    train.teardown()
    everything = np.concatenate([np.vstack([w.observations, w.next_observations]) for w in windows])
    assert everything.max() == 6
    assert max(max(w.rewards) for w in windows) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_folds": 0}, "n_folds must be at least 1"),
        ({"embargo": -1}, "embargo must be at least 0"),
        ({"lookback": 0}, "lookback must be at least 1"),
        ({"n_folds": 50}, "too few for 50 folds"),
        ({"train_size": 30}, "too few for 5 folds"),
        ({"val_size": 10}, "the first fold would have 0"),
    ],
)
def test_splits_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        walk_forward(30, **settings)
