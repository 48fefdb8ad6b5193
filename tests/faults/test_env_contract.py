"""Environments that break the contract of reset and step, or share their buffers."""

import collections
from decimal import Decimal

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from watching_agent import Watching

from tensor_optix import BatchPipeline, EnvError
from tensor_optix.core.rng import RandomStreams

GOOD = np.zeros(2, np.float32)


class Giving(gym.Env):
    """Resets to ``first`` and steps to ``result``, whatever these are."""

    def __init__(self, result, first=None, dtype=np.float32):
        low, high = (0, 100) if np.dtype(dtype).kind == "u" else (-100, 100)
        self.observation_space, self.action_space = Box(low, high, (2,), dtype), Discrete(2)
        self.result, self.first = result, (GOOD.astype(dtype), {}) if first is None else first

    def reset(self, *, seed=None, options=None):
        return self.first

    def step(self, action):
        return self.result


def step_of(observation=GOOD, reward=1.0, terminated=False, truncated=False, info=None):
    return observation, reward, terminated, truncated, {} if info is None else info


def window_on(env, n=3):
    pipeline = BatchPipeline(env, Watching(), n)
    pipeline.seed(RandomStreams(0))
    return next(pipeline.episodes())


class NotANumber:
    def __repr__(self):
        return "x" * 1000


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((GOOD, 1.0, False, {}), r"step must return \(observation, reward, terminated, truncated, info\)"),
        ((GOOD, 1.0, False, False), "step must return"),
        ([GOOD, 1.0, False, False, {}], "step must return"),
        (None, "step must return"),
        (step_of(np.zeros(3, np.float32)), r"the space's shape \(2,\).* of shape \(3,\)"),
        (step_of(np.zeros((1, 2), np.float32)), r"of shape \(1, 2\)"),
        (step_of(np.float32(0)), "the space's shape"),
        (step_of(None), "the space's shape"),
        (step_of({"position": 1}), "the space's shape"),
        (step_of([1.0, [2.0, 3.0]]), "must be arrays"),
        (step_of(["a", "b"]), "without loss, not <U1"),
        (step_of(np.array([None, None])), "without loss, not object"),
        (step_of(np.zeros(2, complex)), "without loss, not complex128"),
        (step_of(np.array([2**24 + 1, 0])), "without loss, not int64"),
        (step_of(reward="x"), "reward must be one number"),
        (step_of(reward="1.0"), "reward must be one number"),
        (step_of(reward=None), "reward must be one number"),
        (step_of(reward=[1.0]), "reward must be one number"),
        (step_of(reward=np.zeros(2)), r"one number.* of shape \(2,\)"),
        (step_of(reward=np.array([1.0])), r"one number.* of shape \(1,\)"),
        (step_of(reward=1j), "reward must be one number"),
        (step_of(reward=np.complex64(1)), "reward must be one number"),
        (step_of(reward=10**400), "reward must be one number"),
        (step_of(reward={}), "reward must be one number"),
        (step_of(reward=NotANumber()), r"reward must be one number, got x{77}\.\.\.$"),
        (step_of(terminated=2), "terminated must be True or False, got 2"),
        (step_of(terminated="yes"), "terminated must be True or False"),
        (step_of(terminated=np.array([True])), "terminated must be True or False"),
        (step_of(truncated=None), "truncated must be True or False"),
        (step_of(truncated=float("nan")), "truncated must be True or False"),
        ((GOOD, 1.0, False, False, None), "info must be a dict, got None"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-",
)  # fmt: skip
def test_a_step_that_breaks_the_contract_is_named(result, message):
    where = "^Giving broke the contract in step 1 of env episode 0: .*"
    with pytest.raises(EnvError, match=where + message) as caught:
        window_on(Giving(result))
    assert (caught.value.env_index, caught.value.step) == (0, 1)


@pytest.mark.parametrize("first", [GOOD, (GOOD,), (GOOD, None), (np.zeros(3), {}), None, [GOOD, {}], (GOOD, {}, {})])
def test_a_reset_that_breaks_the_contract_is_named(first):
    env = Giving(step_of())
    env.first = first
    with pytest.raises(EnvError, match=r"^Giving broke the contract in reset of env episode 0"):
        window_on(env)


