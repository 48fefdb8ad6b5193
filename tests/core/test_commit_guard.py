"""Training goes on when a commit fails, but not for ever."""

import dataclasses

import pytest

from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.training_states import TrainingStates
from tensor_optix.errors import CheckpointError
from tensor_optix.storage import SnapshotStore
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline


def fail():
    raise CheckpointError("disk", "is full")


class Clock:
    """Stands still unless told."""

    minutes = 0.0

    def __call__(self):
        return 60 * self.minutes


@pytest.fixture
def clock():
    return Clock()


def test_a_failed_commit_is_counted_and_the_third_in_a_row_surfaces(clock):
    guard = CommitGuard(clock, None)
    assert guard.attempt(fail, "snapshot") is None
    assert guard.attempt(fail, "snapshot") is None
    with pytest.raises(CheckpointError, match="is full"):
        guard.attempt(fail, "snapshot")
    assert guard.health == {"commits_failed": 3}


def test_a_commit_that_succeeds_begins_the_count_anew(clock):
    guard = CommitGuard(clock, None)
    for _ in range(5):
        guard.attempt(fail, "snapshot")
        guard.attempt(fail, "snapshot")
        assert guard.attempt(lambda: "done", "snapshot") == "done"


def test_what_could_not_be_committed_for_too_long_surfaces(clock):
    guard = CommitGuard(clock, 30)
    clock.minutes = 100  # how long it went well before does not count
    assert guard.attempt(fail, "snapshot") is None
    clock.minutes = 130
    with pytest.raises(CheckpointError, match=r"is full.*no snapshot could be committed for 30 minutes"):
        guard.attempt(fail, "snapshot")
    assert guard.health == {"commits_failed": 2}


def test_a_success_begins_the_time_anew(clock):
    guard = CommitGuard(clock, 30)
    for _ in range(3):
        assert guard.attempt(fail, "snapshot") is None
        clock.minutes += 29
        assert guard.attempt(lambda: "done", "snapshot") == "done"
        clock.minutes += 29


def test_small_commits_that_succeed_do_not_hide_large_ones_that_never_do(clock):
    guard = CommitGuard(clock, 30)
    for _ in range(30):
        guard.attempt(lambda: "done", "snapshot")
        guard.attempt(fail, "training state")
        clock.minutes += 1
    with pytest.raises(CheckpointError, match="no training state could be committed for 30 minutes"):
        guard.attempt(fail, "training state")


def test_without_a_limit_time_ends_nothing(clock):
    guard = CommitGuard(clock, None)
    for _ in range(9):
        guard.attempt(lambda: "done", "snapshot")
        assert guard.attempt(fail, "training state") is None
        clock.minutes += 1e9


def test_running_out_of_memory_is_a_failed_commit(clock):
    def out_of_memory():
        raise MemoryError

    guard = CommitGuard(clock, None)
    assert guard.attempt(out_of_memory, "snapshot") is None
    assert guard.attempt(out_of_memory, "snapshot") is None
    with pytest.raises(CheckpointError, match="snapshot: could not be committed: out of memory") as caught:
        guard.attempt(out_of_memory, "snapshot")
    assert isinstance(caught.value.__cause__, MemoryError)
    assert guard.health == {"commits_failed": 3}


@pytest.mark.parametrize(("limit", "n_learned"), [(30, 3), (None, 8)])
def test_a_run_whose_state_cannot_be_committed_ends_after_the_set_time(tmp_path, monkeypatch, clock, limit, n_learned):
    from tensor_optix import RLOptimizer

    class Slow(ScriptedAgent):
        def learn(self, episode_data):
            clock.minutes += 10
            return super().learn(episode_data)

    monkeypatch.setattr(TrainingStates, "commit", lambda *_: fail())
    agent = Slow()
    settings = {"max_episodes": 8, "max_unsaved_minutes": limit, "evaluation_episodes": 0}
    opt = RLOptimizer(agent, ScriptedPipeline(range(8)), FirstReward(), checkpoint_dir=tmp_path, **settings)
    loop = LoopController(dataclasses.replace(opt._parts, clock=clock), opt._config)
    if limit is None:
        assert loop.run().health == {"commits_failed": 9}
    else:
        with pytest.raises(CheckpointError, match=r"is full.*no training state could be committed for 30 minutes"):
            loop.run()
    assert sum(entry.startswith("learn") for entry in agent.log) == n_learned



def test_a_disk_that_is_full_for_a_moment_costs_a_run_nothing_but_that_commit(tmp_path, monkeypatch):
    from tensor_optix import RLOptimizer

    parts = ScriptedAgent(), ScriptedPipeline([1, 2, 3]), FirstReward()
    opt = RLOptimizer(*parts, checkpoint_dir=tmp_path, max_episodes=3)
    save, calls = opt.registry.save, []

    def full_once(*arguments, **ranked_by):
        calls.append(arguments)
        return fail() if len(calls) == 2 else save(*arguments, **ranked_by)

    monkeypatch.setattr(opt.registry, "save", full_once)
    opt.run()
    assert opt.result.score == 3
    assert opt.result.health == {"commits_failed": 1}


def test_training_states_are_committed_for_a_share_of_the_time_only(tmp_path):
    now = [0.0]

    def clock():
        now[0] += 1.0  # every reading takes a second: a commit seems to last two
        return now[0]

    states = TrainingStates(tmp_path, clock)
    assert states.is_due
    states.commit({"x": 1}, None)
    readings = 0
    while not states.is_due:
        readings += 1
    assert 40 <= readings <= 110


def test_only_the_newest_training_state_is_kept(tmp_path):
    states = TrainingStates(tmp_path, lambda: 0.0)
    for number in range(3):
        states.commit({"number": number}, None)
    assert len(list((tmp_path / "training").glob("0*"))) == 1
    assert states.newest() == ({"number": 2}, None)


def test_a_state_that_could_not_be_committed_is_tried_again_for_a_share_of_the_time_only(tmp_path, monkeypatch):
    now = [0.0]
    states = TrainingStates(tmp_path, lambda: now[0])

    def fail_slowly(*_):
        now[0] += 1.0
        fail()

    monkeypatch.setattr(SnapshotStore, "commit", fail_slowly)
    with pytest.raises(CheckpointError):
        states.commit({}, None)
    assert not states.is_due
    now[0] += 50.0
    assert states.is_due
