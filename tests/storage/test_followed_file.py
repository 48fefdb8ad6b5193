"""FollowedFile: what somebody else adds to a file."""

import os

import pytest

from tensor_optix.storage.followed_file import FollowedFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "feed"
    path.write_bytes(b"first\n")
    return path


def test_what_is_added_is_read_once(path):
    file = FollowedFile(path)
    assert file.read() == b"first\n"
    assert file.read() == b""
    with path.open("ab") as writer:
        writer.write(b"second\n")
    assert file.read() == b"second\n"
    assert file.offset == 13
    file.close()


def test_reading_begins_at_the_offset_or_at_the_beginning_of_a_shorter_file(path):
    for offset, rest in ((3, b"st\n"), (6, b""), (7, b"first\n")):
        file = FollowedFile(path, offset)
        assert file.read() == rest
        file.close()


def test_a_file_that_is_replaced_or_cut_is_seen_and_one_that_is_moved_away_is_not_over(path, tmp_path):
    file = FollowedFile(path)
    file.read()
    assert not file.was_replaced
    path.rename(tmp_path / "old")
    assert not file.was_replaced  # whoever writes still has it open
    path.write_bytes(b"new")
    assert file.was_replaced
    file.close()
    cut = FollowedFile(path)
    cut.read()
    path.write_bytes(b"")
    assert cut.was_replaced
    cut.close()


def test_only_plain_files_are_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no plain file"):
        FollowedFile(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        FollowedFile(tmp_path)
    with pytest.raises(FileNotFoundError):
        FollowedFile(tmp_path / "absent")


def test_closing_twice_is_harmless(path):
    file = FollowedFile(path)
    file.close()
    file.close()
