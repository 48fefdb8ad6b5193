"""Environments that give NaN, infinity, or numbers outside their space."""

import json
import logging

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary
from watching_agent import Watching

from tensor_optix import BatchPipeline, ConfigError, NonFiniteError
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.state import join_state, split_state
from tensor_optix.pipeline import nonfinite
from tensor_optix.testing import TruncatedWalk

NAN, INF = float("nan"), float("inf")


class Odd(gym.Env):
    """Observes [step, 0.5] and rewards 1; ``at(env step number, counted over all episodes)`` changes what is given."""

    def __init__(self, at, *, length=5, space=None, shared=False):
        self.observation_space = space or Box(-100.0, 100.0, (2,), np.float32)
        self.action_space = Discrete(2)
        self.at, self.length, self.n, self.t = at, length, 0, 0
        self.buffer = np.zeros(2, np.float32) if shared else None

    def _given(self, observation, reward):
        observation, reward = self.at(self.n, np.array(observation, np.float32), reward)
        if self.buffer is not None:
            self.buffer[:] = observation
            observation = self.buffer
        return observation, reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._given([0.0, 0.5], None)[0], {}

    def step(self, action):
        self.n, self.t = self.n + 1, self.t + 1
        observation, reward = self._given([self.t, 0.5], 1.0)
        return observation, reward, False, self.t == self.length, {}


def bad_reward(steps, value=NAN):
    return lambda n, observation, reward: (observation, value if n in steps and reward is not None else reward)


def bad_observation(steps, value=NAN, index=1):
    def at(n, observation, reward):
        if n in steps and reward is not None:
            observation[index] = value
        return observation, reward

    return at


def pipeline_on(env, window_size=12, **keywords):
    pipeline = BatchPipeline(env, Watching(), window_size, **keywords)
    pipeline.seed(RandomStreams(3))
    return pipeline


def windows(pipeline, n=1):
    iterator = pipeline.episodes()
    return [next(iterator) for _ in range(n)]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("bad", [bad_reward, bad_observation])
