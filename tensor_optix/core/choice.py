"""Which snapshot has been chosen as the best, where that was decided by more than its score? A note on disk."""

from __future__ import annotations

from pathlib import Path

from tensor_optix.errors import CheckpointError
from tensor_optix.storage.file_system import FileSystem
from tensor_optix.storage.strict_json import FormatError, dumps, loads

MAX_BYTES = 1_000


class Choice:
    """``refs/best.json`` below a registry's directory. A note that is missing or says nonsense counts as none."""

    def __init__(self, fs: FileSystem, directory: Path) -> None:
        self._fs = fs
        self._path = directory / "refs" / "best.json"
        self.generation = self._read()

    def make(self, generation: int | None) -> None:
        """Choose this snapshot; None: none is. Raises CheckpointError where the note cannot be written."""
        if generation == self.generation:
            return
        if generation is not None:
            self._fs.ensure_directory(self._path.parent)
            self._fs.replace(self._path, dumps({"snapshot": generation}))
        elif self._fs.kind(self._path) == "file":
            self._fs.remove_file(self._path)
        self.generation = generation

    def _read(self) -> int | None:
        try:
            if self._fs.kind(self._path) != "file":
                return None
            note = loads(self._fs.read(self._path, MAX_BYTES), MAX_BYTES)
        except (CheckpointError, FormatError):
            return None
        generation = note.get("snapshot") if isinstance(note, dict) else None
        return generation if type(generation) is int else None
