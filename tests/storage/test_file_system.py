"""The door to the disk."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem


class OneByteAtATime(FileSystem):
    """A disk whose writes are short."""

    def _write_all(self, descriptor: int, data: bytes) -> None:
        for byte in data:
            super()._write_all(descriptor, bytes([byte]))


class FullAfter(FileSystem):
    """A disk that takes ``n_bytes`` of every write and then is full."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes

    def _write_all(self, descriptor: int, data: bytes) -> None:
        super()._write_all(descriptor, data[: self.n_bytes])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_new_file_holds_the_data_and_is_for_this_user_only(tmp_path: Path) -> None:
    OneByteAtATime().write_new(tmp_path / "a", b"data")
    assert (tmp_path / "a").read_bytes() == b"data"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_writing_goes_on_after_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))
    FileSystem().write_new(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_new_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(CheckpointError, match="exists"):
        FileSystem().write_new(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_text() == "old"


def test_a_failed_replace_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(CheckpointError, match="free some space") as caught:
        FullAfter(2).replace(tmp_path / "a", b"new")
    assert isinstance(caught.value.__cause__, OSError)
    assert (tmp_path / "a").read_text() == "old"
    assert FileSystem().names(tmp_path) == ["a"]


def test_a_failed_append_leaves_no_half_row(tmp_path: Path) -> None:
    FileSystem().append(tmp_path / "log", b"one\n")
    with pytest.raises(CheckpointError, match="append"):
        FullAfter(2).append(tmp_path / "log", b"two\n")
    FileSystem().append(tmp_path / "log", b"three\n")
    assert (tmp_path / "log").read_bytes() == b"one\nthree\n"


def make_link(path: Path) -> None:
    path.with_name("target").write_text("secret")
    path.symlink_to("target")


def make_hard_link(path: Path) -> None:
    path.with_name("target").write_text("secret")
    path.hardlink_to(path.with_name("target"))


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 43)


@pytest.mark.parametrize("make", [make_link, make_hard_link, make_sparse, os.mkfifo, Path.mkdir])
def test_only_a_plain_file_of_modest_size_is_read(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "a")
    with pytest.raises(CheckpointError):
        FileSystem().read(tmp_path / "a", 1000)


@pytest.mark.parametrize("make", [make_link, make_hard_link, os.mkfifo])
def test_only_a_plain_file_is_appended_to_or_locked(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "a")
    for change in (lambda: FileSystem().append(tmp_path / "a", b"more"), lambda: FileSystem().lock(tmp_path / "a")):
        with pytest.raises(CheckpointError):
            change()
    assert not (tmp_path / "target").exists() or (tmp_path / "target").read_text() == "secret"


def test_a_file_is_read_chunk_by_chunk(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 5)
    (tmp_path / "a").write_bytes(data)
    assert [len(chunk) for chunk in FileSystem().chunks(tmp_path / "a", len(data))] == [1 << 20, 5]
    assert FileSystem().read(tmp_path / "a", len(data)) == data


def test_missing_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    FileSystem().ensure_directory(tmp_path / "a" / "b")
    FileSystem().ensure_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_second_lock_is_refused_with_the_name_of_the_holder(tmp_path: Path) -> None:
    held = FileSystem().lock(tmp_path / "LOCK")
    with pytest.raises(CheckpointError, match=f"held by pid {os.getpid()} on "):
        FileSystem().lock(tmp_path / "LOCK")
    held.release()
    held.release()
    FileSystem().lock(tmp_path / "LOCK").release()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    if (child := os.fork()) == 0:
        FileSystem().lock(tmp_path / "LOCK")
        os._exit(0)
    os.waitpid(child, 0)
    FileSystem().lock(tmp_path / "LOCK").release()


def test_a_directory_that_somebody_else_makes_meanwhile_is_fine(tmp_path: Path) -> None:
    class Late(FileSystem):
        def make_directory(self, path: Path) -> None:
            path.mkdir()
            super().make_directory(path)

    Late().ensure_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_where_directories_cannot_be_locked_there_is_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with FileSystem().turn(tmp_path) as is_alone:
        assert not is_alone
