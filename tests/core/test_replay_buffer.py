import numpy as np
import pytest

from tensor_optix.core.replay_buffer import PrioritizedReplayBuffer, ReplayBuffer
from tensor_optix.core.state import join_state, misfit, split_state
from tensor_optix.errors import ConfigError
from tests.core.replay_worlds import LabelledEnvs, TransitionList


def filled(capacity=64, *, alpha=0.0, n_windows=20, n_envs=3):
    envs, plain = LabelledEnvs(n_envs, np.random.default_rng(0)), TransitionList(capacity)
    buffer = ReplayBuffer(capacity, alpha=alpha)
    for _ in range(n_windows):
        data, rows = envs.window(5)
        buffer.add(data)
        plain.add(rows)
    return buffer, plain, envs


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_every_drawn_row_is_the_transition_that_was_added(alpha):
    buffer, plain, _ = filled(alpha=alpha)
    batch = buffer.sample(8, 32, rng=np.random.default_rng(0), n_step=3, gamma=0.9)
    expected = plain.targets(3, 0.9)
    for i, label in enumerate(batch["observation"].tolist()):
        reward, successor, discount, used = expected[tuple(label)]
        assert batch["action"][i] == sum(label)
        assert tuple(batch["next_observation"][i].tolist()) == successor
        assert batch["n_used"][i] == used
        assert batch["terminated"][i] == float(discount == 0.0)
        np.testing.assert_allclose(batch["reward"][i], reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch["discount"][i], discount, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_every_row_can_be_drawn(alpha):
    buffer, plain, _ = filled(alpha=alpha)
    batch = buffer.sample(40, 64, rng=np.random.default_rng(0))
    assert {tuple(label) for label in batch["observation"].tolist()} == plain.targets(1, 0.99).keys()


def test_uniform_draws_weigh_alike_and_prioritised_ones_make_up_for_their_odds():
    buffer, _, _ = filled(capacity=4, alpha=1.0)
    buffer.update_priorities(np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]))
    batch = buffer.sample(1, 100, rng=np.random.default_rng(0), beta=0.5)
    np.testing.assert_allclose(batch["weight"], (1.0 / (batch["index"] + 1)) ** 0.5, rtol=1e-5)
    buffer.alpha = 0.0
    assert (buffer.sample(1, 100, rng=np.random.default_rng(0))["weight"] == 1.0).all()


def test_rows_that_come_after_the_first_sample_get_the_largest_priority_all_of_them():
    buffer, _, envs = filled(capacity=1000, alpha=1.0, n_windows=1)
    buffer.update_priorities(np.arange(15), np.full(15, 1.0))
    buffer.update_priorities(np.arange(1), np.array([5.0]))
    buffer.add(envs.window(5)[0])
    index = buffer.sample(100, 64, rng=np.random.default_rng(0))["index"]
    expected = np.array([5.0] + [1.0] * 14 + [5.0] * 15)
    np.testing.assert_allclose(np.bincount(index) / len(index), expected / expected.sum(), atol=0.01)


def test_shapes_and_types_are_what_a_learner_takes():
    buffer, _, _ = filled()
    batch = buffer.sample(2, 8, rng=np.random.default_rng(0))
    assert {len(column) for column in batch.values()} == {16}
    assert all(batch[name].dtype == np.float32 for name in ("reward", "discount", "terminated", "weight"))


