"""The power may go at any instant, and take with it whatever was not synced: nothing promised is ever lost.

The same checker must find the loss in protocols that leave a sync out; otherwise it would prove nothing.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_file_systems import (
    Operation,
    RecordingFileSystem,
    WithoutDirectorySync,
    WithoutFileSync,
    WithoutParentSync,
    WithoutSync,
)
from fault_power_loss import moved, states_after_power_loss, write_tree
from fault_scenarios import SOUND, Lost, Scenario, WronglyAccepted, prepared, scenarios, tell

from tensor_optix.storage import FileSystem, SnapshotStore

BY_NAME = {scenario.name: scenario for scenario in scenarios()}


def lose_power_everywhere(
    scenario: Scenario, recorder: RecordingFileSystem, *, first_loss_only: bool = False
) -> Counter[str]:
    """How many states the checker found "sound", "lost" or "accepted" that should not be.

    ``first_loss_only`` looks only at states in which something had been promised, and ends with the first failure.
    """
    verdicts: Counter[str] = Counter()
    with prepared(scenario) as scratch:
        before, acted, root = (scratch / name for name in ("prepared", "acted", "root"))
        shutil.copytree(before, acted)
        scenario.act(recorder, acted, recorder.acknowledge)
        for tree, promises, last in states_after_power_loss(before, moved(recorder.log, acted, before)):
            if first_loss_only and not promises:
                continue
            write_tree(tree, root)
            verdicts[verdict(scenario, root, promises, last)] += 1
            shutil.rmtree(root)
            if first_loss_only and verdicts["lost"] + verdicts["accepted"]:
                break
    return verdicts


def verdict(scenario: Scenario, root: Path, promises: frozenset[str], last: Operation | None) -> str:
    """What the scenario's check says of one state; ``last`` is what happened last before it."""
    try:
        scenario.check(root, set(promises), True)
    except (Lost, WronglyAccepted) as error:
        tell(f"{scenario}: {type(error).__name__}: {error}; {sorted(promises)} promised; after {last}")
        return "lost" if isinstance(error, Lost) else "accepted"
    return "sound"


@pytest.mark.parametrize("scenario", scenarios(), ids=str)
def test_nothing_promised_is_lost_whenever_the_power_goes(scenario: Scenario) -> None:
    verdicts = lose_power_everywhere(scenario, RecordingFileSystem())
    tell(f"{scenario}: {verdicts.total()} states after power loss")
    assert verdicts["sound"] > 0
    assert (verdicts["lost"], verdicts["accepted"]) == (0, 0)


@pytest.mark.parametrize("mutant", [WithoutFileSync, WithoutDirectorySync, WithoutParentSync])
@pytest.mark.parametrize("scenario", [BY_NAME["commit and prune"], BY_NAME["replaced archive"]], ids=str)
def test_a_protocol_that_leaves_out_a_sync_is_caught(
    scenario: Scenario, mutant: type[RecordingFileSystem]
) -> None:
    assert lose_power_everywhere(scenario, mutant(), first_loss_only=True)["lost"] == 1


def test_no_sync_of_a_commit_is_superfluous() -> None:
    scenario = BY_NAME["first commit"]
    with prepared(scenario) as scratch:
        recorder = RecordingFileSystem()
        scenario.act(recorder, scratch / "prepared", recorder.acknowledge)
    n_syncs = sum(entry.kind == "sync" for entry in recorder.log)
    assert n_syncs > 0
    for number in range(n_syncs):
        verdicts = lose_power_everywhere(scenario, WithoutSync(number), first_loss_only=True)
        assert verdicts["lost"] == 1, f"leaving out sync {number} goes unnoticed"


def test_a_mark_that_a_killed_process_left_is_made_sure_of_by_the_next() -> None:
    """The newest is removed, after a mark of its number had been made but not forced to the disk."""
    scenario = BY_NAME["commit and prune of the same"]

    def act(fs: FileSystem, root: Path, promise: Callable[[str], None]) -> None:
        store = SnapshotStore(fs, root / "run" / "snapshots")
        newest = max(store.generations())
        fs.append(store.directory / f".retired-{newest:012d}", b"")
        store.remove(newest)

    def check(root: Path, promises: set[str], power_lost: bool) -> None:
        store = SnapshotStore(SOUND, root / "run" / "snapshots")
        if store.commit({}, {}, {}) <= 5:
            raise Lost("a number was given out again")

    def prepare(root: Path) -> None:
        scenario.prepare(root)
        SnapshotStore(SOUND, root / "run" / "snapshots").commit({}, {}, {})

    removal = Scenario("removal of the newest", prepare, act, check)
    assert lose_power_everywhere(removal, RecordingFileSystem())["lost"] == 0


def test_a_directory_that_a_killed_process_made_is_made_sure_of_by_the_next() -> None:
    scenario = BY_NAME["first commit"]
    made = Scenario(
        scenario.name,
        scenario.prepare,
        lambda fs, root, promise: (fs.make_directory(root / "run" / "snapshots"), scenario.act(fs, root, promise)),
        scenario.check,
    )
    assert lose_power_everywhere(made, RecordingFileSystem())["lost"] == 0
