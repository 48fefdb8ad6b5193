"""Numbered archives, committed one by one: after a crash at any instant each is whole or not there.

    <directory>/000000000042/     generation 42, an archive
    <directory>/.tmp-...          being written, or left behind by a crash
    <directory>/.trash-...        being deleted, or left behind by a crash
    <directory>/.retired-...      a mark: numbers up to this one have been used

A number is never used twice, so a number that somebody wrote down names one policy for ever.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.errors import CheckpointError
from tensor_optix.storage.archive import Archive, WriteExtra, read_archive, read_manifest, write_archive
from tensor_optix.storage.file_system import TEMPORARY, FileSystem

TRASH, RETIRED = ".trash-", ".retired-"

MAX_GENERATION = 10**12 - 1

_GENERATION = re.compile(r"[0-9]{12}")


class SnapshotStore:
    """A directory of generations. It is created by the first commit; making a store touches nothing."""

    def __init__(self, fs: FileSystem, directory: Path) -> None:
        self._fs = fs
        self.directory = Path(directory).absolute()

    def generations(self) -> list[int]:
        """Numbers of the committed snapshots, ascending. Raises CheckpointError where foreign names are found."""
        return [int(name) for name in self._names() if not name.startswith(".")]

    def commit(
        self,
        state: Any,
        arrays: Mapping[str, np.ndarray],
        meta: Mapping[str, Any],
        write_extra: WriteExtra | None = None,
    ) -> int:
        """Store one snapshot and return its generation; it is safe from a power failure when this returns."""
        self._names()  # refuse a foreign directory before anything is touched
        self._fs.ensure_directory(self.directory)
        generation = self._next_generation()
        unfinished = self.directory / f"{TEMPORARY}{generation:012d}-{secrets.token_hex(4)}"
        numbered = {**meta, "generation": generation}
        with self._fs.building(unfinished):
            write_archive(self._fs, unfinished, state=state, arrays=arrays, meta=numbered, write_extra=write_extra)
            self._fs.rename(unfinished, self.path(generation))
        self._fs.sync_directory(self.directory)
        return generation

    def path(self, generation: int) -> Path:
        """Directory of one generation."""
        return self.directory / f"{generation:012d}"

    def read(self, generation: int) -> Archive:
        """One snapshot, verified. Raises CheckpointError if it is missing or damaged."""
        archive = read_archive(self._fs, self.path(generation))
        self._check_number(generation, archive.meta)
        return archive

    def meta(self, generation: int) -> dict[str, Any]:
        """What ``commit`` was given as meta (and "generation"); the snapshot's other files are not looked at."""
        meta = read_manifest(self._fs, self.path(generation)).meta
        self._check_number(generation, meta)
        return meta

    def remove(self, generation: int) -> None:
        """Delete one snapshot: it is out of sight at once, whatever happens while it is being deleted."""
        trash = self.directory / f"{TRASH}{generation:012d}-{secrets.token_hex(4)}"
        self._retire(generation, trash)
        self._fs.remove_tree(trash)

    def quarantine(self, generation: int) -> Path:
        """Move a damaged snapshot out of the way, to ``quarantine/`` beside the store, for a person to look at."""
        folder = self.directory.parent / "quarantine"
        if self._fs.kind(folder) == "other":
            raise CheckpointError(folder, "is a link, so nothing is moved there; move it away")
        self._fs.ensure_directory(folder)
        target = folder / f"{self.directory.name}-{generation:012d}-{secrets.token_hex(4)}"
        self._retire(generation, target)
        self._fs.sync_directory(folder)
        return target

    def sweep(self) -> None:
        """Delete what a crash left behind. For the one writer of the directory only, when it opens it."""
        for name in self._names():
            if name.startswith((TEMPORARY, TRASH)):
                self._fs.remove_tree(self.directory / name)

    def _names(self) -> list[str]:
        """All names in the directory, once it is certain that it is ours. Hidden names of others are let be."""
        kind = self._fs.kind(self.directory)
        if kind == "absent":
            return []
        if kind != "directory":
            raise CheckpointError(self.directory, "should be a directory of snapshots but is none; move it away")
        names = self._fs.names(self.directory)
        for name in names:
            if not name.startswith(".") and not _GENERATION.fullmatch(name):
                reason = f"is no directory of snapshots: it holds {name[:100]!r}; move that away or choose another"
                raise CheckpointError(self.directory, reason)
        return names

    def _next_generation(self) -> int:
        """One more than any number that is, or is known to have been, in use."""
        numbers = [name.removeprefix(RETIRED) for name in self._names() if not name.startswith((TEMPORARY, TRASH))]
        generation = 1 + max((int(number) for number in numbers if _GENERATION.fullmatch(number)), default=0)
        if generation > MAX_GENERATION:
            raise CheckpointError(self.directory, "has used up its numbers; choose another directory")
        return generation

    def _retire(self, generation: int, target: Path) -> None:
        """Move a snapshot away, after making sure that its number will not be given out again."""
        if generation == max(self.generations(), default=0):
            self._mark_used(generation)
        self._fs.rename(self.path(generation), target)
        self._fs.sync_directory(self.directory)

    def _mark_used(self, generation: int) -> None:
        """Leave an empty file whose name says it all: there is no content that could be torn or damaged."""
        old_marks = [name for name in self._names() if name.startswith(RETIRED)]
        mark = f"{RETIRED}{generation:012d}"
        if mark not in old_marks:
            self._fs.write_new(self.directory / mark, b"")
        self._fs.sync_directory(self.directory)  # also for one that is there: whoever made it may have been killed
        for name in old_marks:
            if name < mark:
                self._fs.remove_file(self.directory / name)

    def _check_number(self, generation: int, meta: dict[str, Any]) -> None:
        number = meta.get("generation")
        if type(number) is not int or number != generation:
            raise CheckpointError(self.path(generation), "holds the snapshot of another generation")
