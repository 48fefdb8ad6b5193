import json
import logging

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box
from pipeline_agents import ConstantAgent, RandomAgent

from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.state import join_state, split_state
from tensor_optix.errors import AgentError, ConfigError, EnvError
from tensor_optix.pipeline import BatchPipeline, env_runner, evaluation
from tensor_optix.testing import ConstantRewardChain, FailingEnv, SharedBufferEnv, TruncatedWalk
from tests.failing_env import FailsEverySecondEpisode


def seeded(env, agent=None, window_size=16, seed=3, **kwargs):
    pipeline = BatchPipeline(env, agent if agent is not None else RandomAgent(), window_size, **kwargs)
    pipeline.seed(RandomStreams(seed))
    return pipeline


def take(pipeline, n):
    windows = pipeline.episodes()
    taken = [next(windows) for _ in range(n)]
    windows.close()
    return taken


def assert_same(first, second):
    assert first.observations.tobytes() == second.observations.tobytes()
    assert first.actions.tobytes() == second.actions.tobytes()
    assert first.next_observations.tobytes() == second.next_observations.tobytes()
    for name in ("rewards", "terminated", "truncated", "episode_id", "metadata", "episode_starts",
                 "episode_returns", "episode_lengths"):  # fmt: skip
        assert getattr(first, name) == getattr(second, name), name


class UnclonableEnv(ConstantRewardChain):
    """Observes a number that only its seed decides; has no spec."""

    def __init__(self, length=5):
        super().__init__(length)
        self.draws = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.draws = self.np_random.random()
        return self._observation(), {}

    def _observation(self):
        return np.array([self.steps + getattr(self, "draws", 0.0)], dtype=np.float32)


# -- windows -------------------------------------------------------------------------------------------------------


def test_windows_have_the_size_asked_for_and_are_numbered():
    windows = take(seeded(ConstantRewardChain(5), window_size=7), 3)
    assert [window.length for window in windows] == [7, 7, 7]
    assert [window.episode_id for window in windows] == [0, 1, 2]
    assert windows[0].observations.shape == (7, 1)
    assert windows[0].extras["draw"].shape == (7,)


def test_env_episodes_go_on_across_windows_and_are_counted_from_their_reset():
    first, second = take(seeded(ConstantRewardChain(5), window_size=7), 2)
    assert first.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert (first.episode_returns, first.episode_lengths, first.episode_starts) == ([5.0], [5], [0, 5])
    assert second.observations[:, 0].tolist() == [2, 3, 4, 0, 1, 2, 3]
    assert (second.episode_returns, second.episode_lengths, second.episode_starts) == ([5.0], [5], [0, 3])
    assert second.metadata == {"env_episode_steps_before": 2}


def test_every_row_has_its_true_successor():
    window = take(seeded(ConstantRewardChain(3, truncate_after=2), window_size=5), 1)[0]
    assert window.truncated == [False, True, False, True, False]
    assert window.next_observations[:, 0].tolist() == [1, 2, 1, 2, 1]
    assert sorted(window.final_observations) == [1, 3, 4]
    assert window.final_obs.tolist() == [1.0]


def test_a_window_that_ends_with_its_env_episode_has_no_final_obs():
    first, second = take(seeded(ConstantRewardChain(4), window_size=4), 2)
    assert first.final_obs is None
    assert first.next_observations[-1].tolist() == [4.0]
    assert second.observations[0].tolist() == [0.0]
    assert second.metadata == {"env_episode_steps_before": 0}


def test_truncated_rows_bootstrap_to_the_infinite_horizon_value():
    env, gamma = TruncatedWalk(3), 0.9
    window = take(seeded(env, window_size=8), 1)[0]
    one_step = np.array(window.rewards) + gamma * env.value(window.next_observations, gamma) * ~np.array(
        window.terminated
    )
    np.testing.assert_allclose(one_step, 1 / (1 - gamma))


def test_a_shared_observation_buffer_does_not_corrupt_the_window():
    shared, fresh = (take(seeded(env, window_size=8), 2) for env in (SharedBufferEnv(3), TruncatedWalk(3)))
    for a, b in zip(shared, fresh, strict=True):
        assert_same(a, b)


