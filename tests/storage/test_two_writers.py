"""Many processes on one run: one writes, the others are told who does, and readers see whole snapshots only."""

import errno
import fcntl
import os
import re
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fault_scenarios import SOUND, Agent, open_registry, save, tell

from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem, RunDirectory, SnapshotStore, latest_run

FS = FileSystem()
Say = Callable[[str], object]


class Processes:
    """Children that all start ``attempt`` when told to; the first thing that each says is kept."""

    def __init__(self, n: int, attempt: Callable[[Say], None]) -> None:
        self._gate, self._opener = os.pipe()
        self.ids: list[int] = []
        self._pipes: list[int] = []
        for _ in range(n):
            reader, writer = os.pipe()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads
                child = os.fork()
            if child == 0:
                self._live(attempt, writer)
            os.close(writer)
            self.ids.append(child)
            self._pipes.append(reader)

    def start(self) -> list[str]:
        """Open the gate; what each process said, in the order of ``ids``."""
        self.open_gate()
        return [os.read(pipe, 4000).decode() for pipe in self._pipes]

    def open_gate(self) -> None:
        os.close(self._opener)

    def has_spoken(self) -> bool:
        """True once one of them has something to say."""
        return bool(select.select(self._pipes, [], [], 0)[0])

    def kill(self, child: int) -> None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.ids.remove(child)

    def close(self) -> None:
        for child in list(self.ids):
            self.kill(child)
        for pipe in (self._gate, *self._pipes):
            os.close(pipe)

    def _live(self, attempt: Callable[[Say], None], writer: int) -> None:
        try:
            os.close(self._opener)
            os.read(self._gate, 1)  # ends when the parent, and everybody started before, has closed the other end
            attempt(lambda text: os.write(writer, text.encode()))
            time.sleep(600)  # until killed, so that what is held stays held
        finally:
            os._exit(1)


def race_for_the_lock(parent: Path, run_id: str) -> None:
    """One round: ten processes want to write, one does; it is killed, and the next one can."""
    path = parent / run_id
    RunDirectory.create(FS, parent, run_id, {}).release()

    def attempt(say: Say) -> None:
        try:
            RunDirectory.open(FS, path).lock()
            say("writer")
        except CheckpointError as error:
            say(str(error))

    with closing(Processes(10, attempt)) as processes:
        said = processes.start()
        assert said.count("writer") == 1
        holder = processes.ids[said.index("writer")]
        refused = f"is held by pid {holder} on "
        assert sum(refused in text for text in said) == 9, said
        processes.kill(holder)
        start = time.monotonic()
        RunDirectory.open(FS, path).lock()
        assert time.monotonic() - start < 1


def race_to_create(parent: Path) -> None:
    """Ten processes make the same run, and ten others runs of their own: one, and every one, succeeds."""

    def same(say: Say) -> None:
        try:
            RunDirectory.create(FS, parent, "same", {})
            say("made")
        except CheckpointError as error:
            say(str(error))

    def own(say: Say) -> None:
        RunDirectory.create(FS, parent, f"own-{os.getpid()}", {})
        say("made")

    with closing(Processes(10, same)) as processes:
        said = processes.start()
        assert said.count("made") == 1
        assert sum("exists already" in text for text in said) == 9, said
    with closing(Processes(10, own)) as processes:
        assert processes.start() == ["made"] * 10
    records = [(parent / name / "run.json").read_text() for name in FS.names(parent)]
    sequences = [int(re.findall(r'"sequence":(\d+)', record)[0]) for record in records]
    assert sorted(sequences) == list(range(1, 12))
    assert latest_run(FS, parent) is not None


def read_while_another_commits(root: Path, n_commits: int) -> int:
    """Number of times that the best was read during ``n_commits`` commits, each of which prunes."""
    RunDirectory.create(FS, root, "run", {}).release()
    save(open_registry(SOUND, root), Agent(SOUND, 1.0))

    def attempt(say: Say) -> None:
        registry = open_registry(SOUND, root)
        for score in range(2, 2 + n_commits):
            save(registry, Agent(SOUND, float(score)))
            time.sleep(0.002)
        say("done")

    n_reads, newest, done = 0, 0.0, False
    store = SnapshotStore(FS, root / "run" / "snapshots")
    with closing(Processes(1, attempt)) as writer:
        writer.open_gate()
        while not done:
            done = writer.has_spoken()
            agent = Agent()
            best = open_registry(FS, root).load_best(agent)
            assert best is not None
            assert (agent.weight == best.eval_metrics.primary_score).all()
            assert best.eval_metrics.primary_score >= newest
            newest = best.eval_metrics.primary_score
            for generation in store.generations():
                check_whole(store, generation)
            n_reads += 1
    assert newest == n_commits + 1.0
    return n_reads


def check_whole(store: SnapshotStore, generation: int) -> None:
    try:
        store.read(generation)
    except CheckpointError:
        assert generation not in store.generations(), "a snapshot that is still there was not whole"


def test_of_ten_processes_one_writes_and_the_others_are_told_which(tmp_path: Path) -> None:
    for n in range(5):
        race_for_the_lock(tmp_path, f"run-{n}")


def test_of_ten_processes_one_makes_the_run_and_none_hinders_others(tmp_path: Path) -> None:
    race_to_create(tmp_path / "runs")


def test_a_reader_sees_whole_snapshots_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    n_reads = read_while_another_commits(tmp_path, 60)
    assert "damaged" not in caplog.text
    tell(f"{n_reads} reads during 60 commits")
    assert n_reads > 5


def test_a_reader_whose_whole_list_was_replaced_looks_again(tmp_path: Path) -> None:
    RunDirectory.create(FS, tmp_path, "run", {}).release()
    save(open_registry(FS, tmp_path), Agent(FS, 1.0))

    class Overtaken(FileSystem):
        """Between listing and reading, others commit and prune."""

        n_names = 0

        def names(self, path: Path) -> list[str]:
            names = super().names(path)
            self.n_names += path.name == "snapshots"
            if self.n_names == 2:
                for score in (2.0, 3.0):
                    save(open_registry(FS, tmp_path), Agent(FS, score))
            return names

    agent = Agent()
    best = open_registry(Overtaken(), tmp_path).load_best(agent)
    assert best is not None
    assert agent.weight[0] == best.eval_metrics.primary_score == 3.0


def test_where_directories_cannot_be_locked_runs_are_made_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".tmp-run-0a0a0a0a").mkdir()
    RunDirectory.create(FS, tmp_path, "a", {}).release()
    assert FS.names(tmp_path) == [".tmp-run-0a0a0a0a", "a"]


def test_only_what_a_killed_creation_left_is_swept(tmp_path: Path) -> None:
    for name in (".tmp-mine-0b0b0b0b", ".tmp-mine"):
        (tmp_path / name).write_bytes(b"")
    for name, content in ((".tmp-run-0c0c0c0c", "run.json"), (".tmp-run-0d0d0d0d", "thesis.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).write_text("")
    RunDirectory.create(FS, tmp_path, "a", {}).release()
    assert FS.names(tmp_path) == [".tmp-mine", ".tmp-mine-0b0b0b0b", ".tmp-run-0d0d0d0d", "a"]
