import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer, RunningMeanStd
from tensor_optix.core.state import join_state, misfit, split_state
from tensor_optix.errors import ConfigError, NonFiniteError
from tests.core.replay_worlds import LabelledEnvs


@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    offset=st.sampled_from([0.0, -3.0, 1e6]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_moments_do_not_depend_on_how_rows_are_split_into_batches(seed, cuts, offset, scale):
    rows = offset + scale * np.random.default_rng(seed).normal(size=(60, 3))
    statistics = RunningMeanStd(3)
    for batch in np.split(rows, sorted(cuts)):
        statistics.update(batch)
    np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), rtol=1e-12, atol=1e-9 * scale)
    np.testing.assert_allclose(statistics.var, rows.var(axis=0), rtol=1e-6)
    assert statistics.count == 60


def test_normalized_rows_have_mean_0_deviation_1_and_are_clipped():
    rows = np.random.default_rng(0).normal(5.0, 3.0, size=(1000, 2))
    normalizer = ObsNormalizer((2,), clip=2.0)
    normalizer.update(rows)
    normalized = normalizer.normalize(rows)
    assert normalized.dtype == np.float32
    assert np.abs(normalized).max() == 2.0
    wide = ObsNormalizer((2,), clip=1e9)
    wide.update(rows)
    np.testing.assert_allclose(wide.normalize(rows).mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(wide.normalize(rows).std(axis=0), 1.0, rtol=1e-6)


def test_before_any_data_nothing_is_scaled():
    np.testing.assert_allclose(ObsNormalizer((2,)).normalize([3.0, -4.0]), [3.0, -4.0], rtol=1e-6)
    np.testing.assert_allclose(RewardNormalizer().normalize([3.0, -4.0]), [3.0, -4.0], rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e7 / 3])
def test_a_constant_column_becomes_0_and_a_later_change_is_not_blown_up(constant):
    normalizer = ObsNormalizer((1,))
    for _ in range(7):
        normalizer.update(np.full((13, 1), constant))
    np.testing.assert_allclose(normalizer.normalize([constant]), [0.0], atol=1e-6)
    np.testing.assert_allclose(normalizer.normalize([constant + 0.5]), [0.5], rtol=1e-6)


def test_one_observation_is_a_batch_of_one_and_no_rows_change_nothing():
    one, batch = ObsNormalizer((3,)), ObsNormalizer(3)
    one.update([1.0, 2.0, 3.0])
    batch.update([[1.0, 2.0, 3.0]])
    batch.update(np.zeros((0, 3)))
    assert one.mean.tolist() == batch.mean.tolist() == [1, 2, 3]


def test_images_keep_their_shape():
    normalizer = ObsNormalizer((2, 2))
    normalizer.update(np.full((5, 2, 2), 255, dtype=np.uint8))
    assert normalizer.mean.tolist() == [[255, 255], [255, 255]]
    assert normalizer.normalize(np.zeros((7, 2, 2), dtype=np.uint8)).shape == (7, 2, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_and_change_nothing(bad):
    normalizer = ObsNormalizer((2,))
    normalizer.update([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(NonFiniteError, match="finite"):
        normalizer.update([[1.0, bad]])
    assert normalizer.mean.tolist() == [2, 3]
    rewards = RewardNormalizer()
    with pytest.raises(NonFiniteError):
        rewards.step(bad)
    rewards.step(1.0)
    assert rewards.state_dict()["returns"] == [1.0]


def test_rows_of_another_shape_are_refused_by_shape():
    with pytest.raises(ConfigError, match=r"rows of shape \(3,\), got an array of shape \(5, 2\)"):
        ObsNormalizer(3).update(np.zeros((5, 2)))
    for odd in (np.zeros((5, 2)), np.zeros((5, 1)), np.zeros(())):  # NumPy would repeat two of them without a word
        with pytest.raises(ConfigError, match=r"rows of shape \(3,\)"):
            ObsNormalizer(3).normalize(odd)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RewardNormalizer(gamma=-0.5), r"gamma must lie in \[0, 1\], got -0.5"),
        (lambda: RewardNormalizer(gamma=np.nan), "gamma must lie in"),
        (lambda: RewardNormalizer(epsilon=-1.0), "epsilon must lie in"),
        (lambda: RewardNormalizer(clip=-10.0), "clip must be above 0, got -10.0"),
        (lambda: ObsNormalizer(3, clip=np.nan), "clip must be above 0"),
        (lambda: RunningMeanStd(epsilon=-1.0), "epsilon must lie in"),
    ],
)
def test_settings_that_would_scale_to_nonsense_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# -- rewards -------------------------------------------------------------------------------------------------------


