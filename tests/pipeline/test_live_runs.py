"""LivePipeline in RLOptimizer: scores without env episodes, ends, stops, resumes."""

import threading
import time

import numpy as np
import pytest
from live_feeds import SeekableFeed, SilentFeed, balance, record, wait_until

from tensor_optix import LiveFeedError, LivePipeline, RLOptimizer, StopReason
from tensor_optix.core.rng import RandomStreams
from tensor_optix.pipeline.live import LiveSource
from tests.core.scripted import ScriptedAgent


def n_steps(n):
    return LivePipeline.every_n_steps(n)


def optimizer(pipeline, tmp_path, agent=None, **settings):
    settings = {"checkpoint_dir": tmp_path, "seed": 5, "evaluation_episodes": 0, **settings}
    return RLOptimizer(agent or ScriptedAgent(), pipeline, **settings)


def test_a_finite_stream_ends_the_run_with_its_best_policy(tmp_path):
    """Rewards rise to window 25 and fall from there on; windows of 2,000 steps are ticks by themselves."""
    rewards = np.repeat(20.0 - np.abs(np.arange(30) - 25), 2000)
    agent = ScriptedAgent()
    pipeline = LivePipeline((record(0, r) for r in [0.0, *rewards]), agent, n_steps(2000))
    opt = optimizer(pipeline, tmp_path, agent)
    opt.run()
    assert opt.result.reason is StopReason.PIPELINE_ENDED
    assert opt.result.windows == 30
    assert opt.result.score == pytest.approx(20.0)  # mean reward per step of window 25
    assert agent.policy == 25
    assert balance(opt.result.health) == 0
    assert opt.result.env_steps == 60_000


def test_a_stream_with_env_episodes_is_scored_by_their_returns(tmp_path):
    records = [record(t % 5, 1.0, terminated=t % 5 == 4) for t in range(100)]
    opt = optimizer(LivePipeline(records), tmp_path)
    opt.run()
    assert opt.result.score == 4.0


def test_stop_ends_a_run_that_waits_for_a_silent_feed(tmp_path):
    pipeline = LivePipeline(SilentFeed([record(0), record(1), record(2)]))
    opt = optimizer(pipeline, tmp_path)
    thread = threading.Thread(target=opt.run, daemon=True)
    thread.start()
    wait_until(lambda: pipeline.health["delivered"] == 3)
    began = time.monotonic()
    opt.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert time.monotonic() - began < 20
    assert opt.result.reason is StopReason.STOPPED
    assert opt.result.windows == 1  # of the two rows that there were
    assert not [t for t in threading.enumerate() if t.name == "live feed"]


def test_stop_ends_a_run_that_has_not_seen_a_single_record(tmp_path):
    opt = optimizer(LivePipeline(SilentFeed()), tmp_path)
    thread = threading.Thread(target=opt.run, daemon=True)
    thread.start()
    wait_until(lambda: any(t.name == "live feed" for t in threading.enumerate()))
    opt.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert (opt.result.reason, opt.result.windows) == (StopReason.STOPPED, 0)


def test_a_feed_that_fails_ends_the_run_with_its_best_policy_in_the_agent(tmp_path):
    def records():
        for t in range(52_000):
            yield record(0, float(t < 46_000))
        raise RuntimeError("broken")

    agent = ScriptedAgent()
    opt = optimizer(LivePipeline(records(), agent, n_steps(2000)), tmp_path, agent)
    with pytest.raises(LiveFeedError, match="raised RuntimeError: broken"):
        opt.run()
    assert opt.best_snapshot is not None
    assert opt.best_snapshot.eval_metrics.primary_score == 1.0
    assert agent.policy == int(opt.best_snapshot.episode_id)


def test_a_live_run_says_how_exactly_it_could_be_resumed(tmp_path):
    exact = optimizer(LivePipeline(SeekableFeed(50), None, n_steps(10), key="t"), tmp_path / "a")
    exact.run()
    assert exact.result.resume.level == "E3"
    inexact = optimizer(LivePipeline([record(t) for t in range(50)], None, n_steps(10)), tmp_path / "b")
    inexact.run()
    assert inexact.result.resume.level == "E1"


def test_a_resumed_run_continues_with_the_record_behind_the_last_one_that_was_used(tmp_path):
    def run(**settings):
        agent = ScriptedAgent()
        pipeline = LivePipeline(SeekableFeed(200), agent, n_steps(10), key="t")
        opt = optimizer(pipeline, tmp_path, agent, **settings)
        opt.run()
        return opt, pipeline

    first, _ = run(max_episodes=4)
    assert first.result.windows == 4
    second, pipeline = run(max_episodes=8, resume=True)
    assert second.result.windows == 8
    assert pipeline.health["delivered"] == 81  # 8 windows of 10 rows and the record behind them, each once
    assert "gaps" not in pipeline.health


class DelayedChoice(LiveSource):
    """Observation: one of two contexts. The record that follows pays 1 if the action named the context, else 0."""

    takes_actions = ends = True

    def __init__(self, n, seed):
        self.contexts = np.random.default_rng(seed).integers(0, 2, n)
        self.action = 0

    def act(self, action):
        self.action = int(action)

    def stream(self, after=None):
        before = None
        for context in self.contexts:
            reward = 0.0 if before is None else float(self.action == before)
            yield np.float32([context == 0, context == 1]), reward, False, False, {}
            before = context


class PolicyGradient(ScriptedAgent):
    """REINFORCE on a table of logits, one row for each context (Williams 1992): knows nothing but the rows it gets."""

    def __init__(self):
        super().__init__()
        self.logits = np.zeros((2, 2))

    def act_batch(self, observations, *, rng, deterministic=False):
        odds = np.exp(self.logits[observations[:, 1].astype(int)])
        return (rng.random(len(odds)) < odds[:, 1] / odds.sum(axis=1)).astype(int), {}

    def learn(self, episode_data):
        context = episode_data.observations[:, 1].astype(int)
        advantage = np.array(episode_data.rewards) - np.mean(episode_data.rewards)
        for row, action, gain in zip(context, episode_data.actions, advantage, strict=True):
            probability = np.exp(self.logits[row]) / np.exp(self.logits[row]).sum()
            self.logits[row] += 0.1 * gain * (np.eye(2)[action] - probability)
        return {}


def test_an_agent_learns_from_a_stream_whose_reward_comes_with_the_next_record():
    """Acting at random earns 0.5 a step; credit that is one record off can earn no more than that."""
    agent = PolicyGradient()
    pipeline = LivePipeline(DelayedChoice(12 * 200 + 1, seed=1), agent, n_steps(200))
    pipeline.seed(RandomStreams(3))
    means = []
    for window in pipeline.episodes():
        means.append(float(np.mean(window.rewards)))
        agent.learn(window)
    pipeline.teardown()
    assert means[0] < 0.7
    assert means[-1] > 0.9
