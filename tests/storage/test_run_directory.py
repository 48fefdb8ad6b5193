"""One run on disk."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.errors import CheckpointError, ConfigError, TensorOptixError
from tensor_optix.storage import FileSystem, RunDirectory, latest_run, new_run_id

FS = FileSystem()


class ReadOnly(FileSystem):
    """A disk that takes nothing."""

    def _refuse(self, path: Path, *_: Any) -> Any:
        raise CheckpointError(path, "cannot write it: Read-only file system") from OSError(errno.EROFS, "read-only")

    make_directory = write_new = append = sync_file = sync_directory = rename = _refuse  # type: ignore[assignment]
    remove_file = remove_tree = lock = _refuse


class Killed(FileSystem):
    """Stops for ever before the ``n``-th operation that changes a name or writes a file."""

    def __init__(self, n: int) -> None:
        self.n = n

    def _count(self) -> None:
        self.n -= 1
        if self.n < 0:
            raise KeyboardInterrupt

    def make_directory(self, path: Path) -> None:
        self._count()
        super().make_directory(path)

    def write_new(self, path: Path, data: bytes) -> None:
        self._count()
        super().write_new(path, data)

    def rename(self, source: Path, target: Path) -> None:
        self._count()
        super().rename(source, target)

    def remove_tree(self, path: Path) -> None:
        if self.n >= 0:
            super().remove_tree(path)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(FS, tmp_path / "runs", "a", {"seed": 3})


def test_a_run_id_tells_the_time() -> None:
    assert new_run_id(datetime(2026, 11, 23, 9, 45, 1), "3f2a") == "20261123-094501-3f2a"


def test_a_new_run_knows_who_it_is_and_holds_its_lock(run: RunDirectory, tmp_path: Path) -> None:
    assert run.path == tmp_path / "runs" / "a"
    assert (run.run_id, run.identity, run.summary, run.is_locked) == ("a", {"seed": 3}, {}, True)
    assert FS.names(run.path) == ["LOCK", "run.json"]
    assert FS.names(run.path.parent) == ["a"]
    assert run.training_directory == run.path / "training"


def test_a_run_that_was_being_made_is_never_seen_half_made(tmp_path: Path) -> None:
    for n in range(100):
        parent = tmp_path / str(n)
        try:
            RunDirectory.create(Killed(n), parent, "a", {}).release()
        except KeyboardInterrupt:
            assert latest_run(FS, parent) is None
            assert not (parent / "a").exists()
        else:
            break
    assert n == 4  # parent, temporary directory, run.json, rename
    assert latest_run(FS, parent) == parent / "a"


def test_a_second_writer_is_refused_until_the_first_lets_go(run: RunDirectory) -> None:
    other = RunDirectory.open(FS, run.path)
    with pytest.raises(CheckpointError, match="held by pid"):
        other.lock()
    run.release()
    other.lock()
    with pytest.raises(CheckpointError, match="held by pid"):
        run.lock()
    other.release()
    run.lock()
    run.lock()
    assert run.is_locked


def test_a_reader_writes_nothing_and_cannot_write(run: RunDirectory) -> None:
    run.append_metrics({"score": 1.0})
    reader = RunDirectory.open(ReadOnly(), run.path)
    assert reader.identity == {"seed": 3}
    assert reader.read_metrics() == [{"score": 1.0}]
    assert reader.read_events() == []
    with pytest.raises(CheckpointError, match="not locked"):
        reader.append_metrics({})
    with pytest.raises(CheckpointError, match="not locked"):
        reader.write_bytes("plan.json", b"{}")
    with pytest.raises(CheckpointError, match="not locked"):
        reader.update_summary({})


def test_the_summary_is_kept_and_the_identity_stays(run: RunDirectory) -> None:
    run.update_summary({"score": 1.0, "state": "running"})
    run.update_summary({"state": "ended"})
    back = RunDirectory.open(FS, run.path)
    assert back.summary == {"score": 1.0, "state": "ended"}
    assert back.identity == {"seed": 3}


def test_rows_come_back_in_order(run: RunDirectory) -> None:
    for tick in range(3):
        run.append_metrics({"tick": tick, "score": float("nan") if tick == 1 else 0.5})
        run.append_event({"what": f"line\nbreak {tick}"})
    assert [row["tick"] for row in run.read_metrics()] == [0, 1, 2]
    assert run.read_metrics()[1]["score"] != run.read_metrics()[1]["score"]
    assert run.read_events()[2] == {"what": "line\nbreak 2"}


def test_a_torn_last_row_is_ignored_by_readers_and_cut_by_the_next_writer(run: RunDirectory) -> None:
    run.append_metrics({"tick": 0})
    run.release()
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"tick": 1')
    assert run.read_metrics() == [{"tick": 0}]
    run.lock()
    run.append_metrics({"tick": 2})
    assert run.read_metrics() == [{"tick": 0}, {"tick": 2}]


def test_a_damaged_row_in_the_middle_is_named(run: RunDirectory) -> None:
    (run.path / "events.jsonl").write_bytes(b'{"a": 1}\n{"a": 1, "a": 2}\n[]\n')
    with pytest.raises(CheckpointError, match="line 2"):
        run.read_events()


def test_a_row_that_json_cannot_hold_is_refused(run: RunDirectory) -> None:
    with pytest.raises(CheckpointError, match="object"):
        run.append_event({"a": object()})
    assert run.read_events() == []


def test_files_of_a_run_are_replaced_whole(run: RunDirectory) -> None:
    run.write_bytes("report.html", b"old")
    run.write_bytes("report.html", b"new")
    run.write_bytes("media/progress.png", b"png")
    assert (run.path / "report.html").read_bytes() == b"new"
    assert (run.path / "media" / "progress.png").read_bytes() == b"png"
    assert FS.names(run.path) == ["LOCK", "media", "report.html", "run.json"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", ".", "..", "a/b/c", "a\0b", ".hidden"])
def test_a_file_outside_the_run_is_refused(run: RunDirectory, name: str) -> None:
    with pytest.raises(ConfigError, match="plain name"):
        run.write_bytes(name, b"")


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file"):
        RunDirectory.create(FS, tmp_path / "file", "a", {})
    with pytest.raises(CheckpointError):
        RunDirectory.create(FS, tmp_path / "file" / "below", "a", {})


def test_a_parent_that_is_itself_a_run_is_refused(run: RunDirectory) -> None:
    with pytest.raises(ConfigError, match="is itself a run; give its parent"):
        RunDirectory.create(FS, run.path, "b", {})


def test_a_parent_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not writable"):
        RunDirectory.create(ReadOnly(), tmp_path, "a", {})


def test_a_name_that_is_taken_is_refused(run: RunDirectory) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        RunDirectory.create(FS, run.path.parent, "a", {})


@pytest.mark.parametrize("run_id", ["", "../a", "a/b", ".a", "a b", "a" * 200])
def test_a_strange_run_id_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ConfigError, match="run_id"):
        RunDirectory.create(FS, tmp_path, run_id, {})


def test_the_latest_run_is_the_one_created_last_whatever_its_name(tmp_path: Path) -> None:
    assert latest_run(FS, tmp_path / "none") is None
    for name in ("c", "a", "b"):
        RunDirectory.create(FS, tmp_path, name, {}).release()
    assert latest_run(FS, tmp_path) == tmp_path / "b"


def test_a_directory_of_runs_is_not_a_run_but_names_the_newest(tmp_path: Path) -> None:
    for name in "dcba":
        RunDirectory.create(FS, tmp_path, name, {}).release()
    with pytest.raises(CheckpointError, match=r"no run\.json; its newest runs are a, b, c$"):
        RunDirectory.open(FS, tmp_path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, reason in (("file", "is a file"), ("none", "does not exist"), (".", r"no run\.json$")):
        with pytest.raises(CheckpointError, match=reason):
            RunDirectory.open(FS, tmp_path / path)


def test_a_run_can_be_reached_through_a_link(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run.path)
    assert RunDirectory.open(FS, tmp_path / "link").path == run.path


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "../b"}, {"sequence": 0}, {"sequence": 10**99}, {"format_version": 2}, {"sequence": "1"},
        {"sequence": True}, {"identity": []}, {"more": 1},
    ],
)  # fmt: skip
def test_a_damaged_identity_is_refused_and_does_not_hide_other_runs(
    run: RunDirectory, change: dict[str, Any]
) -> None:
    RunDirectory.create(FS, run.path.parent, "b", {}).release()
    record = json.loads((run.path.parent / "b" / "run.json").read_text())
    (run.path.parent / "b" / "run.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(TensorOptixError):
        RunDirectory.open(FS, run.path.parent / "b")
    assert latest_run(FS, run.path.parent) == run.path


def test_a_parent_whose_numbers_are_used_up_takes_no_more(run: RunDirectory) -> None:
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**record, "sequence": 10**12}))
    with pytest.raises(CheckpointError, match="used up"):
        RunDirectory.create(FS, run.path.parent, "b", {})


def test_what_would_not_be_read_back_is_not_written(run: RunDirectory) -> None:
    for write in (run.append_metrics, run.append_event, run.update_summary):
        with pytest.raises(CheckpointError):
            write({"text": "a" * (5 << 20)})
    with pytest.raises(CheckpointError, match="cannot describe"):
        run.update_summary({"a": object()})
    assert run.read_metrics() == run.read_events() == []
    assert RunDirectory.open(FS, run.path).summary == {}


def test_a_row_longer_than_any_of_ours_is_refused_wherever_it_ends(run: RunDirectory) -> None:
    (run.path / "metrics.jsonl").write_bytes(b'{"a": 1}\n"' + b"a" * (3 << 20))
    with pytest.raises(CheckpointError, match="line 2 has more than"):
        run.read_metrics()


def test_rows_come_back_whatever_pieces_they_are_read_in(run: RunDirectory) -> None:
    rows = [{"text": "a" * n} for n in (900_000, 300_000, 0, 1_000_000)]
    for row in rows:
        run.append_metrics(row)
    assert run.read_metrics() == rows


def test_nothing_is_written_through_a_link(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run.path / "media").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is a link"):
        run.write_bytes("media/progress.png", b"png")
    assert FS.names(tmp_path / "elsewhere") == []


def test_a_run_that_cannot_be_tidied_is_not_locked(run: RunDirectory) -> None:
    run.release()
    run.release()
    (run.path / "metrics.jsonl").mkdir()
    with pytest.raises(CheckpointError):
        run.lock()
    assert not run.is_locked


def test_rows_can_be_taken_back_from_a_window_on(run: RunDirectory) -> None:
    rows: list[dict[str, Any]] = [{"window": 1}, {"window": 2}, {"window": 3}]
    for row in rows:
        run.append_metrics(row)
    run.cut_rows(9, 0)
    assert run.read_metrics() == rows
    run.cut_rows(3, 0)
    run.cut_rows(3, 0)
    assert run.read_metrics() == rows[:2]
    assert run.read_events() == []


def test_events_are_taken_back_by_their_number(run: RunDirectory) -> None:
    rows: list[dict[str, Any]] = [{"window": 1}, {"window": 2}, {"window": 2}]
    for row in rows:
        run.append_event(row)
    run.cut_rows(0, 9)
    assert run.read_events() == rows
    run.cut_rows(0, 2)
    run.cut_rows(0, 2)
    assert run.read_events() == rows[:2]


def test_a_run_json_that_is_no_json_is_refused(run: RunDirectory) -> None:
    (run.path / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        RunDirectory.open(FS, run.path)


def test_a_row_that_is_no_object_is_named(run: RunDirectory) -> None:
    (run.path / "events.jsonl").write_text("{}\n[]\n")
    with pytest.raises(CheckpointError, match="line 2 is no JSON object"):
        run.read_events()


def test_without_a_turn_nothing_of_others_is_swept_away(tmp_path: Path) -> None:
    class NoTurns(FileSystem):
        @contextmanager
        def turn(self, path: Path) -> Iterator[bool]:
            yield False

    leftover = tmp_path / ".tmp-a-00000000"
    leftover.mkdir()
    RunDirectory.create(NoTurns(), tmp_path, "a", {}).release()
    assert leftover.exists()


def test_only_what_is_surely_ours_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".tmp-mine-00000000").write_text("a user's file")
    RunDirectory.create(FS, tmp_path, "a", {}).release()
    assert FS.names(tmp_path) == [".tmp-mine-00000000", "a"]