def test_two_pipelines_with_one_seed_give_identical_windows():
    for a, b in zip(*(take(seeded(UnclonableEnv()), 3) for _ in range(2)), strict=True):
        assert_same(a, b)
    other = take(seeded(UnclonableEnv(), seed=4), 1)[0]
    assert other.actions.tobytes() != take(seeded(UnclonableEnv()), 1)[0].actions.tobytes()


def test_a_new_iterator_goes_on_where_the_last_left_off_across_teardown_of_a_handed_over_env():
    whole = take(seeded(UnclonableEnv(), window_size=7), 3)
    pipeline = seeded(UnclonableEnv(), window_size=7)
    parts = take(pipeline, 1)
    pipeline.teardown()
    pipeline.setup()
    parts += take(pipeline, 2)
    for a, b in zip(whole, parts, strict=True):
        assert_same(a, b)


def test_fractions_that_follow_a_whole_number_are_kept():
    class Halving(ConstantAgent):
        def act(self, observation):
            self.action, action = self.action / 2, self.action
            return [action]

    env = ConstantRewardChain(9)
    env.action_space = Box(-1, 1, (1,), np.float32)
    window = take(seeded(env, Halving(1), window_size=3), 1)[0]
    assert window.actions[:, 0].tolist() == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(("env_id", "score"), [("MountainCar-v0", -200.0), ("Acrobot-v1", -500.0)])
def test_a_constant_policy_on_a_failing_task_is_truncated_every_time(env_id, score):
    pipeline = seeded(None, ConstantAgent(0), window_size=1_000, env_id=env_id)
    window = take(pipeline, 1)[0]
    assert window.episode_returns == [score] * len(window.episode_returns) != []
    assert sum(window.truncated) == len(window.episode_returns)
    assert not any(window.terminated)
    assert pipeline.max_episode_steps == -score
    pipeline.teardown()


# -- evaluation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_evaluation_between_windows_never_disturbs_a_rollout(env_id):
    agent = RandomAgent() if env_id == "CartPole-v1" else ConstantAgent(np.array([0.5]), acts_in_unit_box=True)
    plain = take(seeded(gym.make(env_id), agent), 4)
    pipeline = seeded(gym.make(env_id), agent)
    windows = pipeline.episodes()
    for expected in plain:
        assert_same(expected, next(windows))
        assert pipeline.evaluate(agent, seeds=[1], deterministic=False) is not None


def test_evaluation_plays_one_complete_episode_per_seed_and_repeats_itself():
    pipeline = seeded(None, RandomAgent(), env_id="CartPole-v1")
    first, second = (pipeline.evaluate(RandomAgent(), seeds=[5, 6, 5], deterministic=False) for _ in range(2))
    assert_same(first, second)
    assert len(first.episode_returns) == 3
    assert sum(first.dones) == 3
    assert first.dones[-1]
    assert first.episode_returns[0] == first.episode_returns[2]
    pipeline.teardown()


def test_an_env_that_cannot_be_cloned_is_evaluated_on_only_when_nothing_is_collected():
    agent = RandomAgent()
    pipeline = seeded(UnclonableEnv(5), agent, window_size=7)
    windows = pipeline.episodes()
    next(windows)
    assert pipeline.evaluate(agent, seeds=[1, 2]) is None
    windows.close()
    assert pipeline.evaluate(agent, seeds=[1, 2]).episode_returns == [5.0, 5.0]
    assert next(pipeline.episodes()).metadata == {"env_episode_steps_before": 0}


def test_an_env_with_running_statistics_is_not_cloned():
    env = gym.wrappers.NormalizeObservation(gym.make("CartPole-v1"))
    pipeline = seeded(env)
    windows = pipeline.episodes()
    next(windows)
    assert pipeline.evaluate(RandomAgent(), seeds=[1]) is None


def test_an_endless_evaluation_episode_is_cut_counted_and_told(monkeypatch, caplog):
    monkeypatch.setattr(evaluation, "MAX_EVALUATION_STEPS", 50)
    pipeline = seeded(lambda: TruncatedWalk(10**9))
    with caplog.at_level(logging.WARNING):
        data = pipeline.evaluate(RandomAgent(), seeds=[1])
    assert data.episode_lengths == [50]
    assert data.truncated[-1]
    assert pipeline.health == {"evaluation_cut": 1}
    assert "cut after 50 steps" in caplog.text


# -- failing environments ------------------------------------------------------------------------------------------


