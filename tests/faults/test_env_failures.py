"""Environments of this process that fail too often, or hang."""

import signal
import threading
import time

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from watching_agent import Watching

from tensor_optix import BatchPipeline, ConfigError, EnvError, EnvHangs, VectorBatchPipeline
from tensor_optix.pipeline.failures import HOUR_SECONDS, Failures
from tensor_optix.testing import ConstantRewardChain
from tests.failing_env import FailsEverySecondEpisode


class FakeClock:
    now = 0.0

    def __call__(self):
        return self.now


# -- three in a row, ten an hour -----------------------------------------------------------------------------------


def test_three_failures_in_a_row_are_repaired_and_an_env_episode_in_between_starts_the_count_anew():
    failures = Failures(FakeClock())
    for _ in range(2):
        for _ in range(3):
            assert failures.verdict() is None
            failures.add()
        assert "3 times in a row" in failures.verdict()
        failures.episode_ended()
    assert failures.verdict() is None


def test_ten_failures_within_any_hour_are_repaired():
    clock = FakeClock()
    failures = Failures(clock)
    for clock.now in [0.0, *range(100, 1000, 100)]:
        assert failures.verdict() is None
        failures.add()
        failures.episode_ended()
    for clock.now in (1000.0, HOUR_SECONDS - 1.0):
        assert "10 times within an hour" in failures.verdict()
    clock.now = HOUR_SECONDS
    assert failures.verdict() is None  # the first one is an hour ago
    failures.add()
    failures.episode_ended()
    assert "within an hour" in failures.verdict()
    clock.now = HOUR_SECONDS + 100.0
    assert failures.verdict() is None


def test_an_environment_that_fails_every_second_env_episode_ends_the_run_at_its_eleventh_failure():
    pipeline = BatchPipeline(lambda: FailsEverySecondEpisode(100, limit=3), Watching(), 500)
    with pytest.raises(EnvError, match=r"raised in step 2 of env episode 21: ValueError") as failure:
        next(pipeline.episodes())
    assert pipeline.health == {"env_rebuilt": 10}
    assert any("given up: it was built anew 10 times within an hour" in note for note in failure.value.__notes__)


# -- no answer -----------------------------------------------------------------------------------------------------


class Hanging(ConstantRewardChain):
    """Hangs in its second step, or in its reset, in one of several ways."""

    def __init__(self, how="sleeps", where="step"):
        super().__init__(5)
        self.how, self.where = how, where

    def reset(self, *, seed=None, options=None):
        if self.where == "reset":
            self.hang()
        return super().reset(seed=seed)

    def step(self, action):
        if self.where == "step" and self.steps == 1:
            self.hang()
        return super().step(action)

    def hang(self):
        while True:
            try:
                if self.how != "spins":
                    time.sleep(3600)
            except EnvHangs:
                if self.how != "insists":
                    raise
                self.how = "gives in"


def once(**keywords):
    """A factory that gives one that hangs, then sound ones."""
    envs = iter([Hanging(**keywords)])
    return lambda: next(envs, None) or ConstantRewardChain(5)


@pytest.mark.parametrize("keywords", [{}, {"how": "spins"}, {"how": "insists"}, {"where": "reset"}], ids=str)
@pytest.mark.usefixtures("alarm_of_another")
def test_an_environment_that_hangs_is_interrupted_shown_and_replaced(keywords, capfd):
    handler = signal.getsignal(signal.SIGALRM)
    pipeline = BatchPipeline(once(**keywords), Watching(), 8, step_timeout=0.1)
    window = next(pipeline.episodes())
    assert window.length == 8
    assert pipeline.health == {"env_rebuilt": 1, "env_hung": 1}
    assert window.truncated[0] == (keywords.get("where") != "reset")
    assert "in hang" in capfd.readouterr().err  # the stacks of all threads
    assert signal.getsignal(signal.SIGALRM) == handler
    assert 0.0 < signal.getitimer(signal.ITIMER_REAL)[0] < 100.0


@pytest.fixture
def alarm_of_another():
    before = signal.setitimer(signal.ITIMER_REAL, 100.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, *before)


def test_a_handed_over_environment_that_hangs_fails_at_once_in_training_and_in_evaluation():
    pipeline = BatchPipeline(Hanging(), Watching(), 8, step_timeout=0.1)
    for collect in (lambda: next(pipeline.episodes()), lambda: pipeline.evaluate(Watching(), seeds=[1])):
        with pytest.raises(EnvError, match=r"step 2 .*EnvHangs: no answer to step within 0.1 seconds") as failure:
            collect()
        assert isinstance(failure.value.__cause__, EnvHangs)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_vector_environment_that_hangs_fails_at_once(mode):
    vector = SyncVectorEnv([Hanging, lambda: ConstantRewardChain(5)], autoreset_mode=mode)
    with pytest.raises(EnvError, match=r"raised in step: EnvHangs: no answer to step within 0.1 seconds"):
        next(VectorBatchPipeline(vector, Watching(), 8, step_timeout=0.1).episodes())


def test_time_outside_of_the_environment_does_not_count():
    class Slow(Watching):
        def act(self, observation):
            time.sleep(0.05)
            return super().act(observation)

    pipeline = BatchPipeline(lambda: ConstantRewardChain(5), Slow(), 4, step_timeout=0.02)
    assert next(pipeline.episodes()).length == 4
    assert pipeline.health == {}


def test_a_thread_that_cannot_be_interrupted_is_told_once(caplog):
    pipeline = BatchPipeline(lambda: ConstantRewardChain(5), Watching(), 4, step_timeout=5.0)
    lengths = []
    thread = threading.Thread(target=lambda: lengths.extend(next(pipeline.episodes()).length for _ in range(2)))
    thread.start()
    thread.join()
    assert lengths == [4, 4]
    assert caplog.text.count("step_timeout=5 has no effect: only the main thread can be interrupted") == 1


@pytest.mark.parametrize("seconds", [0, -1.0, True, "soon", float("inf"), float("nan")])
def test_what_is_no_time_is_refused(seconds):
    with pytest.raises(ConfigError, match="step_timeout"):
        BatchPipeline(lambda: ConstantRewardChain(5), step_timeout=seconds)
    with pytest.raises(ConfigError, match="step_timeout"):
        VectorBatchPipeline([lambda: gym.make("CartPole-v1")], async_envs=True, step_timeout=seconds)