@pytest.mark.parametrize(
    "observation", [[1, 2], (1.0, 2.0), np.array([1.0, 2.0]), np.array([1, 2]), np.array([1, 2], np.uint8)]
)
def test_observations_of_other_types_are_cast_where_nothing_is_lost(observation):
    window = window_on(Giving(step_of(observation)))
    assert window.observations.dtype == np.float32
    assert window.observations[1].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("observation", [np.array([1.0, 2.0]), np.array([300, 0], np.uint16), [-1, 0]])
def test_whole_numbers_are_not_cut_or_wrapped(observation):
    with pytest.raises(EnvError, match="must be uint8 without loss"):
        window_on(Giving(step_of(observation), dtype=np.uint8))


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.int64(1), np.bool_(True), np.array(1.0), Decimal(1)])
def test_any_single_number_is_a_reward(reward):
    window = window_on(Giving(step_of(reward=reward)))
    assert window.rewards == [1.0] * 3
    assert {type(value) for value in window.rewards} == {float}


@pytest.mark.parametrize("claim", [1, 1.0, np.bool_(True), np.array(True), np.int64(1)])
def test_claims_become_plain_truth_values(claim):
    window = window_on(Giving(step_of(terminated=claim)))
    assert all(value is True for value in window.terminated)


def test_an_env_that_ends_at_its_first_step_every_time_fills_windows_of_any_size():
    for n in (1, 4):
        window = window_on(Giving(step_of(terminated=True)), n)
        assert (window.episode_returns, window.episode_lengths) == ([1.0] * n, [1] * n)
        assert window.final_obs is None


def test_buffers_that_an_environment_fills_again_do_not_reach_into_the_window():
    class Sharing(Giving):
        def __init__(self):
            super().__init__(None)
            self.n, self.seen, self.info, self.reward = 0, GOOD.copy(), {}, np.zeros(())

        def step(self, action):
            self.n += 1
            self.seen[:], self.info["n"], self.reward[...] = self.n, self.n, self.n
            return self.seen, self.reward, False, self.n == 2, self.info

    window = window_on(Sharing(), 4)
    assert window.rewards == [1.0, 2.0, 3.0, 4.0]
    assert [info["n"] for info in window.infos] == [1, 2, 3, 4]
    assert window.observations[:, 0].tolist() == [0, 1, 0, 3]
    assert window.next_observations[:, 0].tolist() == [1, 2, 3, 4]


def test_an_environment_that_fails_after_filling_its_buffer_does_not_spoil_the_last_good_observation():
    class Spoiling(Giving):
        def __init__(self):
            super().__init__(None)
            self.seen, self.n = GOOD.copy(), 0

        def step(self, action):
            self.n += 1
            self.seen[:] = self.n
            if self.n == 3:
                raise ValueError("out of order")
            return self.seen, 1.0, False, False, {}

    window = window_on(Spoiling, 5)
    assert window.next_observations[:2, 0].tolist() == [1, 2]


def test_an_environment_that_writes_to_its_action_can_still_be_played_again():
    class Scaling(Giving):
        def __init__(self):
            super().__init__(None)
            self.action_space, self.x = Box(-1, 1, (1,), np.float32), GOOD.copy()

        def reset(self, *, seed=None, options=None):
            self.x = GOOD.copy()
            return self.x, {}

        def step(self, action):
            self.x = self.x + action
            action *= 100
            return self.x, 1.0, False, False, {}

    class Half(Watching):
        def act(self, observation):
            return np.array([0.5], np.float32)

    pipelines = [BatchPipeline(Scaling(), Half(), 4) for _ in range(2)]
    next(pipelines[0].episodes())
    pipelines[1].load_state_dict(pipelines[0].state_dict())
    assert pipelines[1].health == {}
    assert next(pipelines[1].episodes()).observations[:, 0].tolist() == [2.0, 2.5, 3.0, 3.5]


def test_a_dict_of_another_kind_is_an_info():
    assert window_on(Giving(step_of(info=collections.OrderedDict(a=1)))).infos[0]["a"] == 1
