"""Every operation on the disk may fail: the answer is a typed error or success, and nothing that was there is lost."""

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from fault_file_systems import FaultFileSystem
from fault_power_loss import Tree
from fault_scenarios import (
    SOUND,
    Agent,
    Scenario,
    in_child,
    loading,
    open_registry,
    prepared,
    save,
    scenarios,
    tell,
)

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.errors import CheckpointError, ConfigError
from tensor_optix.storage import FileSystem, RunDirectory, read_archive, save_archive

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


def fail_everywhere(scenario: Scenario) -> int:
    """Number of cases: every operation, every error, once and for ever, each followed by the scenario's check."""
    n_cases = 0
    checked: set[tuple[Tree, frozenset[str]]] = set()  # many faults leave the same directory behind
    with prepared(scenario) as scratch:
        before, root = scratch / "prepared", scratch / "failed"
        kinds = [(error, for_ever, False) for error in ERRORS for for_ever in (False, True)]
        for error, for_ever, short in [*kinds, (errno.ENOSPC, False, True), (errno.ENOSPC, True, True)]:
            fail_at = 0
            while True:
                fs = FaultFileSystem(fail_at, error, for_ever=for_ever, short=short)
                shutil.copytree(before, root)
                promises = act_on(fs, scenario, root)
                if not fs.failed:
                    break
                left = (content(root), promises)
                if left not in checked:
                    fault = f"{os.strerror(error)} at operation {fail_at}, {for_ever=}, {short=}"
                    check(scenario, root, promises, fault)
                    checked.add(left)
                shutil.rmtree(root)
                n_cases += 1
                fail_at += 1
            shutil.rmtree(root)
    return n_cases


def act_on(fs: FileSystem, scenario: Scenario, root: Path) -> frozenset[str]:
    """What was promised before a typed error, if there was one."""
    promises: set[str] = set()
    with suppress(CheckpointError):
        scenario.act(fs, root, promises.add)
    return frozenset(promises)


def check(scenario: Scenario, root: Path, promises: frozenset[str], fault: str) -> None:
    try:
        scenario.check(root, set(promises), False)
    except AssertionError as error:
        error.add_note(f"after {fault}, {sorted(promises)}")
        raise


def content(path: Path) -> Tree:
    """What is on the disk, without the random ends of names."""
    if path.is_file():
        return path.read_bytes()
    return tuple(sorted((re.sub("-[0-9a-f]{8}$", "", child.name), content(child)) for child in path.iterdir()))


@pytest.mark.parametrize("scenario", [*scenarios(), loading()], ids=str)
def test_an_error_anywhere_is_told_and_loses_nothing(scenario: Scenario) -> None:
    n_cases = fail_everywhere(scenario)
    tell(f"{scenario}: {n_cases} I/O errors")
    assert n_cases > 0


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_the_commit_after_a_passing_error_succeeds(error: int, tmp_path: Path) -> None:
    RunDirectory.create(SOUND, tmp_path, "run", {}).release()
    n_failed, n_refused = 0, 0
    while True:
        fs = FaultFileSystem(-1, error)
        registry = open_registry(fs, tmp_path)
        fs.number, fs.fail_at = -1, n_failed
        try:
            save(registry, Agent(fs, n_failed))
        except CheckpointError:
            n_refused += 1
        if not fs.failed:
            break
        n_failed += 1
        save(registry, Agent(fs, n_failed + 0.5))
        agent = Agent(fs)
        registry.load_best(agent)
        assert agent.weight[0] == n_failed + 0.5
    assert 10 < n_refused <= n_failed


def test_a_snapshot_that_cannot_be_read_just_now_is_passed_over_and_comes_back(tmp_path: Path) -> None:
    RunDirectory.create(SOUND, tmp_path, "run", {}).release()
    fs = FaultFileSystem(-1, errno.EIO)
    registry = open_registry(fs, tmp_path)
    for score in (1.0, 2.0):
        save(registry, Agent(fs, score))
    assert len(registry.snapshots) == 2
    seen = set()
    for fail_at in range(60):
        agent = Agent(fs)
        fs.number, fs.fail_at = -1, fail_at
        with suppress(CheckpointError):
            registry.load_best(agent)
        seen.add(agent.weight[0])
        fs.heal()
        registry.load_best(agent)
        assert agent.weight[0] == 2.0
    assert seen == {0.0, 1.0, 2.0}
    fs.fail_at, fs.for_ever, fs.number = 2, True, -1
    with pytest.raises(CheckpointError):
        registry.load_best(Agent(fs))


class ReadOnly(FileSystem):
    """Raises when anything is about to be changed; notes that it happened."""

    n_attempts = 0

    def _refuse(self, path: Path, *_: object) -> None:
        self.n_attempts += 1
        raise CheckpointError(path, "cannot change it") from OSError(errno.EROFS, os.strerror(errno.EROFS))

    make_directory = write_new = append = rename = remove_file = remove_tree = lock = _refuse  # type: ignore[assignment]


def test_loading_from_a_read_only_directory_works_and_tries_to_write_nothing(tmp_path: Path) -> None:
    RunDirectory.create(SOUND, tmp_path, "run", {"seed": 1}).release()
    save(open_registry(SOUND, tmp_path), Agent(SOUND, 3.0))
    save_archive(SOUND, tmp_path / "final", state=1, arrays={}, meta={})
    fs, agent = ReadOnly(), Agent()
    assert RunDirectory.open(fs, tmp_path / "run").identity == {"seed": 1}
    assert CheckpointRegistry(tmp_path / "run", fs=fs).load_best(agent) is not None
    assert agent.weight[0] == 3.0
    assert read_archive(fs, tmp_path / "final").state == 1
    assert fs.n_attempts == 0


def test_a_user_without_permission_is_refused_before_anything_and_can_load(tmp_path: Path) -> None:
    """As root, permissions are not asked for: only a child that has given its rights up shows what they do."""
    RunDirectory.create(SOUND, tmp_path, "run", {"seed": 1}).release()
    save(open_registry(SOUND, tmp_path), Agent(SOUND, 3.0))
    with prepared(loading()) as scratch:
        root = scratch / "prepared"
        for path in (scratch, *scratch.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = content(scratch)
        status, said = in_child(lambda say: without_rights(root, say))
        for path in (scratch, *scratch.rglob("*")):
            path.chmod(0o700)
        assert status == 0
        assert said == {"create refused", "lock refused", "save refused", "archive refused", "loaded 3.0"}
        assert content(scratch) == before


def without_rights(root: Path, say) -> None:  # type: ignore[no-untyped-def]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    fs, agent = FileSystem(), Agent()
    attempts = {
        "create": lambda: RunDirectory.create(fs, root, "new", {}),
        "lock": lambda: RunDirectory.open(fs, root / "run").lock(),
        "save": lambda: save(open_registry(fs, root), Agent(fs, 9.0)),
        "archive": lambda: save_archive(fs, root / "final", state=1, arrays={}, meta={}),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except CheckpointError as error:
            if "ermission" in str(error) and "choose another directory" in str(error):
                say(f"{name} refused")
    open_registry(fs, root).load_best(agent)
    say(f"loaded {agent.weight[0]}")


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_run_that_cannot_be_written_is_refused_before_it_exists(error: int, tmp_path: Path) -> None:
    with pytest.raises((CheckpointError, ConfigError)):
        RunDirectory.create(FaultFileSystem(0, error, for_ever=True), tmp_path / "runs", "a", {})
    assert not (tmp_path / "runs").exists()