def test_an_env_handed_over_fails_at_once_and_says_where():
    pipeline = seeded(FailingEnv(4), window_size=16)
    with pytest.raises(EnvError, match=r"FailingEnv raised in step 4 of env episode 0: ValueError: out of order") as e:
        next(pipeline.episodes())
    assert isinstance(e.value.__cause__, ValueError)
    assert (e.value.env_index, e.value.step) == (0, 4)
    with pytest.raises(EnvError, match="reset of env episode 0"):
        next(seeded(FailingEnv(0)).episodes())


def test_an_env_of_a_factory_is_replaced_and_its_episode_ends_without_a_return():
    envs = iter([FailingEnv(3), ConstantRewardChain(4)])
    pipeline = seeded(lambda: next(envs), window_size=8)
    window = take(pipeline, 1)[0]
    assert window.observations[:, 0].tolist() == [0, 1, 0, 1, 2, 3, 0, 1]
    assert window.truncated == [False, True] + [False] * 6
    assert window.next_observations[1].tolist() == [2.0]
    assert (window.episode_returns, window.episode_starts) == ([4.0], [0, 2, 6])
    assert pipeline.health == {"env_rebuilt": 1}


def test_an_env_lost_in_the_first_row_of_a_window_leaves_no_trace_in_it():
    envs = iter([FailingEnv(3), ConstantRewardChain(4)])
    first, second = take(seeded(lambda: next(envs), window_size=2), 2)
    assert first.dones == [False, False]
    assert second.observations[:, 0].tolist() == [0, 1]
    assert (second.dones, second.metadata) == ([False, False], {"env_episode_steps_before": 0})
    assert second.episode_starts == [0]


@pytest.mark.parametrize("at_step", [0, 1, 3])
def test_an_env_that_always_fails_is_replaced_three_times_in_a_row(at_step):
    pipeline = seeded(lambda: FailingEnv(at_step), window_size=16)
    with pytest.raises(EnvError, match="env episode 3"):
        take(pipeline, 1)
    assert pipeline.health == {"env_rebuilt": 3}


def test_an_env_episode_that_ends_by_itself_starts_the_count_of_failures_anew():
    pipeline = seeded(lambda: FailsEverySecondEpisode(100, limit=3), window_size=24)
    assert take(pipeline, 1)[0].episode_returns == [3.0] * 6
    assert pipeline.health == {"env_rebuilt": 5}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass_and_the_next_window_starts_from_a_reset(error):
    env = FailingEnv(3, error=error)
    pipeline = seeded(env, window_size=8)
    with pytest.raises(error):
        next(pipeline.episodes())
    env.at_step = 100
    window = next(pipeline.episodes())
    assert window.observations[0].tolist() == [0.0]
    assert (window.episode_id, window.metadata) == (0, {"env_episode_steps_before": 0})


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((np.zeros(1, np.float32), 1.0, False, {}), "step must return"),
        ((np.zeros(2, np.float32), 1.0, False, False, {}), r"the space's shape \(1,\)"),
        ((np.array([1j]), 1.0, False, False, {}), "without loss"),
        ((np.array([None]), 1.0, False, False, {}), "without loss"),
        ((np.zeros(1, np.float32), "x", False, False, {}), "reward must be one number"),
        ((np.zeros(1, np.float32), np.zeros(2), False, False, {}), "reward must be one number"),
        ((np.zeros(1, np.float32), None, False, False, {}), "reward must be one number"),
        ((np.zeros(1, np.float32), 1.0, 2, False, {}), "terminated must be True or False"),
        ((np.zeros(1, np.float32), 1.0, False, None, {}), "truncated must be True or False"),
    ],
)
def test_a_step_that_breaks_the_contract_is_named_and_no_env_is_replaced(result, message):
    def broken():
        env = ConstantRewardChain(5)
        env.step = lambda action: result
        return env

    pipeline = seeded(broken)
    with pytest.raises(EnvError, match=rf"ConstantRewardChain broke the contract in step 1.*{message}"):
        next(pipeline.episodes())
    assert pipeline.health == {}


def test_an_old_reset_is_refused():
    env = ConstantRewardChain(5)
    env.reset = lambda *, seed: np.zeros(1, np.float32)
    with pytest.raises(EnvError, match=r"reset must return \(observation, info\)"):
        next(seeded(env).episodes())


# -- continuing ----------------------------------------------------------------------------------------------------


