"""A directory that proves its own content."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem, read_archive, save_archive, write_archive
from tensor_optix.storage.strict_json import dumps

FS = FileSystem()
ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(7), "empty": np.zeros((0, 4), bool)}
FILES = ("arrays.safetensors", "state.json", "MANIFEST.json", "weights/deep/model.bin")


def write_weights(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "model.bin").write_bytes(b"opaque")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    directory = tmp_path / "archive"
    directory.mkdir()
    write_archive(FS, directory, state={"a": [1, None]}, arrays=ARRAYS, meta={"b": 2.5}, write_extra=write_weights)
    return directory


def rewrite_manifest(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = directory / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    digest = manifest.pop("sha256")
    if digest is not None:
        manifest["sha256"] = hashlib.sha256(dumps(manifest)).hexdigest()
    path.write_text(json.dumps(manifest))


def test_everything_comes_back(archive: Path) -> None:
    back = read_archive(FS, archive)
    assert (back.state, back.meta, back.directory) == ({"a": [1, None]}, {"b": 2.5}, archive)
    assert set(back.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


def test_the_same_content_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    back = read_archive(FS, archive)
    again = tmp_path / "again"
    again.mkdir()
    write_archive(FS, again, state=back.state, arrays=back.arrays, meta=back.meta, write_extra=write_weights)
    assert [(again / name).read_bytes() for name in FILES] == [(archive / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_refused(archive: Path, name: str) -> None:
    data = (archive / name).read_bytes()
    for length in {0, 1, len(data) // 2, len(data) - 1}:
        (archive / name).write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            read_archive(FS, archive)


@pytest.mark.parametrize("name", FILES[:2] + FILES[3:])
def test_sizes_are_compared_before_hashes(archive: Path, name: str) -> None:
    (archive / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="has 0 bytes instead of"):
        read_archive(FS, archive)


@pytest.mark.parametrize("name", FILES[:2] + FILES[3:])
def test_one_flipped_bit_is_refused(archive: Path, name: str) -> None:
    data = (archive / name).read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        (archive / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match="SHA-256"):
            read_archive(FS, archive)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(archive: Path, name: str) -> None:
    (archive / name).unlink()
    with pytest.raises(CheckpointError, match=r"missing|no MANIFEST"):
        read_archive(FS, archive)


@pytest.mark.parametrize("name", ["extra.pkl", "weights/planted.pkl", "weights/deep/planted.pkl"])
def test_a_file_that_the_manifest_does_not_know_is_refused(archive: Path, name: str) -> None:
    (archive / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="not listed"):
        read_archive(FS, archive)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("stand_in", ["link", "pipe", "directory"])
def test_a_stand_in_for_a_file_is_refused(archive: Path, name: str, stand_in: str) -> None:
    path = archive / name
    elsewhere = path.rename(archive.parent / "elsewhere")
    if stand_in == "link":
        path.symlink_to(elsewhere)
    elif stand_in == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(CheckpointError):
        read_archive(FS, archive)


def test_a_link_to_an_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(archive)
    with pytest.raises(CheckpointError, match="no directory"):
        read_archive(FS, tmp_path / "link")


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another version": lambda m: m.update(format_version=10**9),
    "version true": lambda m: m.update(format_version=True),
    "no version": lambda m: m.pop("format_version"),
    "one field more": lambda m: m.update(agent_class="subprocess:Popen"),
    "files is no list": lambda m: m.update(files={}),
    "no files": lambda m: m.update(files=[]),
    "a file twice": lambda m: m["files"].append(m["files"][0]),
    "a path outside": lambda m: m["files"].append({"name": "../../x", "size": 1, "sha256": ""}),
    "an absolute path": lambda m: m["files"].append({"name": "/etc/passwd", "size": 1, "sha256": ""}),
    "negative size": lambda m: m["files"][0].update(size=-1),
    "size of 2**63": lambda m: m["files"][0].update(size=2**63),
    "hash is a number": lambda m: m["files"][0].update(sha256=1),
    "an array less": lambda m: m["arrays"].pop("w"),
    "another shape": lambda m: m["arrays"]["w"].update(shape=[10**13]),
    "another dtype": lambda m: m["arrays"]["w"].update(dtype="I32"),
    "meta is a list": lambda m: m.update(meta=[]),
    "no hash of its own": lambda m: m.update(sha256=None),
    "a file that is no object": lambda m: m["files"].append("a"),
    "a name that is a number": lambda m: m["files"][0].update(name=1),
    "an array that is no object": lambda m: m["arrays"].update(w=1),
    "arrays larger than their file": lambda m: m["arrays"]["w"].update(shape=[200, 3]),
    "a state larger than is read": lambda m: m["files"][1].update(size=5 << 20),
    "arrays is a list": lambda m: m.update(arrays=[]),
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES.keys())
def test_a_lying_manifest_is_refused(archive: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    rewrite_manifest(archive, change)
    with pytest.raises(CheckpointError):
        read_archive(FS, archive)


def test_one_flipped_bit_of_the_manifest_is_refused(archive: Path) -> None:
    path = archive / "MANIFEST.json"
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(CheckpointError):
            read_archive(FS, archive)


def test_a_manifest_that_is_no_object_is_refused(archive: Path) -> None:
    (archive / "MANIFEST.json").write_text("[]")
    with pytest.raises(CheckpointError, match="no JSON object"):
        read_archive(FS, archive)


def test_directories_without_end_are_refused(archive: Path) -> None:
    (archive / "weights" / Path(*"a" * 40)).mkdir(parents=True)
    with pytest.raises(CheckpointError, match="nested deeper"):
        read_archive(FS, archive)


def test_an_archive_is_written_into_an_empty_directory_only(archive: Path) -> None:
    with pytest.raises(CheckpointError, match="not empty"):
        write_archive(FS, archive, state={}, arrays={}, meta={})


@pytest.mark.parametrize("state", ["a" * (5 << 20), [0] * 300_000])
def test_a_state_that_would_not_be_read_back_is_refused_when_written(tmp_path: Path, state: Any) -> None:
    with pytest.raises(CheckpointError, match="more than the"):
        save_archive(FS, tmp_path / "a", state=state, arrays={}, meta={})
    assert FS.names(tmp_path) == []


def test_a_file_that_is_exchanged_between_two_looks_is_refused(archive: Path) -> None:
    class Exchanged(FileSystem):
        def size(self, path: Path) -> int:
            size = super().size(path)
            path.write_bytes(b"\0" * size)
            return size

    with pytest.raises(CheckpointError, match="SHA-256"):
        read_archive(Exchanged(), archive)


def test_a_pickle_with_the_right_hash_is_not_run(archive: Path, tmp_path: Path) -> None:
    canary = tmp_path / "CANARY"
    bomb = b"cos\nsystem\n(S'touch " + os.fsencode(canary) + b"'\ntR."
    (archive / "arrays.safetensors").write_bytes(bomb)
    record = {"size": len(bomb), "sha256": hashlib.sha256(bomb).hexdigest()}
    rewrite_manifest(archive, lambda m: m["files"][0].update(record))
    with pytest.raises(CheckpointError):
        read_archive(FS, archive)
    assert not canary.exists()


def write_nothing(path: Path) -> None: ...


def write_empty_folder(path: Path) -> None:
    path.mkdir()


def write_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def write_pipe(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "pipe")


def write_beside(path: Path) -> None:
    path.with_name("other").write_bytes(b"a")


@pytest.mark.parametrize("misbehave", [write_nothing, write_empty_folder, write_link, write_pipe, write_beside])
def test_weights_that_cannot_be_vouched_for_are_refused(tmp_path: Path, misbehave: Callable[[Path], None]) -> None:
    with pytest.raises(CheckpointError):
        save_archive(FS, tmp_path / "a", state={}, arrays={}, meta={}, write_extra=misbehave)
    assert FS.names(tmp_path) == []


def test_a_suffix_that_the_writer_adds_is_fine(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        np.savez(path, a=np.zeros(1))

    save_archive(FS, tmp_path / "a", state={}, arrays={}, meta={}, write_extra=write)
    assert read_archive(FS, tmp_path / "a").directory.joinpath("weights.npz").exists()


def test_an_error_of_the_writer_surfaces_as_it_is(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_archive(FS, tmp_path / "a", state={}, arrays={}, meta={}, write_extra=fail)
    assert FS.names(tmp_path) == []


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    class Full(FileSystem):
        def free_bytes(self, path: Path) -> int:
            return 100

        def write_new(self, path: Path, data: bytes) -> None:
            raise AssertionError("wrote on a full disk")

    with pytest.raises(CheckpointError, match="free some space"):
        save_archive(Full(), tmp_path / "a", state={}, arrays=ARRAYS, meta={})


@pytest.mark.parametrize("state", [{"a": object()}, {1: 2}])
def test_a_state_that_json_cannot_hold_is_named(tmp_path: Path, state: Any) -> None:
    with pytest.raises(CheckpointError, match=r"state\.json"):
        save_archive(FS, tmp_path / "a", state=state, arrays={}, meta={})


def test_what_an_earlier_save_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".a.unfinished").mkdir()
    (tmp_path / ".a.unfinished" / "half").write_text("")
    (tmp_path / ".a.previous").mkdir()
    save_number(FS, tmp_path / "a", 1)
    save_number(FS, tmp_path / "a", 2)
    assert read_archive(FS, tmp_path / "a").state == 2
    assert FS.names(tmp_path) == ["a"]


def save_number(fs: FileSystem, path: Path, number: int) -> None:
    save_archive(fs, path, state=number, arrays={}, meta={})


def test_an_archive_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save_number(FS, tmp_path / "a" / "b", number)
        assert read_archive(FS, tmp_path / "a" / "b").state == number
    assert FS.names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("foreign", ["file", "directory"])
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, foreign: str) -> None:
    path = tmp_path / "a"
    if foreign == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not replaced"):
        save_number(FS, path, 1)
    assert FS.names(tmp_path) == ["a"]


class KilledAtRename(FileSystem):
    """Stops for ever at the ``n``-th rename: what comes after it does not happen either."""

    def __init__(self, n: int) -> None:
        self.n = n

    def rename(self, source: Path, target: Path) -> None:
        self.n -= 1
        if self.n < 0:
            raise KeyboardInterrupt
        super().rename(source, target)

    def remove_tree(self, path: Path) -> None:
        if self.n >= 0:
            super().remove_tree(path)


@pytest.mark.parametrize("n", [0, 1])
def test_a_save_killed_between_two_renames_leaves_the_old_archive(tmp_path: Path, n: int) -> None:
    save_number(FS, tmp_path / "a", 1)
    with pytest.raises(KeyboardInterrupt):
        save_number(KilledAtRename(n), tmp_path / "a", 2)
    assert read_archive(FS, tmp_path / "a").state == 1
    save_number(FS, tmp_path / "a", 3)
    assert read_archive(FS, tmp_path / "a").state == 3
    assert FS.names(tmp_path) == ["a"]
