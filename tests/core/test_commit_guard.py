"""Training goes on when a commit fails, but not for ever."""

import pytest

from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.training_states import TrainingStates
from tensor_optix.errors import CheckpointError
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline


def fail():
    raise CheckpointError("disk", "is full")


def test_a_failed_commit_is_counted_and_the_third_in_a_row_surfaces():
    guard = CommitGuard()
    assert guard.attempt(fail) is None
    assert guard.attempt(fail) is None
    with pytest.raises(CheckpointError, match="is full"):
        guard.attempt(fail)
    assert guard.health == {"commits_failed": 3}


def test_a_commit_that_succeeds_begins_the_count_anew():
    guard = CommitGuard()
    for _ in range(5):
        guard.attempt(fail)
        guard.attempt(fail)
        assert guard.attempt(lambda: "done") == "done"


def test_a_disk_that_is_full_for_a_moment_costs_a_run_nothing_but_that_commit(tmp_path, monkeypatch):
    from tensor_optix import RLOptimizer

    parts = ScriptedAgent(), ScriptedPipeline([1, 2, 3]), FirstReward()
    opt = RLOptimizer(*parts, checkpoint_dir=tmp_path, max_episodes=3)
    save, calls = opt.registry.save, []

    def full_once(*arguments):
        calls.append(arguments)
        return fail() if len(calls) == 2 else save(*arguments)

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
