import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix import BasePipeline, BatchPipeline, EnvError, EpisodeData, VectorBatchPipeline, check_env_pipeline
from tensor_optix.testing import LabelledEnv
from tensor_optix.testing.check_env_pipeline import CHECKS
from tensor_optix.testing.random_acting import RandomActing

CLAIMS = [claim for claim, _ in CHECKS]


class Seeded(LabelledEnv):
    """What follows depends on the seed and on the actions."""

    def __init__(self, space=None):
        super().__init__(1, (30,), truncate_after=20)
        self.action_space = space or Discrete(2)

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.draw = self.np_random.random()
        self.lengths = (7 if self.draw < 0.5 else 30,)
        return super().reset()

    def step(self, action):
        self.draw += float(np.sum(action))
        return super().step(action)

    def _observation(self):
        return np.array([getattr(self, "draw", 0.0), self.steps, 0.0])


@pytest.mark.parametrize("subject", [Seeded, [Seeded, Seeded], Seeded(), [lambda: gym.make("CartPole-v1")] * 2],
                         ids=["factory", "factories", "environment", "CartPole"])  # fmt: skip
def test_everything_that_is_claimed_holds_for_a_sound_environment(subject):
    assert check_env_pipeline(subject) == CLAIMS


@pytest.mark.parametrize("mode", AutoresetMode)
def test_what_applies_to_a_vector_holds_in_every_autoreset_mode(mode):
    checked = check_env_pipeline(SyncVectorEnv([Seeded] * 2, autoreset_mode=mode))
    assert CLAIMS[:5] == checked[:5]
    assert {"the same seed gives the same windows", "saved and loaded it goes on identically"} <= set(checked)


@pytest.mark.parametrize(
    "space",
    [Discrete(3, start=2), Box(-2, 4, (2,), np.float32), Box(-1, 1, (), np.float32), MultiDiscrete([2, 3]),
     MultiBinary(2), Box(-np.inf, np.inf, (1,), np.float32)],
    ids=str,
)  # fmt: skip
def test_any_action_space_can_be_tried(space):
    assert check_env_pipeline(lambda: Seeded(space)) == CLAIMS


def test_structured_observations_can_be_tried():
    class Structured(Seeded):
        def __init__(self):
            super().__init__()
            self.observation_space = Dict(draw=Box(-np.inf, np.inf, (1,), np.float64), steps=Discrete(99))

        def _observation(self):
            return {"draw": np.array([getattr(self, "draw", 0.0)]), "steps": self.steps}

    assert check_env_pipeline(Structured) == CLAIMS
    pipeline = BatchPipeline(Structured, window_size=40, observations="raw")
    assert check_env_pipeline(pipeline) == CLAIMS[:5]
    pipeline.teardown()


def test_a_ready_pipeline_can_be_tried():
    pipeline = VectorBatchPipeline(env_id="CartPole-v1", n_envs=3, window_size=40)
    assert check_env_pipeline(pipeline) == CLAIMS[:5]
    pipeline.teardown()


# -- what is wrong is found and said -------------------------------------------------------------------------------


def test_an_environment_that_ignores_its_seed_is_found():
    class Unseeded(Seeded):
        seeds = 0

        def reset(self, *, seed=None, options=None):
            Unseeded.seeds += 1
            return super().reset(seed=Unseeded.seeds)

    with pytest.raises(EnvError, match=r"a plain loop with the same seeds .* observes .*, a plain loop array"):
        check_env_pipeline(Unseeded)


def test_an_environment_that_remembers_what_came_before_its_reset_is_found():
    class Remembering(Seeded):
        def _observation(self):
            return np.array([self.episode, self.steps, 0.0])

    with pytest.raises(EnvError, match=r"saved and loaded .* played again: \{'resume_mismatch': 1\}"):
        check_env_pipeline(Remembering)


def test_an_environment_that_breaks_the_contract_is_found():
    class Broken(Seeded):
        def step(self, action):
            return super().step(action)[:4]

    with pytest.raises(EnvError, match="step must return"):
        check_env_pipeline(Broken)


class Changed(BasePipeline):
    """The windows of a sound pipeline after ``change(window, number)``."""

    def __init__(self, change):
        self.pipeline, self.change = VectorBatchPipeline([Seeded] * 2, window_size=40), change
        self.pipeline.set_agent(RandomActing(self.pipeline.action_space))

    def setup(self):
        self.pipeline.setup()

    def episodes(self):
        for number, window in enumerate(self.pipeline.episodes()):
            self.change(window, number)
            yield window

    def teardown(self):
        self.pipeline.teardown()

    @property
    def is_live(self):
        return False


def lose_a_row(window: EpisodeData, number):
    window.rewards.pop()


def bend_a_segment(window, number):
    window.segments[1] = (window.segments[1][0] + 1, window.segments[1][1])


def spoil_a_number(window, number):
    window.observations[3] = np.nan


def swap_environments(window, number):
    if number % 2:
        window.observations = np.roll(window.observations, 40, axis=0)


def forget_a_final_observation(window, number):
    window.final_observations.pop(window.ended_rows[0])


def count_from_the_window(window, number):
    window.episode_lengths[0] -= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose_a_row, "has 79 rewards and 80 observations"),
        (bend_a_segment, "segments .* are not its 80 rows"),
        (spoil_a_number, "observations that are not finite"),
        (swap_environments, r"environment \d ends window \d in mid-episode before"),
        (forget_a_final_observation, "ends an env episode and has no final observation"),
        (count_from_the_window, r"has return (\d+) in \1 steps, and \1 in \d+ was told"),
    ],
)
def test_a_pipeline_that_is_wrong_is_found(change, message):
    with pytest.raises(EnvError, match=message):
        check_env_pipeline(Changed(change))


def test_a_pipeline_that_is_right_is_not():
    assert check_env_pipeline(Changed(lambda window, number: None)) == CLAIMS[:5]