def test_n_and_gamma_may_differ_from_one_sample_to_the_next():
    buffer, plain, _ = filled()
    for n_step, gamma in [(1, 0.99), (5, 0.5), (2, 1.0)]:
        batch = buffer.sample(1, 64, rng=np.random.default_rng(0), n_step=n_step, gamma=gamma)
        expected = plain.targets(n_step, gamma)
        rewards = [expected[tuple(label)][0] for label in batch["observation"].tolist()]
        np.testing.assert_allclose(batch["reward"], rewards, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_a_replay_that_was_saved_and_loaded_goes_on_identically(alpha):
    ours, _, envs = filled(alpha=alpha)
    ours.update_priorities(np.arange(10), np.arange(10.0))
    theirs = ReplayBuffer(64)
    state = join_state(*split_state(ours.state_dict()))
    assert misfit(state, theirs.state_dict()) is None
    theirs.load_state_dict(state)
    rngs = [np.random.default_rng(1), np.random.default_rng(1)]
    for _ in range(5):
        window, _ = envs.window(5)
        batches = []
        for buffer, rng in zip((ours, theirs), rngs, strict=True):
            buffer.add(window)
            batches.append(buffer.sample(2, 16, rng=rng, n_step=3))
            buffer.update_priorities(batches[-1]["index"], batches[-1]["reward"])
        for name in batches[0]:
            np.testing.assert_array_equal(batches[0][name], batches[1][name])


def test_a_stored_replay_that_does_not_fit_changes_nothing():
    buffer, plain, _ = filled(alpha=0.6)
    state = buffer.state_dict()
    for name, spoiled in [("ring", {"head": 999}), ("priorities", {"largest": -1.0})]:
        with pytest.raises(ConfigError):
            buffer.load_state_dict({**state, name: {**state[name], **spoiled}})
    batch = buffer.sample(8, 64, rng=np.random.default_rng(0))
    assert {tuple(label) for label in batch["observation"].tolist()} <= plain.targets(1, 0.99).keys()


def test_a_state_does_not_change_with_the_buffer_it_was_taken_from():
    buffer, _, envs = filled(alpha=0.6)
    state = buffer.state_dict()
    before = {name: array.copy() for name, array in split_state(state)[1].items()}
    buffer.add(envs.window(5)[0])
    buffer.update_priorities(np.arange(10), np.full(10, 9.0))
    for name, array in split_state(state)[1].items():
        np.testing.assert_array_equal(array, before[name])


def test_a_million_cartpole_transitions_fit_in_45_megabytes():
    buffer = ReplayBuffer(1_000_000)
    observations = np.zeros((1000, 4), dtype=np.float32)
    terminated = np.arange(1000) % 20 == 19
    window = LabelledEnvs(1, np.random.default_rng(0)).window(1)[0]
    window.segments, window.truncated = None, [False] * 1000
    window.observations, window.actions = observations, np.zeros(1000, dtype=np.int64)
    window.rewards, window.terminated = [1.0] * 1000, terminated.tolist()
    window.final_observations = {int(row): observations[0] for row in np.flatnonzero(terminated)}
    for _ in range(1000):
        buffer.add(window)
    assert len(buffer) == 1_000_000
    assert buffer.nbytes < 45e6


def test_an_empty_replay_and_an_impossible_n_are_refused():
    with pytest.raises(ConfigError, match="no transitions yet"):
        ReplayBuffer(8).sample(1, 4, rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="n_step must be at least 1, got 0"):
        filled()[0].sample(1, 4, rng=np.random.default_rng(0), n_step=0)


# -- one transition at a time --------------------------------------------------------------------------------------


def pushed(rewards, *, done_at=None, buffer=None, first=0, **settings):
    buffer = buffer or PrioritizedReplayBuffer(100, rng=np.random.default_rng(0), **settings)
    for step, reward in enumerate(rewards):
        buffer.push([float(first + step)], 1, reward, [float(first + step + 1)], step == done_at)
    return buffer


def table(buffer):
    obs, _, rewards, next_obs, dones, _, _, n_steps = buffer.sample(400)
    rows = zip(obs[:, 0], rewards, next_obs[:, 0], dones, n_steps, strict=True)
    return {row[0]: tuple(float(x) for x in row[1:]) for row in rows}


def test_pushed_transitions_come_back_as_n_step_targets():
    buffer = pushed([1.0, 2.0, 4.0, 8.0], done_at=3, n_step=3, gamma=0.5)
    assert len(buffer) == 4
    assert table(buffer) == {0: (3, 3, 0, 3), 1: (6, 4, 1, 3), 2: (8, 4, 1, 2), 3: (8, 4, 1, 1)}


def test_a_flushed_episode_keeps_its_last_steps_exactly_and_goes_on_nowhere():
    buffer = pushed([1.0, 2.0], n_step=3, gamma=0.5)
    buffer.flush_episode()
    pushed([4.0], buffer=buffer, first=2)  # a reset that happens to observe what would have come next
    assert table(buffer) == {0: (2, 2, 0, 2), 1: (2, 2, 0, 1), 2: (4, 3, 0, 1)}


def test_a_reset_without_a_flush_is_noticed_by_its_observation():
    buffer = pushed([1.0, 2.0], n_step=3, gamma=0.5)
    pushed([4.0], buffer=buffer, first=10)
    assert table(buffer)[1] == (2, 2, 0, 1)


def test_settings_change_at_run_time_and_those_not_given_stay():
    buffer = pushed([1.0, 2.0, 4.0], n_step=1, gamma=0.5)
    buffer.set_params(n_step=2)
    assert table(buffer)[0] == (2, 2, 0, 2)
    buffer.set_params(gamma=1.0, alpha=1.0)
    assert table(buffer)[0] == (3, 2, 0, 2)
    buffer.update_priorities(np.arange(3), np.array([1.0, 1.0, 8.0]))
    indices = buffer.sample(1000)[6]
    np.testing.assert_allclose(np.bincount(indices) / 1000, [0.1, 0.1, 0.8], atol=0.01)


def test_a_pushed_replay_that_was_saved_and_loaded_draws_identically():
    ours, theirs = pushed([1.0, 2.0, 4.0], alpha=0.5, n_step=2), PrioritizedReplayBuffer(100)
    theirs.load_state_dict(join_state(*split_state(ours.state_dict())))
    for mine, other in zip(ours.sample(16), theirs.sample(16), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("params", [{"beta": 7.0}, {"n_step": 0}, {"n_step": 1.5}, {"gamma": 2.0}, {"gamma": np.nan}])
def test_settings_that_no_target_can_be_made_with_are_refused_before_they_count(params):
    (name,) = params
    with pytest.raises(ConfigError, match=f"{name} must"):
        PrioritizedReplayBuffer(4, **params)
    buffer = PrioritizedReplayBuffer(4)
    with pytest.raises(ConfigError, match=f"{name} must"):
        buffer.set_params(**params)
    assert (buffer.beta, buffer.n_step, buffer.gamma) == (0.4, 1, 0.99)


@pytest.mark.parametrize(("index", "errors"), [([2], [1.0]), ([-1], [1.0]), ([9], [1.0]), ([0], [1.0, 2.0])])
def test_priorities_of_rows_that_were_not_drawn_are_refused(index, errors):
    """A place that is still empty would be drawn from then on."""
    buffer = PrioritizedReplayBuffer(4, alpha=1.0)
    buffer.push([0.0], 0, 1.0, [1.0], False)
    with pytest.raises(ConfigError, match="one number for each drawn row, and rows lie in 0 to 0"):
        buffer.update_priorities(np.array(index), np.array(errors))
    assert set(buffer.sample(32)[6]) == {0}
