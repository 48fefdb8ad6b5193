"""Numbered archives, committed one by one."""

import errno
from pathlib import Path

import numpy as np
import pytest

from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem, SnapshotStore

FS = FileSystem()
ARRAYS = {"w": np.arange(3.0)}


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(FS, tmp_path / "snapshots")


def commit(store: SnapshotStore, value: int = 0) -> int:
    return store.commit({"value": value}, ARRAYS, {"score": value})


class Recorder(FileSystem):
    """Notes every durable operation, with the generation's random suffix cut off."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def note(self, operation: str, path: Path) -> None:
        name = path.name.rsplit("-", 1)[0] if path.name.startswith((".tmp-", ".trash-")) else path.name
        self.log.append(f"{operation} {name}")

    def make_directory(self, path: Path) -> None:
        self.note("make", path)
        super().make_directory(path)

    def write_new(self, path: Path, data: bytes) -> None:
        self.note("write", path)
        super().write_new(path, data)

    def _sync(self, descriptor: int) -> None:
        self.note("sync", Path(f"/proc/self/fd/{descriptor}").readlink())
        super()._sync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self.note("rename to", target)
        super().rename(source, target)

    def remove_tree(self, path: Path) -> None:
        self.note("delete", path)
        super().remove_tree(path)


def test_a_commit_syncs_every_file_then_its_directory_then_its_name(tmp_path: Path) -> None:
    recorder = Recorder()
    store = SnapshotStore(recorder, tmp_path / "snapshots")
    commit(store)
    recorder.log.clear()
    commit(store)
    assert recorder.log == [
        "make .tmp-000000000002",
        "write arrays.safetensors",
        "sync arrays.safetensors",
        "write state.json",
        "sync state.json",
        "write MANIFEST.json",
        "sync MANIFEST.json",
        "sync .tmp-000000000002",
        "rename to 000000000002",
        "sync snapshots",
    ]


def test_the_weights_of_an_opaque_agent_are_synced_before_the_manifest(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.mkdir()
        (path / "model.bin").write_bytes(b"w")

    recorder = Recorder()
    SnapshotStore(recorder, tmp_path / "snapshots").commit({}, {}, {}, write)
    before_manifest = recorder.log[: recorder.log.index("write MANIFEST.json")]
    assert before_manifest[-3:] == ["sync model.bin", "sync .tmp-000000000001", "sync weights"]


def test_a_removed_snapshot_is_out_of_sight_before_anything_of_it_is_deleted(tmp_path: Path) -> None:
    recorder = Recorder()
    store = SnapshotStore(recorder, tmp_path / "snapshots")
    commit(store)
    commit(store)
    recorder.log.clear()
    store.remove(1)
    assert recorder.log == ["rename to .trash-000000000001", "sync snapshots", "delete .trash-000000000001"]


def test_the_number_of_the_newest_is_on_the_disk_before_it_is_removed(tmp_path: Path) -> None:
    recorder = Recorder()
    store = SnapshotStore(recorder, tmp_path / "snapshots")
    commit(store)
    recorder.log.clear()
    store.remove(1)
    mark = ".retired-000000000001"
    assert recorder.log[:4] == [f"write {mark}", f"sync {mark}", "sync snapshots", "rename to .trash-000000000001"]


def test_nothing_exists_before_the_first_commit(store: SnapshotStore) -> None:
    assert store.generations() == []
    store.sweep()
    assert not store.directory.exists()


def test_a_snapshot_comes_back(store: SnapshotStore) -> None:
    generation = commit(store, 7)
    archive = store.read(generation)
    assert archive.state == {"value": 7}
    np.testing.assert_array_equal(archive.arrays["w"], ARRAYS["w"])
    assert store.meta(generation) == {"score": 7, "generation": generation}
    assert archive.directory == store.directory / "000000000001"


def test_generations_are_never_used_twice(store: SnapshotStore) -> None:
    used = [commit(store), commit(store)]
    store.remove(used[1])
    used.append(commit(store))
    store.quarantine(used[2])
    reopened = SnapshotStore(FS, store.directory)
    used.append(commit(reopened))
    for generation in reopened.generations():
        reopened.remove(generation)
    reopened.sweep()
    used.append(commit(SnapshotStore(FS, store.directory)))
    assert used == [1, 2, 3, 4, 5]


def test_only_one_mark_of_used_numbers_is_kept(store: SnapshotStore) -> None:
    for _ in range(3):
        store.remove(commit(store))
    assert FS.names(store.directory) == [".retired-000000000003"]


def test_two_stores_on_one_directory_see_each_others_snapshots(store: SnapshotStore) -> None:
    other = SnapshotStore(FS, store.directory)
    assert [commit(store), commit(other), commit(store)] == [1, 2, 3]
    assert store.generations() == other.generations() == [1, 2, 3]


def test_a_damaged_snapshot_is_refused_and_can_be_put_aside(store: SnapshotStore) -> None:
    commit(store)
    (store.directory / "000000000001" / "state.json").write_bytes(b"{}")
    with pytest.raises(CheckpointError):
        store.read(1)
    aside = store.quarantine(1)
    assert aside.parent == store.directory.parent / "quarantine"
    assert (aside / "state.json").read_bytes() == b"{}"
    assert store.generations() == []


def test_a_snapshot_under_another_number_is_refused(store: SnapshotStore) -> None:
    commit(store)
    (store.directory / "000000000001").rename(store.directory / "000000000009")
    for look in (store.read, store.meta):
        with pytest.raises(CheckpointError, match="another generation"):
            look(9)


def test_a_missing_snapshot_is_refused(store: SnapshotStore) -> None:
    with pytest.raises(CheckpointError):
        store.read(3)


class Broken(FileSystem):
    """Fails at the ``n``-th write or sync, and works again afterwards."""

    def __init__(self, n: int) -> None:
        self.n = n

    def _count(self) -> None:
        self.n -= 1
        if self.n == -1:
            raise OSError(errno.EIO, "Input/output error")

    def _write_all(self, descriptor: int, data: bytes) -> None:
        self._count()
        super()._write_all(descriptor, data)

    def _sync(self, descriptor: int) -> None:
        self._count()
        super()._sync(descriptor)


def test_a_commit_that_fails_anywhere_is_not_acknowledged_and_harms_nothing(store: SnapshotStore) -> None:
    commit(store, 1)
    n_failures = 0
    for n in range(100):
        try:
            commit(SnapshotStore(Broken(n), store.directory), 2)
        except CheckpointError as error:
            n_failures += 1
            assert isinstance(error.__cause__, OSError)  # noqa: PT017 - the loop ends when nothing fails any more
        else:
            break
        assert store.read(1).state == {"value": 1}
        assert not [name for name in FS.names(store.directory) if name.startswith(".tmp-")]
    assert n_failures == 9  # three files, one of them in two pieces, written and synced, and two directories


def test_the_writer_sweeps_up_after_a_crash(store: SnapshotStore) -> None:
    commit(store)
    for name in (".tmp-000000000002-aaaa", ".trash-000000000001-bbbb"):
        (store.directory / name).mkdir()
        (store.directory / name / "half").write_text("")
    store.sweep()
    assert FS.names(store.directory) == ["000000000001"]


@pytest.mark.parametrize("foreign", ["file", "link", "strange name"])
def test_foreign_content_is_refused_and_left_alone(store: SnapshotStore, tmp_path: Path, foreign: str) -> None:
    if foreign == "file":
        store.directory.write_text("mine")
    elif foreign == "link":
        (tmp_path / "elsewhere").mkdir()
        store.directory.symlink_to(tmp_path / "elsewhere")
    else:
        store.directory.mkdir()
        (store.directory / "thesis.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for action in (store.generations, store.sweep, lambda: commit(store)):
        with pytest.raises(CheckpointError, match="move"):
            action()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_store_whose_numbers_are_used_up_takes_no_more(store: SnapshotStore) -> None:
    commit(store)
    (store.directory / ".retired-999999999999").write_text("")
    with pytest.raises(CheckpointError, match="used up"):
        commit(store)
    assert store.generations() == [1]


@pytest.mark.parametrize("mark", [1, 7])
def test_a_mark_that_is_there_already_stays(store: SnapshotStore, mark: int) -> None:
    commit(store)
    (store.directory / f".retired-{mark:012d}").write_text("")
    store.remove(1)
    assert commit(store) == mark + 1