def through_json(state):
    text, arrays = split_state(state)
    return join_state(json.loads(json.dumps(text)), arrays)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_saved_and_loaded_it_goes_on_identically(env_id):
    agent = RandomAgent() if env_id == "CartPole-v1" else ConstantAgent(np.array([0.5]), acts_in_unit_box=True)
    pipeline = seeded(gym.make(env_id), agent, window_size=33)
    take(pipeline, 3)
    state = through_json(pipeline.state_dict())
    resumed = BatchPipeline(gym.make(env_id), agent, 33)
    resumed.load_state_dict(state)
    for a, b in zip(take(pipeline, 3), take(resumed, 3), strict=True):
        assert_same(a, b)
    assert resumed.health == {}
    split, again = split_state(pipeline.state_dict()), split_state(resumed.state_dict())
    assert split[0] == again[0]


def test_an_env_that_comes_out_differently_starts_anew_and_says_so():
    pipeline = seeded(UnclonableEnv(50))
    take(pipeline, 1)
    resumed = BatchPipeline(TruncatedWalk(50), RandomAgent(), 16)
    resumed.load_state_dict(pipeline.state_dict())
    assert resumed.health == {"resume_mismatch": 1}
    assert next(resumed.episodes()).observations[0].tolist() == [0.0]


def test_an_env_episode_too_long_to_replay_starts_anew_and_says_so(monkeypatch):
    monkeypatch.setattr(env_runner, "MAX_REPLAYED_ACTIONS", 10)
    pipeline = seeded(TruncatedWalk(50), window_size=12)
    take(pipeline, 1)
    assert pipeline.state_dict()["lanes"]["0"]["open_episode"]["replayable"] is False
    resumed = BatchPipeline(TruncatedWalk(50), RandomAgent(), 12)
    resumed.load_state_dict(pipeline.state_dict())
    assert resumed.health == {"resume_too_long": 1}


# -- the constructor and the agent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "either env"),
        ({"env": ConstantRewardChain(3), "env_id": "CartPole-v1"}, "either env"),
        ({"env": "CartPole-v1"}, "env_id='CartPole-v1'"),
        ({"env": 3}, "must be a gymnasium.Env"),
        ({"env": ConstantRewardChain(3), "window_size": 0}, "at least 1, got 0"),
        ({"env": ConstantRewardChain(3), "window_size": 5, "n_steps": 6}, "got 5 and 6"),
        ({"env": ConstantRewardChain(3), "agent": object()}, "lacks act, learn"),
    ],
)
def test_what_cannot_work_is_refused_at_once(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        BatchPipeline(**kwargs)


def test_n_steps_is_another_name_for_window_size():
    assert BatchPipeline(ConstantRewardChain(3), n_steps=64).window_size == 64
    assert BatchPipeline(ConstantRewardChain(3)).n_steps == 200


def test_setup_needs_an_agent_and_asks_it_about_the_spaces():
    pipeline, agent = BatchPipeline(ConstantRewardChain(3)), ConstantAgent()
    with pytest.raises(ConfigError, match="has no agent"):
        pipeline.setup()
    pipeline.set_agent(agent)
    pipeline.setup()
    assert agent.spaces == (pipeline.observation_space, pipeline.action_space)


def test_an_action_that_the_env_does_not_have_is_the_agents_fault():
    with pytest.raises(AgentError, match=r"action 2, but Discrete\(2\)"):
        next(seeded(ConstantRewardChain(3), ConstantAgent(2)).episodes())


def test_windows_keep_the_agents_units_and_the_env_gets_its_own():
    env, seen = ConstantRewardChain(9), []
    env.action_space = Box(-2, 4, (1,), np.float32)
    step = env.step
    env.step = lambda action: (seen.append(action), step(action))[1]
    window = take(seeded(env, ConstantAgent(np.array([0.5]), acts_in_unit_box=True), window_size=2), 1)[0]
    assert window.actions.tolist() == [[0.5], [0.5]]
    assert [action.tolist() for action in seen] == [[2.5], [2.5]]


def test_a_handed_over_env_is_not_closed_and_a_built_one_is():
    closed = []

    class Closing(ConstantRewardChain):
        def close(self):
            closed.append(self)

    handed_over = Closing(3)
    for env in (handed_over, lambda: Closing(3)):
        pipeline = seeded(env)
        take(pipeline, 1)
        pipeline.teardown()
    assert len(closed) == 1
    assert closed[0] is not handed_over
