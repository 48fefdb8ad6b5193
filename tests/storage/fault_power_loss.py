"""What may be left on a disk when the power goes: every state that a log of operations allows.

Nothing is certain but what was synced. The unsynced end of a file may be missing, half there, zeros, or zeros and then
data; each unsynced change of a directory (a name made, moved or deleted) may have happened or not, in any combination.
That is more than any real file system does, so whatever survives here survives there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fault_file_systems import Operation

Tree = bytes | tuple[tuple[str, "Tree"], ...]  # a file's content, or a directory's names with what they lead to


@dataclass(eq=False)
class File:
    """A file: what is on the platter, and what was written since."""

    durable: bytes = b""
    pending: bytes = b""

    def sync(self) -> None:
        self.durable, self.pending = self.durable + self.pending, b""

    def states(self) -> set[Tree]:
        size, half = len(self.pending), len(self.pending) // 2
        ends = {b"", self.pending[:half], self.pending, bytes(size), bytes(half) + self.pending[half:]}
        return {self.durable + end for end in ends}


@dataclass(eq=False)
class Directory:
    """A directory: the names on the platter, and the changes since; a change gives names a new meaning or none."""

    durable: dict[str, File | Directory] = field(default_factory=dict)
    pending: list[dict[str, File | Directory | None]] = field(default_factory=list)

    def names(self) -> dict[str, File | Directory]:
        return self._after(self.pending)

    def sync(self) -> None:
        self.durable, self.pending = self.names(), []

    def states(self) -> set[Tree]:
        assert len(self.pending) <= 12, "too many unsynced changes to try every combination"
        states: set[Tree] = set()
        chosen = itertools.product((False, True), repeat=len(self.pending))
        for names in {frozenset(self._after(itertools.compress(self.pending, which)).items()) for which in chosen}:
            ordered = sorted(names, key=lambda item: item[0])
            contents = [[(name, state) for state in node.states()] for name, node in ordered]
            states.update(itertools.product(*contents))
        return states

    def _after(self, changes: Iterator[dict] | list[dict]) -> dict[str, File | Directory]:  # type: ignore[type-arg]
        names = dict(self.durable)
        for change in changes:
            for name, node in change.items():
                if node is None:
                    names.pop(name, None)
                else:
                    names[name] = node
        return names


class Disk:
    """Follows a log of operations below ``root``, from what is there now and is taken to be on the platter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = _loaded(root)

    def follow(self, operation: Operation) -> None:
        path, kind = operation.path, operation.kind
        if kind in ("make", "create"):
            self._parent(path).pending.append({path.name: Directory() if kind == "make" else File()})
        elif kind == "write":
            file = self._node(path)
            assert isinstance(file, File)
            file.pending += operation.data if path.name != "LOCK" else b""  # says nothing once its holder is gone
        elif kind == "sync" and path.is_relative_to(self.root):
            self._node(path).sync()
        elif kind in ("unlink", "rmdir"):
            self._parent(path).pending.append({path.name: None})
        elif kind == "rename":
            self._rename(path, operation.target or path)

    def states(self) -> set[Tree]:
        """Everything that the disk may hold if the power goes now."""
        return self.top.states()

    def _rename(self, source: Path, target: Path) -> None:
        node, old, new = self._node(source), self._parent(source), self._parent(target)
        if old is new:
            old.pending.append({source.name: None, target.name: node})
        else:  # two directories, two changes: either may be missing
            old.pending.append({source.name: None})
            new.pending.append({target.name: node})

    def _parent(self, path: Path) -> Directory:
        parent = self._node(path.parent)
        assert isinstance(parent, Directory)
        return parent

    def _node(self, path: Path) -> File | Directory:
        node: File | Directory = self.top
        for name in path.relative_to(self.root).parts:
            assert isinstance(node, Directory)
            node = node.names()[name]
        return node


def states_after_power_loss(
    root: Path, log: list[Operation]
) -> Iterator[tuple[Tree, frozenset[str], Operation | None]]:
    """What is on the disk, what was promised by then, and the last operation before, for every possible instant.

    ``root`` must be as it was before the first operation of ``log``.
    """
    disk = Disk(root)
    promises: frozenset[str] = frozenset()
    seen: set[tuple[Tree, frozenset[str]]] = set()
    for operation in (None, *log):
        if operation is not None and operation.kind == "acknowledge":
            promises |= {str(operation.path)}
        elif operation is not None:
            disk.follow(operation)
        for state in disk.states():
            if (state, promises) not in seen:
                seen.add((state, promises))
                yield state, promises, operation


def write_tree(tree: Tree, path: Path) -> None:
    """Make a state real."""
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, node in tree:
        write_tree(node, path / name)


def moved(log: list[Operation], old: Path, new: Path) -> list[Operation]:
    """The log as if all had happened below ``new``."""

    def move(path: Path) -> Path:
        return new / path.relative_to(old) if path.is_relative_to(old) else path

    return [
        Operation(entry.kind, move(entry.path), entry.target and move(entry.target), entry.data) for entry in log
    ]


def _loaded(path: Path) -> Directory:
    names: Mapping[str, File | Directory] = {
        child.name: _loaded(child) if child.is_dir() else File(child.read_bytes()) for child in path.iterdir()
    }
    return Directory(dict(names))
