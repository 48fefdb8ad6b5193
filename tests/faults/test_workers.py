"""Environments in processes of their own that die, hang, raise, or lose their parent."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from troubled_env import LENGTH, Troubled
from watching_agent import Watching

from tensor_optix import ConfigError, EnvError, EnvWorkerDied, VectorBatchPipeline
from tensor_optix.core.rng import RandomStreams
from tensor_optix.pipeline import workers


def pipeline_of(env_fns, window_size=8, **keywords):
    pipeline = VectorBatchPipeline(env_fns, Watching(), window_size, **keywords)
    pipeline.seed(RandomStreams(0))
    return pipeline


def windows_of(pipeline, n=2):
    iterator = pipeline.episodes()
    try:
        return [next(iterator) for _ in range(n)]
    finally:
        iterator.close()
        pipeline.teardown()


def rows(window, index):
    return window.observations[slice(*window.segments[index])].tolist()


@pytest.fixture
def sound():
    """Windows of two environments without trouble, collected in this process."""
    return windows_of(pipeline_of([Troubled] * 2))


def test_processes_give_the_same_windows_as_environments_here_and_none_stays(sound):
    lambdas = [lambda: Troubled() for _ in range(2)]
    pipeline = pipeline_of(lambdas, async_envs=True)
    before = threading.active_count()
    apart = windows_of(pipeline)
    for a, b in zip(sound, apart, strict=True):
        assert a.observations.tobytes() == b.observations.tobytes()
        assert a.next_observations.tobytes() == b.next_observations.tobytes()
        assert (a.rewards, a.terminated, a.episode_ends) == (b.rewards, b.terminated, b.episode_ends)
        assert len({info["worker"] for info in b.infos} - {os.getpid()}) == 2
    assert all(lane.env is None for lane in pipeline._lanes)
    assert threading.active_count() == before
    pids = {info["worker"] for info in apart[0].infos}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_run_with_processes_goes_on_where_it_was_saved_with_processes_or_without():
    pipeline = pipeline_of([Troubled], async_envs=True)
    iterator = pipeline.episodes()
    next(iterator)
    state, expected = pipeline.state_dict(), next(iterator)
    iterator.close()
    for is_apart in (True, False):
        resumed = VectorBatchPipeline([Troubled], Watching(), 8, is_apart)
        resumed.load_state_dict(state)
        again = windows_of(resumed, 1)[0]
        assert again.observations.tobytes() == expected.observations.tobytes()
        assert again.next_observations.tobytes() == expected.next_observations.tobytes()
        assert resumed.health == {}
    pipeline.teardown()


def test_processes_in_trouble_at_the_same_time_are_replaced_alone_named_and_counted(sound, tmp_path, caplog):
    troubles = ["dies", "aborts", "hangs", "raises"]
    troubled = [lambda trouble=trouble: Troubled(trouble, tmp_path / trouble) for trouble in troubles]
    windows = windows_of(pipeline := pipeline_of([Troubled, *troubled], async_envs=True, step_timeout=2.0))
    assert pipeline.health == {"env_rebuilt": 4, "worker_died": 2, "worker_hung": 1, "worker_raised": 1}
    for a, b in zip(sound, windows, strict=True):
        assert rows(a, 0) == rows(b, 0)
    for index in range(1, 5):
        assert f"Troubled (environment {index}) raised in step 3 of env episode 0" in caplog.text
        start, stop = windows[0].segments[index]
        assert stop - start == 8
        assert windows[0].truncated[start:stop] == [False, True] + [False] * 6
        assert windows[0].observations[start:stop, 1].tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
        assert windows[0].next_observations[start + 1, 1] == 2


def test_trouble_in_a_reset_is_no_other(tmp_path):
    troubled = [lambda how=how: Troubled(how, tmp_path / how, "reset") for how in ("dies", "hangs")]
    pipeline = pipeline_of(troubled, async_envs=True, step_timeout=2.0)
    assert windows_of(pipeline, 1)[0].length == 16
    assert pipeline.health == {"env_rebuilt": 2, "worker_died": 1, "worker_hung": 1}


def test_any_process_may_be_killed_at_any_step():
    class Killing(Watching):
        """Kills the process of one environment before some of its calls."""

        def __init__(self):
            super().__init__()
            rng, self.calls, self.killed = np.random.default_rng(7), 0, []
            calls = rng.choice(np.arange(2, 20), 2, replace=False)
            self.plan = dict(zip(calls.tolist(), rng.permutation(2).tolist(), strict=True))

        def act_batch(self, observations, **keywords):
            self.calls += 1
            if (index := self.plan.get(self.calls)) is not None:
                process = pipeline._lanes[index].env._process
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                self.killed.append(index)
            return super().act_batch(observations, **keywords)

    agent = Killing()
    pipeline = VectorBatchPipeline([Troubled] * 2, agent, 12, async_envs=True)
    windows = windows_of(pipeline, 2)
    assert sorted(agent.killed) == [0, 1]
    assert pipeline.health == {"env_rebuilt": 2, "worker_died": 2}
    for window in windows:
        assert window.segments == [(0, 12), (12, 24)]
        steps, successors = window.observations[:, 1], window.next_observations[:, 1]
        assert (successors - steps == 1).all()  # no transition reaches across a death
        assert (window.observations[:, 0] == window.next_observations[:, 0]).all()
    n_cut = sum(window.truncated[row] for window in windows for row in range(window.length))
    assert n_cut <= 2  # one a death, unless it came in the first step of an env episode
    assert all(length == LENGTH for window in windows for length in window.episode_lengths)


def test_three_times_in_a_row_is_enough():
    pipeline = pipeline_of([lambda: Troubled("dies")], 16, async_envs=True)
    with pytest.raises(EnvError, match="Troubled raised in step 3 of env episode 3") as failure:
        windows_of(pipeline, 1)
    assert isinstance(failure.value.__cause__, EnvWorkerDied)
    assert pipeline.health["env_rebuilt"] == 3


def test_a_process_that_cannot_build_its_environment_says_why(monkeypatch):
    with pytest.raises(EnvError, match=r"environment 1 was not built: ValueError: out of order"):
        windows_of(pipeline_of([Troubled, lambda: Troubled("raises", where="start")], async_envs=True))
    monkeypatch.setattr(workers, "START_TIMEOUT_SECONDS", 1.0)
    pipeline = pipeline_of([lambda: Troubled("hangs", where="start")], async_envs=True, step_timeout=1.0)
    with pytest.raises(EnvError, match="no answer to start within 1 seconds"):
        windows_of(pipeline)


def test_what_cannot_be_sent_to_a_process_is_refused_and_nothing_falls_back():
    lock = threading.Lock()
    pipeline = pipeline_of([lambda: (lock, Troubled())[1]], async_envs=True)
    with pytest.raises(ConfigError, match="factory of environment 0 cannot be sent to a process of its own"):
        windows_of(pipeline)


def test_close_returns_soon_whatever_the_processes_do(monkeypatch):
    monkeypatch.setattr(workers, "CLOSE_TIMEOUT_SECONDS", 0.3)
    pipeline = pipeline_of([lambda: Troubled("hangs", where="close")], async_envs=True)
    next(pipeline.episodes())
    process = pipeline._lanes[0].env._process
    begun = time.monotonic()
    pipeline.teardown()
    assert not process.is_alive()
    assert time.monotonic() - begun < 30  # not the hour that they sleep


def test_an_interrupt_between_two_steps_leaves_no_result_behind(sound):
    pipeline = pipeline_of([Troubled], async_envs=True)
    pipeline.setup()
    worker = pipeline._lanes[0].env
    worker.begin("step", 0)  # as where an interrupt came before its result was asked for
    windows = windows_of(pipeline)
    for a, b in zip(sound, windows, strict=True):
        assert rows(a, 0) == b.observations.tolist()


SCRIPT = """
import os, sys, time
import gymnasium as gym
from tensor_optix import VectorBatchPipeline
sys.path.insert(0, {folder!r})
from watching_agent import Watching

