"""LivePipeline: which transition does a record belong to, and what does a window hold?"""

import threading
import time

import numpy as np
import pytest
from live_feeds import CountingAgent, ScriptedFeed, SeekableFeed, SilentFeed, balance, record, wait_until
from pipeline_agents import ConstantAgent, RandomAgent

from tensor_optix import ConfigError, LiveFeedError, LivePipeline, compute_gae
from tensor_optix.core.rng import RandomStreams
from tensor_optix.pipeline.live import GAP, LiveSource


def windows_of(source, agent=None, boundary=None, **settings):
    pipeline = LivePipeline(source, agent or CountingAgent(), boundary, **settings)
    try:
        return list(pipeline.episodes())
    finally:
        pipeline.teardown()
        assert balance(pipeline.health) == 0


def n_steps(n):
    return LivePipeline.every_n_steps(n)


# -- causality -------------------------------------------------------------------------------------------------


def test_the_reward_of_the_next_record_answers_the_action_of_this_one():
    (window,) = windows_of([record(0), record(1), record(2), record(3)], boundary=n_steps(10))
    np.testing.assert_array_equal(window.observations[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(window.actions, [0, 1, 2])
    assert window.rewards == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(window.next_observations[:, 0], [1, 2, 3])


def test_a_window_begins_where_the_last_one_ended_and_no_record_is_lost_between_them():
    first, second, rest = windows_of([record(t) for t in range(8)], boundary=n_steps(3))
    assert [first.length, second.length, rest.length] == [3, 3, 1]
    np.testing.assert_array_equal(first.observations[:, 0], [0, 1, 2])
    assert first.final_obs == 3
    np.testing.assert_array_equal(second.observations[:, 0], [3, 4, 5])
    assert first.rewards + second.rewards + rest.rewards == [1, 2, 3, 4, 5, 6, 7]
    assert [w.episode_id for w in (first, second, rest)] == [0, 1, 2]


def test_the_first_action_of_a_window_is_chosen_after_the_window_before_was_handed_over():
    agent = CountingAgent()
    windows = LivePipeline([record(t) for t in range(6)], agent, n_steps(2)).episodes()
    next(windows)
    assert agent.seen == [0, 1]
    next(windows)
    assert agent.seen == [0, 1, 2, 3]


class EchoWorld(LiveSource):
    """Pays 1 for the action that names the observation it was chosen on, and nothing otherwise."""

    takes_actions = True
    ends = True

    def __init__(self, observations):
        self.observations = observations
        self.actions = []

    def act(self, action):
        self.actions.append(int(action))

    def stream(self, after=None):
        yield np.float32([self.observations[0]]), 0.0, False, False, {}
        for t, observation in enumerate(self.observations[1:]):
            reward = float(self.actions[t] == self.observations[t])  # raises if asked before it was acted upon
            yield np.float32([observation]), reward, False, False, {}


class NamingAgent(ConstantAgent):
    def act(self, observation):
        return int(observation[0])


def test_a_source_that_waits_is_asked_for_the_answer_only_after_it_got_the_action():
    world = EchoWorld([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    (window,) = windows_of(world, NamingAgent(), n_steps(100))
    assert window.rewards == [1.0] * 9  # credit moved by one step would find a wrong action at every change
    assert world.actions == [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]  # the last one went out before the stream ended


def test_a_bandit_on_the_data_finds_the_action_that_the_world_rewards():
    """Reward depends on (observation, action before): the table of mean rewards has its maximum where it should."""
    rng = np.random.default_rng(0)
    world = EchoWorld(rng.integers(0, 2, 400).tolist())
    (window,) = windows_of(world, RandomAgent(), n_steps(1000))
    rewards, seen, chosen = np.array(window.rewards), window.observations[:, 0], window.actions
    table = [[rewards[(seen == o) & (chosen == a)].mean() for a in (0, 1)] for o in (0, 1)]
    assert table == [[1.0, 0.0], [0.0, 1.0]]


class ActingObject:
    def __init__(self):
        self.actions = []

    def stream(self):
        for t in range(5):
            assert len(self.actions) == t, "asked before the action came"
            yield record(t)

    def act(self, action):
        self.actions.append(action)


def test_an_object_with_stream_and_act_gets_every_action_before_it_is_asked_on():
    source = ActingObject()
    (window,) = windows_of(source, reconnect_on_disconnect=False, boundary=n_steps(50))
    assert window.rewards == [1, 2, 3, 4]
    assert source.actions[:4] == window.actions.tolist()


class PushingWorld(LiveSource):
    """Sends records of its own accord, when the test says so."""

    waits, takes_actions = False, True

    def __init__(self):
        self.release = threading.Semaphore(0)
        self.records, self.actions = [], []
        self.on_action = lambda: None

    def push(self, *records):
        self.records += records
        self.release.release(len(records))

    def act(self, action):
        self.actions.append(action)
        self.on_action()

    def stream(self, after=None):
        while True:
            if self.release.acquire(timeout=0.05):
                yield self.records.pop(0)
            else:
                yield None


def test_what_came_while_the_agent_was_learning_is_past_and_credited_to_no_new_action():
    world = PushingWorld()
    pipeline = LivePipeline(world, CountingAgent(), n_steps(1))
    answers = iter([record(1)])
    world.on_action = lambda: world.push(next(answers))
    world.push(record(0))
    windows = pipeline.episodes()
    assert next(windows).rewards == [1.0]
    world.push(record(2), record(3), record(4))  # "learning"
    wait_until(lambda: pipeline.health["received"] == 5)
    answers = iter([record(5, terminated=True)])
    second = next(windows)
    pipeline.teardown()
    np.testing.assert_array_equal(second.observations[:, 0], [4])
    assert second.rewards == [5.0]
    assert pipeline.health["records_passed"] == 3
    assert second.episode_returns == [15.0]  # 1 + 2 + 3 + 4 + 5: it was earned in this env episode all the same
    assert balance(pipeline.health) == 0


def test_a_reward_that_was_on_its_way_when_the_action_was_sent_belongs_to_the_action_before():
    world = PushingWorld()
    pipeline = LivePipeline(world, Overtaken(world, lambda: pipeline), n_steps(2))
    world.push(record(0))
    world.on_action = lambda: world.push(record(10 * len(world.actions)))
    window = next(pipeline.episodes())
    pipeline.teardown()
    # the second action was being chosen when 0.5 came: it answers the first one, whose own answer was 10
    assert window.rewards == [10.5, 20.0]
    assert pipeline.health["late_rewards"] == 1


class Overtaken(ConstantAgent):
    """While it chooses its second action, a record arrives."""

    def __init__(self, world, pipeline):
        super().__init__()
        self.world, self.pipeline, self.n = world, pipeline, 0

    def act(self, observation):
        self.n += 1
        if self.n == 2:
            before = self.pipeline().health["received"]
            self.world.push(record(7, 0.5))
            wait_until(lambda: self.pipeline().health["received"] == before + 1)
        return 0


# -- ends of env episodes and windows --------------------------------------------------------------------------


def test_an_end_closes_its_env_episode_with_the_observation_that_came_with_it():
    first = [record(0, 5), record(1), record(2, terminated=True)]
    records = [*first, record(10, 7), record(11), record(12, truncated=True)]
    (window,) = windows_of(records, boundary=n_steps(50))
    np.testing.assert_array_equal(window.observations[:, 0], [0, 1, 10, 11])
    np.testing.assert_array_equal(window.next_observations[:, 0], [1, 2, 11, 12])
    assert window.rewards == [1, 2, 11, 12]
    assert window.terminated == [False, True, False, False]
    assert window.truncated == [False, False, False, True]
    assert window.episode_starts == [0, 2]
    assert (window.episode_returns, window.episode_lengths, window.episode_ends) == ([3.0, 23.0], [2, 2], [1, 3])
    assert window.final_obs is None


def test_rewards_that_answer_no_action_are_counted():
    pipeline = LivePipeline([record(0, 5), record(1, terminated=True), record(2, 0), record(3)], CountingAgent())
    list(pipeline.episodes())
    pipeline.teardown()
    assert pipeline.health["rewards_without_action"] == 1


def test_on_done_signal_is_the_default_and_gives_a_window_for_each_env_episode():
    first = [record(0), record(1, terminated=True)]
    records = [*first, record(0), record(1), record(2, truncated=True), record(0), record(1)]
    assert [w.length for w in windows_of(records)] == [1, 2, 1]


def test_a_window_that_no_signal_ends_ends_at_its_largest_size():
    assert [w.length for w in windows_of([record(t) for t in range(9)], max_window_steps=3)] == [3, 3, 2]


def test_returns_of_env_episodes_reach_back_into_earlier_windows():
    records = [record(0), *[record(t) for t in range(1, 5)], record(5, terminated=True)]
    windows = windows_of(records, boundary=n_steps(2))
    assert [w.episode_returns for w in windows] == [[], [], [15.0]]
    assert windows[-1].episode_lengths == [5]


def test_every_n_seconds_ends_a_window_though_the_feed_is_silent():
    feed = SilentFeed([record(0), record(1)])
    pipeline = LivePipeline(feed, CountingAgent(), LivePipeline.every_n_seconds(0.05))
    window = next(pipeline.episodes())
    pipeline.teardown()
    assert window.length == 1


def test_every_n_seconds_counts_from_the_beginning_of_the_window():
    now = iter(range(1000))  # every look at the clock is a second later
    boundary = LivePipeline.every_n_seconds(6)
    pipeline = LivePipeline([record(t) for t in range(30)], CountingAgent(), boundary, clock=lambda: next(now))
    asked = []
    pipeline._boundary = lambda *args: asked.append(args[1]) or boundary(*args)
    next(pipeline.episodes())
    pipeline.teardown()
    assert asked[-1] >= 6 > asked[-2] > 0


def test_a_boundary_of_ones_own_sees_rows_and_the_latest_observation():
    asked = []

    def boundary(steps, seconds, observation):
        asked.append((steps, float(observation[0])))
        return observation[0] == 3

    windows = windows_of([record(t) for t in range(6)], boundary=boundary)
    assert [w.length for w in windows] == [3, 2]
    assert asked == [(1, 1), (2, 2), (3, 3), (1, 4), (2, 5)]


# -- gaps ------------------------------------------------------------------------------------------------------


def test_nothing_is_credited_across_a_gap():
    feed = ScriptedFeed([record(0), record(1), record(2), GAP, record(50), record(51)])
    (window,) = windows_of(feed, boundary=n_steps(50), reconnect_on_disconnect=False)
    np.testing.assert_array_equal(window.observations[:, 0], [0, 1, 50])
    np.testing.assert_array_equal(window.next_observations[:, 0], [1, 2, 51])
    assert window.rewards == [1, 2, 51]
    assert window.truncated == [False, True, False]
    assert window.episode_returns == []  # of an env episode with a hole nobody knows the return


def test_advantages_stop_at_a_gap():
    """V(s) = 10 s, γ = 0.5, λ = 1: worked out by hand.

    δ = r + γ V(s') - V(s):  row 0→1: 1 + 5 - 0 = 6,  row 1→2: 2 + 10 - 10 = 2, the gap,  row 50→51: 51 + 255 - 500
    = -194. A_0 = 6 + 0.5 · 2 = 7, A_1 = 2 (nothing of what lies behind the gap), A_2 = -194.
    """
    feed = ScriptedFeed([record(0), record(1), record(2), GAP, record(50), record(51)])
    (window,) = windows_of(feed, boundary=n_steps(50), reconnect_on_disconnect=False)
    value = 10.0 * window.observations[:, 0]
    advantages, _ = compute_gae(
        window.rewards, value, window.dones, 0.5, 1.0,
        terminated=window.terminated, next_values=10.0 * window.next_observations[:, 0],
    )  # fmt: skip
    np.testing.assert_allclose(advantages, [7.0, 2.0, -194.0])


def test_a_gap_right_before_the_end_of_a_window_keeps_its_true_successor():
    feed = ScriptedFeed([record(0), record(1), record(2), GAP, record(50)])
    (window,) = windows_of(feed, boundary=n_steps(50), reconnect_on_disconnect=False)
    assert window.final_obs is None
    np.testing.assert_array_equal(window.next_observations[:, 0], [1, 2])
    assert window.truncated == [False, True]


def test_the_env_episode_behind_a_gap_ends_without_a_return_and_the_next_one_has_one():
    behind = [record(5), record(6, terminated=True), record(7), record(8, truncated=True)]
    feed = ScriptedFeed([record(0), record(1), GAP, *behind])
    (window,) = windows_of(feed, boundary=n_steps(50), reconnect_on_disconnect=False)
    assert window.terminated == [False, True, False]  # 0→1 is cut by the gap: no row; 5→6 terminates; 7→8
    assert window.rewards == [1, 6, 8]
    assert (window.episode_returns, window.episode_ends) == ([8.0], [2])


def test_a_gap_between_two_env_episodes_costs_nothing():
    feed = ScriptedFeed([record(0), record(1, terminated=True)], [record(5), record(6, terminated=True)])
    first, second = windows_of(feed, sleep=lambda seconds: None)
    assert (first.episode_returns, second.episode_returns) == ([1.0], [6.0])


def test_rows_behind_a_refused_record_are_not_credited_with_what_it_should_have_said():
    bad = (np.array([np.nan], dtype=np.float32), 1.0, False, False, {})
    (window,) = windows_of([record(0), record(1), bad, record(3), record(4)], boundary=n_steps(50))
    assert window.rewards == [1, 4]
    assert window.truncated == [True, False]


# -- what it accepts -------------------------------------------------------------------------------------------


async def async_records(n):
    for t in range(n):
        yield record(t)


class AsyncFeed:
    async def stream(self):
        for t in range(4):
            yield record(t)


def polled(n):
    left = [record(t) for t in range(n)]

    def poll():
        if not left:
            raise StopIteration
        return left.pop(0)

    return poll


@pytest.mark.parametrize(
    "source",
    [
        lambda: [record(t) for t in range(4)],
        lambda: (record(t) for t in range(4)),
        lambda: async_records(4),
        AsyncFeed,
        lambda: lambda: [record(t) for t in range(4)],
        lambda: lambda: async_records(4),
        lambda: polled(4),
        lambda: [{"observation": [t], "reward": t, "step": t} for t in range(4)],
    ],
    ids=["list", "generator", "async generator", "async stream()", "function of a connection",
         "function of an async connection", "function of a record", "tables"],
)  # fmt: skip
def test_whatever_yields_records_is_a_source(source):
    (window,) = windows_of(source(), boundary=n_steps(50), reconnect_on_disconnect=False)
    assert window.rewards == [1, 2, 3]


@pytest.mark.parametrize("source", [None, 5, "tcp://feed", {"stream": 1}])
def test_what_cannot_be_a_source_is_refused(source):
    with pytest.raises(ConfigError, match="data_source must be"):
        LivePipeline(source)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"buffer_size": 0}, "buffer_size must be a whole number of at least 1, got 0"),
        ({"overflow": "drop_oldes"}, "Did you mean 'drop_oldest'"),
        ({"reorder_window": -1}, "reorder_window must be"),
        ({"key": 5}, "key must be"),
        ({"max_outage": 0}, "max_outage must be"),
        ({"idle_timeout": -1.0}, "idle_timeout must be"),
        ({"max_window_steps": 0}, "max_window_steps must be"),
        ({"episode_boundary_fn": 5}, "episode_boundary_fn must be"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        LivePipeline([], **settings)


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_windows_of_no_rows_are_refused(n):
    with pytest.raises(ConfigError, match="every_n_steps"):
        LivePipeline.every_n_steps(n)


@pytest.mark.parametrize("n", [0, -1, float("nan"), float("inf"), "5"])
def test_windows_of_no_time_are_refused(n):
    with pytest.raises(ConfigError, match="every_n_seconds"):
        LivePipeline.every_n_seconds(n)


def test_without_an_agent_it_says_so():
    with pytest.raises(ConfigError, match="has no agent"):
        next(LivePipeline([record(0)]).episodes())


def test_a_stream_that_hands_out_the_same_spent_iterator_again_has_ended():
    class Once:
        def __init__(self):
            self.records = iter([record(0), record(1)])

        def stream(self):
            return self.records

    assert len(windows_of(Once(), boundary=n_steps(50), sleep=lambda seconds: None)) == 1


# -- stopping --------------------------------------------------------------------------------------------------


def test_leaving_hands_over_the_rows_of_a_silent_feed_and_then_ends():
    feed = SilentFeed([record(0), record(1), record(2)])
    pipeline = LivePipeline(feed, CountingAgent(), n_steps(100))
    windows, got = pipeline.episodes(), []
    thread = threading.Thread(target=lambda: got.extend(windows), daemon=True)
    thread.start()
    wait_until(lambda: pipeline.health["delivered"] == 3)
    began = time.monotonic()
    pipeline.leave_window()
    thread.join(5)
    pipeline.teardown()
    assert time.monotonic() - began < 5  # (about a millisecond; a hang would be for ever)
    assert [w.length for w in got] == [2]


def test_a_pipeline_can_be_set_up_again_and_goes_on_with_the_same_iterator():
    pipeline = LivePipeline((record(t) for t in range(9)), CountingAgent(), n_steps(3), buffer_size=2)
    first = next(pipeline.episodes())
    pipeline.teardown()
    second = next(pipeline.episodes())
    pipeline.teardown()
    assert first.rewards + second.rewards == [1, 2, 3, 4, 5, 6]
    assert balance(pipeline.health) == 0


def test_a_feed_that_blocks_and_cannot_be_interrupted_is_told_and_taken_up_again(caplog):
    gate = threading.Event()

    def records():
        yield record(0)
        yield record(1)
        gate.wait()
        yield record(2)

    pipeline = LivePipeline(records(), CountingAgent(), n_steps(1))
    assert next(pipeline.episodes()).rewards == [1]
    pipeline.teardown()
    assert pipeline.health["feeder_blocked"] == 1
    assert "cannot be interrupted" in caplog.text
    pipeline.setup()
    pipeline.start_reading()
    gate.set()
    assert next(pipeline.episodes()).rewards == [2]
    pipeline.teardown()
    assert not [t for t in threading.enumerate() if t.name == "live feed"]


# -- state -----------------------------------------------------------------------------------------------------


def pipeline_on(source, **settings):
    pipeline = LivePipeline(source, RandomAgent(), n_steps(4), key="t", **settings)
    pipeline.seed(RandomStreams(7))
    return pipeline


def contents(window):
    return (window.observations.tolist(), window.actions.tolist(), window.rewards, window.extras["draw"].tolist(),
            window.next_observations.tolist(), window.episode_id)  # fmt: skip


def test_a_pipeline_continues_exactly_where_its_state_was_taken():
    pipeline = pipeline_on(SeekableFeed(30))
    windows = pipeline.episodes()
    next(windows), next(windows)
    state = pipeline.state_dict()
    expected = [contents(window) for window in windows]
    pipeline.teardown()
    other = pipeline_on(SeekableFeed(30))
    other.load_state_dict(state)
    assert [contents(window) for window in other.episodes()] == expected
    other.teardown()
    assert other.health == pipeline.health
    assert balance(other.health) == 0


def test_a_feed_that_cannot_seek_goes_on_behind_a_gap():
    pipeline = pipeline_on([record(t, t=t) for t in range(20)])
    next(pipeline.episodes())
    state = pipeline.state_dict()
    pipeline.teardown()
    other = pipeline_on([record(t, t=t) for t in range(100, 110)])
    other.load_state_dict(state)
    window = next(other.episodes())
    other.teardown()
    np.testing.assert_array_equal(window.observations[:, 0], [100, 101, 102, 103])
    assert other.health["gaps"] == 1
    assert not other.continues_exactly


class Resumable:
    def __init__(self):
        self.asked = []

    def resume_from(self, key):
        self.asked.append(key)

    def stream(self):
        for t in range(1 + (self.asked[-1] if self.asked else 0), 12):
            yield record(t, t=t)


class ResumableByArgument:
    def __init__(self):
        self.asked = []

    def stream(self, after=None):
        self.asked += [] if after is None else [after]
        for t in range(1 + (after or 0), 12):
            yield record(t, t=t)


@pytest.mark.parametrize("source", [Resumable, ResumableByArgument])
def test_an_object_is_asked_to_go_on_behind_the_last_record_that_was_used(source):
    pipeline = pipeline_on(source(), reconnect_on_disconnect=False)
    next(pipeline.episodes())
    state = pipeline.state_dict()
    pipeline.teardown()
    again = source()
    other = pipeline_on(again, reconnect_on_disconnect=False)
    other.load_state_dict(state)
    window = next(other.episodes())
    other.teardown()
    assert again.asked == [5]
    assert window.rewards == [6, 7, 8, 9]
    assert "gaps" not in other.health


def test_a_window_that_an_error_breaks_off_is_not_mixed_with_the_next_one():
    class FailsOnce(CountingAgent):
        def act(self, observation):
            if observation[0] == 2 and len(self.seen) == 2:
                self.seen.append(None)
                raise RuntimeError("once")
            return super().act(observation)

    pipeline = LivePipeline([record(t) for t in range(7)], FailsOnce(), n_steps(3))
    with pytest.raises(RuntimeError, match="once"):
        next(pipeline.episodes())
    window = next(pipeline.episodes())
    pipeline.teardown()
    np.testing.assert_array_equal(window.observations[:, 0], [3, 4, 5])
    assert window.rewards == [4, 5, 6]


def test_actions_reach_the_world_in_its_own_units():
    from gymnasium.spaces import Box

    world = EchoWorld([0, 0, 0])
    sent = []
    world.act = lambda action: sent.append(action) or world.actions.append(0)
    agent = ConstantAgent(np.array([0.5], dtype=np.float32), acts_in_unit_box=True)
    (window,) = windows_of(world, agent, n_steps(9), action_space=Box(0, 100, (1,)))
    np.testing.assert_allclose(sent[0], [75.0])
    np.testing.assert_allclose(window.actions[0], [0.5])


def test_an_error_in_the_world_that_takes_actions_surfaces():
    world = EchoWorld([0, 0, 0])
    world.act = lambda action: 1 / 0
    with pytest.raises(ZeroDivisionError):
        windows_of(world, NamingAgent())


def test_a_failure_comes_after_the_rows_that_were_collected_before_it():
    feed = ScriptedFeed([record(0), record(1), record(2), ValueError("broken")])
    pipeline = LivePipeline(feed, CountingAgent(), n_steps(2), buffer_size=1)
    windows = pipeline.episodes()
    assert next(windows).rewards == [1, 2]
    with pytest.raises(LiveFeedError, match="ScriptedFeed raised ValueError: broken"):
        next(windows)
    pipeline.teardown()