@pytest.mark.parametrize("shared", [False, True])
def test_a_bad_step_is_left_out_and_its_episode_ends_before_it_without_a_return(bad, value, shared):
    pipeline = pipeline_on(Odd(bad({3}, value), shared=shared))
    window = windows(pipeline)[0]
    assert window.length == 12
    assert window.observations[:, 0].tolist() == [0, 1, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert window.truncated == [False, True] + [False] * 4 + [True] + [False] * 4 + [True]
    assert (window.episode_returns, window.episode_lengths, window.episode_starts) == ([5.0] * 2, [5] * 2, [0, 2, 7])
    assert window.next_observations[1].tolist() == [2.0, 0.5]  # the last good one, from which it may bootstrap
    assert pipeline.health == {"nonfinite_steps": 1}
    for numbers in (window.observations, window.next_observations, window.rewards, pipeline._agent.seen):
        assert np.isfinite(numbers).all()


def test_the_data_is_that_of_an_environment_that_was_truncated_there():
    class Ending(Odd):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated or self.n == 2, info

    dropped, plain = windows(pipeline_on(Odd(bad_reward({3}))))[0], windows(pipeline_on(Ending(bad_reward(()))))[0]
    for name in ("observations", "actions", "next_observations"):
        assert getattr(dropped, name).tobytes() == getattr(plain, name).tobytes()
    assert (dropped.rewards, dropped.dones) == (plain.rewards, plain.dones)
    assert plain.episode_returns == [2.0, *dropped.episode_returns]


@pytest.mark.parametrize("window_size", [1, 3, 5])
def test_every_window_has_its_size_and_no_row_is_counted_to_a_lost_episode(window_size):
    pipeline = pipeline_on(Odd(bad_observation({3, 4, 11})), window_size)
    taken = windows(pipeline, 30 // window_size)
    assert {window.length for window in taken} == {window_size}
    assert [r for window in taken for r in window.episode_returns] == [5.0] * 5
    assert sum(map(sum, (window.rewards for window in taken))) == 30


def test_a_bad_reset_is_repeated():
    def at(n, observation, reward):
        return (observation * NAN if reward is None and n == 5 and next(calls) < 2 else observation), reward

    calls = iter(range(9))
    pipeline = pipeline_on(Odd(at))
    assert windows(pipeline)[0].observations[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert pipeline.health == {"nonfinite_steps": 2}


def test_a_hundred_of_the_last_ten_thousand_steps_are_left_out_and_not_one_more():
    sound = pipeline_on(Odd(lambda n, o, r: (o, NAN if n % 101 == 100 and r else r)), 10_000)
    windows(sound, 2)
    assert 190 < sound.health["nonfinite_steps"] <= 200
    worse = pipeline_on(Odd(lambda n, o, r: (o, NAN if n % 90 == 89 and r else r)), 10_000)
    with pytest.raises(NonFiniteError, match=r"101 of the last 10000 steps .* reward of nan in step .*'clip'"):
        windows(worse)


def test_an_environment_that_gives_nothing_else_ends_the_run():
    def only_nan(n, observation, reward):
        return observation * NAN, reward

    with pytest.raises(NonFiniteError, match=r"an observation with nan at .* in reset of env episode 100"):
        windows(pipeline_on(Odd(only_nan)))


def test_the_count_of_dropped_steps_is_continued(monkeypatch):
    monkeypatch.setattr(nonfinite, "MAX_DROPPED", 3)
    pipeline = pipeline_on(Odd(bad_reward({2, 9, 16})), 20)
    windows(pipeline)
    text, arrays = split_state(pipeline.state_dict())
    resumed = pipeline_on(Odd(bad_reward({2, 9})), 20)  # the replayed step and one more
    resumed.load_state_dict(join_state(json.loads(json.dumps(text)), arrays))
    assert resumed.health == {"nonfinite_steps": 3, "resume_mismatch": 1}
    with pytest.raises(NonFiniteError, match="4 of the last"):
        windows(resumed)


def test_raise_names_env_step_and_field():
    with pytest.raises(NonFiniteError, match=r"Odd gave a reward of nan in step 3 of env episode 0; mend"):
        windows(pipeline_on(Odd(bad_reward({3})), on_nonfinite="raise"))
    with pytest.raises(NonFiniteError, match=r"an observation with inf at \[1\] \(1 of 2 not finite\) in step 3"):
        windows(pipeline_on(Odd(bad_observation({3}, INF)), on_nonfinite="raise"))


@pytest.mark.parametrize(
    ("value", "reward", "bounded", "unbounded"),
    [(NAN, 0.0, 0.0, 0.0), (INF, 1e6, 100.0, 1e6), (-INF, -1e6, -100.0, -1e6)],
)
def test_clip_replaces_and_counts(value, reward, bounded, unbounded):
    pipeline = pipeline_on(Odd(bad_reward({3}, value)), on_nonfinite="clip")
    window = windows(pipeline)[0]
    assert window.rewards[2] == reward
    assert window.episode_returns == [4.0 + reward, 5.0]
    for space, expected in ((None, bounded), (Box(-np.inf, np.inf, (2,), np.float32), unbounded)):
        pipeline = pipeline_on(Odd(bad_observation({3}, value), space=space), on_nonfinite="clip")
        assert windows(pipeline)[0].observations[3].tolist() == [3.0, expected]
        assert pipeline.health == {"nonfinite_steps": 1}


def test_a_clipped_episode_is_played_again_without_counting_twice():
    pipeline = pipeline_on(Odd(bad_observation({2}), length=50), on_nonfinite="clip")
    windows(pipeline)
    resumed = pipeline_on(Odd(bad_observation({2}), length=50), on_nonfinite="clip")
    resumed.load_state_dict(pipeline.state_dict())
    assert resumed.health == {"nonfinite_steps": 1}
    assert windows(resumed)[0].observations.tobytes() == windows(pipeline)[0].observations.tobytes()


def test_an_evaluation_episode_with_a_bad_step_has_no_return():
    pipeline = pipeline_on(lambda: Odd(bad_reward({8})))
    data = pipeline.evaluate(Watching(), seeds=[1, 2, 3])
    assert data.episode_returns == [5.0, 5.0]
    assert np.isfinite(data.rewards).all()
    assert data.dones[6]
    assert pipeline.health == {"nonfinite_steps": 1}
    assert pipeline_on(lambda: Odd(bad_reward(range(99)))).evaluate(Watching(), seeds=[1, 2]) is None


def test_numbers_outside_the_space_are_used_counted_and_told_once(caplog):
    pipeline = pipeline_on(Odd(bad_observation({2, 4, 14}, 101.0)))
    with caplog.at_level(logging.WARNING):
        first, _ = windows(pipeline, 2)
    assert first.observations[2].tolist() == [2.0, 101.0]
    assert pipeline.health == {"out_of_space_observations": 3}
    assert caplog.text.count("outside its observation space") == 1


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0"])
def test_sound_environments_are_not_accused(env_id):
    pipeline = BatchPipeline(env_id=env_id, agent=ZeroAction(), window_size=1_500)
    windows(pipeline)
    assert pipeline.health == {}
    pipeline.teardown()


class ZeroAction(Watching):
    acts_in_unit_box = True

    def act(self, observation):
        return np.zeros(1) if observation.shape == (3,) else 0


@pytest.mark.parametrize("shape", [(1,), (12,), (13,), (300,), (3, 4, 2)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_position_of_an_array_escapes_and_no_finite_number_is_accused(shape, dtype):
    env = TruncatedWalk(9)
    env.observation_space = Box(-np.inf, np.inf, shape, dtype)
    runner = pipeline_on(env)._runner()
    for value in (NAN, INF, -INF):
        for index in range(0, int(np.prod(shape)), 1 + int(np.prod(shape)) // 13):
            array = np.zeros(shape, dtype)
            array.flat[index] = value
            assert not runner._is_finite(array)
            assert not runner._is_finite(np.asfortranarray(array))
    assert runner._is_finite(np.full(shape, np.finfo(dtype).max))


@pytest.mark.parametrize("space", [Box(0, 255, (2,), np.uint8), MultiBinary(2), Discrete(4)])
def test_a_space_whose_type_has_no_bad_numbers_is_not_looked_at(space):
    env = TruncatedWalk(9)
    env.observation_space = space
    runner = pipeline_on(env)._runner()
    assert runner._is_finite(np.ones(space.shape or (), space.dtype))
    assert runner.reader.bounds is None


def test_a_float_that_the_spaces_type_cannot_hold_counts_as_infinite():
    pipeline = pipeline_on(Odd(lambda n, o, r: (o.astype(np.float64) * (1e300 if n == 3 and r else 1), r)))
    assert np.isfinite(windows(pipeline)[0].next_observations).all()
    assert pipeline.health["nonfinite_steps"] >= 1


def test_an_unknown_reaction_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"on_nonfinite must be one of .* Did you mean 'drop_episode'"):
        pipeline_on(TruncatedWalk(3), on_nonfinite="drop_episodes")