class Slow(gym.Wrapper):
    def step(self, action):
        if {hangs}:
            print("hangs", flush=True)
            time.sleep(3600)
        return self.env.step(action)

env_fns = [lambda: Slow(gym.make("CartPole-v1")), lambda: gym.make("CartPole-v1")]
pipeline = VectorBatchPipeline(env_fns=env_fns, agent=Watching(), window_size=4, async_envs=True)
pipeline.setup()
print(*[lane.env._process.pid for lane in pipeline._lanes], flush=True)
window = next(pipeline.episodes())
print(window.length, flush=True)
"""


def script(tmp_path, *, hangs):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT.format(folder=str(Path(__file__).parent), hangs=hangs)))
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)


def still_there(pids, within):
    deadline = time.monotonic() + within
    while (alive := [pid for pid in pids if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [below for child in children for below in descendants(child)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_script_without_a_main_guard_runs_and_leaves_nobody_behind(tmp_path):
    process = script(tmp_path, hangs=False)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert process.stdout.readline() == "8\n"
    assert process.wait(60) == 0
    process.stdout.close()
    assert len(pids) == 2
    assert not still_there(pids, within=3)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_outlives_a_parent_that_is_killed_while_one_hangs(tmp_path):
    process = script(tmp_path, hangs=True)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert process.stdout.readline() == "hangs\n"
    below = descendants(process.pid)
    assert set(pids) <= set(below)
    process.kill()
    process.wait(10)
    process.stdout.close()
    assert not still_there(below, within=3)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_is_left_to_the_parent():
    pipeline = pipeline_of([Troubled], async_envs=True)
    pipeline.setup()
    os.kill(pipeline._lanes[0].env._process.pid, signal.SIGINT)
    assert windows_of(pipeline, 1)[0].length == 8
    assert pipeline.health == {}


def test_processes_started_from_a_thread_outlive_that_thread():
    pipeline = pipeline_of([Troubled], async_envs=True)
    thread = threading.Thread(target=pipeline.setup)
    thread.start()
    thread.join()
    assert windows_of(pipeline, 1)[0].length == 8
    assert pipeline.health == {}
