"""The only door to the disk: names, arrays and JSON; nothing of the loop is known here."""

from tensor_optix.storage.archive import Archive, read_archive, save_archive, write_archive
from tensor_optix.storage.file_system import FileLock, FileSystem
from tensor_optix.storage.run_directory import RunDirectory, latest_run, new_run_id, runs_below
from tensor_optix.storage.snapshot_store import SnapshotStore

__all__ = [
    "Archive",
    "FileLock",
    "FileSystem",
    "RunDirectory",
    "SnapshotStore",
    "latest_run",
    "new_run_id",
    "read_archive",
    "runs_below",
    "save_archive",
    "write_archive",
]