def test_rewards_are_divided_by_the_deviation_of_the_running_return_and_keep_their_mean():
    normalizer = RewardNormalizer(gamma=0.5)
    for reward in (1.0, 2.0, 4.0):
        normalizer.step(reward)
    deviation = np.std([1.0, 2.5, 5.25])
    np.testing.assert_allclose(normalizer.normalize([1.0, -1.0, 0.0]), np.array([1, -1, 0]) / deviation, rtol=1e-6)


def test_the_running_return_starts_anew_after_a_reset_of_its_own_environment_only():
    normalizer = RewardNormalizer(gamma=0.5)
    normalizer.step(4.0)
    normalizer.step(8.0, env_index=1)
    normalizer.reset()
    normalizer.step(1.0)
    normalizer.step(1.0, env_index=1)
    assert normalizer.state_dict()["returns"] == [1.0, 5.0]


def test_scaled_rewards_are_clipped():
    normalizer = RewardNormalizer(clip=3.0)
    for reward in (1.0, -1.0, 1.0):
        normalizer.step(reward)
    assert normalizer.normalize([1e9, -1e9]).tolist() == [3, -3]


def test_equal_rewards_of_0_are_left_alone():
    normalizer = RewardNormalizer()
    for _ in range(5):
        normalizer.step(0.0)
    assert normalizer.normalize([0.0, 2.0]).tolist() == [0, 2]


def test_a_window_counts_as_its_steps_and_resets_do_one_by_one():
    envs, at_once, by_step = LabelledEnvs(3, np.random.default_rng(0)), RewardNormalizer(), RewardNormalizer()
    for _ in range(10):
        window, _ = envs.window(7)
        at_once.update_window(window)
        for env, (start, stop) in enumerate(window.segments):
            for row in range(start, stop):
                by_step.step(window.rewards[row], env_index=env)
                if window.dones[row]:
                    by_step.reset(env_index=env)
    assert at_once.std == pytest.approx(by_step.std, rel=1e-9)
    assert at_once.state_dict()["returns"] == by_step.state_dict()["returns"]
    counts = [normalizer.state_dict()["statistics"]["count"] for normalizer in (at_once, by_step)]
    assert counts == [210, 210]


def test_a_window_with_a_reward_that_is_not_finite_changes_nothing():
    window, _ = LabelledEnvs(2, np.random.default_rng(0)).window(5)
    normalizer = RewardNormalizer()
    window.rewards[7] = np.nan
    with pytest.raises(NonFiniteError):
        normalizer.update_window(window)
    assert normalizer.state_dict() == RewardNormalizer().state_dict()


def test_a_normaliser_that_was_saved_and_loaded_goes_on_identically():
    envs, ours, theirs = LabelledEnvs(3, np.random.default_rng(0)), RewardNormalizer(), RewardNormalizer()
    ours.update_window(envs.window(7)[0])
    state = join_state(*split_state(ours.state_dict()))
    assert misfit(state, theirs.state_dict()) is None
    theirs.load_state_dict(state)
    window, _ = envs.window(7)
    for normalizer in (ours, theirs):
        normalizer.update_window(window)
    assert ours.std == theirs.std
    assert ours.state_dict() == theirs.state_dict()


def test_statistics_of_another_shape_or_that_are_not_finite_are_not_loaded():
    normalizer = ObsNormalizer(2)
    with pytest.raises(ConfigError, match=r"shape \(3,\), this normaliser \(2,\)"):
        normalizer.load_state_dict(ObsNormalizer(3).state_dict())
    with pytest.raises(ConfigError, match="must be finite"):
        normalizer.load_state_dict({**normalizer.state_dict(), "var": np.array([1.0, np.nan])})


def test_normalising_updates_nothing():
    normalizer, rewards = ObsNormalizer(2), RewardNormalizer()
    normalizer.update([[1.0, 2.0], [3.0, 5.0]])
    before = normalizer.state_dict()
    normalizer.normalize(np.full((100, 2), 7.0))
    rewards.normalize(np.full(100, 7.0))
    assert {k: np.asarray(v).tolist() for k, v in before.items()} == {
        k: np.asarray(v).tolist() for k, v in normalizer.state_dict().items()
    }
    assert rewards.state_dict() == RewardNormalizer().state_dict()
