"""Damage two snapshots at random, in memory, and see what the registry makes of them.

It may refuse, with a typed error, or load a policy with its score and hyperparameters, all of one snapshot that was
really saved. Anything else is a finding.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.state import split_state
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import CheckpointError, TensorOptixError
from tensor_optix.storage import FileSystem
from tensor_optix.storage.array_format import pack_arrays
from tensor_optix.storage.file_system import Kind
from tests.security.sound_run import ARRAYS, MANIFEST, STATE, ToyAgent, sign

SNAPSHOTS = ("snapshots/000000000001", "snapshots/000000000002")
NAMES = tuple(f"{snapshot}/{name}" for snapshot in SNAPSHOTS for name in (ARRAYS, STATE, MANIFEST))
PAGE = 4096
ODD = (None, True, -1, 0, 1.5, 2**63, "", "x", [], {}, {"__float__": "nan"}, {"__array__": "w"}, 1e300, "0" * 64)

Disk = dict[str, bytes]


class TreeAgent(ToyAgent):
    """Its policy is whatever tree it is given."""

    def __init__(self, tree: dict[str, Any]) -> None:
        super().__init__()
        self.tree = tree

    def policy_state(self) -> dict[str, Any] | None:
        return self.tree

    def load_policy_state(self, state: dict[str, Any]) -> None:
        self.tree = state


class MemoryFileSystem(FileSystem):
    """Files in a dict; there is nothing to write."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = str(root)
        self._disk = disk
        self._folders = {name.rpartition("/")[0] for name in disk} | {"", "snapshots", *SNAPSHOTS}

    def _name(self, path: Path) -> str:
        return str(path)[len(self._root) + 1 :]

    def kind(self, path: Path) -> Kind:
        name = self._name(path)
        return "file" if name in self._disk else "directory" if name in self._folders else "absent"

    def size(self, path: Path) -> int:
        return len(self._disk[self._name(path)])

    def names(self, path: Path) -> list[str]:
        prefix = f"{self._name(path)}/"
        below = (name[len(prefix) :] for name in [*self._disk, *self._folders] if name.startswith(prefix))
        return sorted({name.split("/")[0] for name in below})

    def chunks(self, path: Path, max_bytes: int) -> Iterator[bytes]:
        if self.kind(path) != "file":
            raise CheckpointError(path, "is not a plain file")
        data = self._disk[self._name(path)]
        if len(data) > max_bytes:
            raise CheckpointError(path, "is too large")
        yield data


@dataclass
class Report:
    """What many damaged disks came to; ``findings`` should be empty."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0


def sound_disk(root: Path) -> tuple[Disk, list[bytes]]:
    """Two snapshots as bytes, and what each of them is: a policy with its score and hyperparameters."""
    registry = CheckpointRegistry(root)
    truths = []
    for score in (1.0, 2.0):
        rng = np.random.default_rng(int(score))
        tree = {
            "networks": {"actor": {"w": rng.standard_normal((40, 30), np.float32), "b": rng.standard_normal(7)}},
            "normaliser": {"count": 12345, "mean": rng.standard_normal(4), "seen": np.array([True, False])},
            "notes": ["a", None, 0.1 * score, {"flag": score > 1}],
        }
        metrics = EvalMetrics(score, {"std": 0.25}, 3)
        saved = registry.save(TreeAgent(tree), metrics, HyperparamSet({"lr": score / 1000}))
        truths.append(_essence(tree, saved.eval_metrics, saved.hyperparams))
    return {name: (root / name).read_bytes() for name in NAMES}, truths


def _essence(tree: Any, metrics: EvalMetrics, hyperparams: HyperparamSet) -> bytes:
    state, arrays = split_state(tree)
    return b"".join(pack_arrays(arrays)) + repr((state, metrics, hyperparams)).encode()


def fuzz(n_disks: int, *, seed: int, root: Path) -> Report:
    """Damage ``n_disks`` disks, each in a way of its own that the seed and its number alone decide."""
    disk, truths = sound_disk(root)
    report = Report()
    log = logging.getLogger("tensor_optix")
    level = log.level
    log.setLevel(logging.CRITICAL)  # setting the attribute would leave the cache of what is enabled as it was
    try:
        for number in range(n_disks):
            rng = np.random.default_rng([seed, number])
            kind, damaged = damage(disk, rng)
            _judge(f"{kind}, number {number}", kind, MemoryFileSystem(root, damaged), root, truths, report)
    finally:
        log.setLevel(level)
    return report


def _judge(what: str, kind: str, fs: FileSystem, root: Path, truths: list[bytes], report: Report) -> None:
    agent = TreeAgent({"untouched": 1})
    start = time.perf_counter()
    try:
        snapshot = CheckpointRegistry(root, fs=fs).load_best(agent)
    except TensorOptixError:
        outcome = "refused"
        if agent.tree != {"untouched": 1} or agent.params != {"learning_rate": 0.5}:
            report.findings.append(f"{what}: refused, but the agent was changed")
    except Exception as error:  # noqa: BLE001 - that is the question
        outcome = "crashed"
        report.findings.append(f"{what}: {type(error).__name__}: {error}")
    else:
        assert snapshot is not None
        found = _essence(agent.tree, snapshot.eval_metrics, snapshot.hyperparams)
        outcome = f"loaded {truths.index(found) + 1}" if found in truths else "loaded what was forged"
        if found not in truths and kind != "forgery":
            report.findings.append(f"{what}: loaded what was never saved")
        if agent.params != snapshot.hyperparams.params:
            report.findings.append(f"{what}: other hyperparameters in the agent than in the snapshot")
    seconds = time.perf_counter() - start
    report.slowest_seconds = max(report.slowest_seconds, seconds)
    report.outcomes[outcome] += 1


# -- ways to damage --------------------------------------------------------------------------------------------


def damage(disk: Disk, rng: np.random.Generator) -> tuple[str, Disk]:
    """(the kind of damage, a disk with one to three damages of it)."""
    kind = str(rng.choice(list(DAMAGES)))
    damaged = dict(disk)
    for _ in range(rng.integers(1, 4)):
        DAMAGES[kind](damaged, rng)
    return kind, damaged


def _one(disk: Disk, rng: np.random.Generator) -> str:
    return str(rng.choice(sorted(disk)))


def _truncate(disk: Disk, rng: np.random.Generator) -> None:
    """At a boundary of a page or beside it, at an end, or anywhere."""
    name = _one(disk, rng)
    data = disk[name]
    near_pages = [max(position + shift, 0) for position in range(0, len(data), PAGE) for shift in (-1, 0, 1)]
    position = rng.choice([*near_pages, len(data) - 1, len(data) // 2, int(rng.integers(len(data) + 1))])
    disk[name] = data[:position]


def _flip_bits(disk: Disk, rng: np.random.Generator) -> None:
    name = _one(disk, rng)
    data = bytearray(disk[name])
    for position in rng.integers(len(data), size=rng.integers(1, 9)) if data else ():
        data[position] ^= 1 << int(rng.integers(8))
    disk[name] = bytes(data)


def _zero_page(disk: Disk, rng: np.random.Generator) -> None:
    name = _one(disk, rng)
    data = disk[name]
    size = int(rng.choice([512, PAGE]))
    start = int(rng.integers(len(data) // size + 1)) * size
    disk[name] = data[:start] + b"\0" * len(data[start : start + size]) + data[start + size :]


def _splice(disk: Disk, rng: np.random.Generator) -> None:
    """Put a piece of any file in the place of any piece of another one, which may be empty."""
    source, name = disk[_one(disk, rng)], _one(disk, rng)
    data = disk[name]
    a, b = sorted(rng.integers(len(source) + 1, size=2))
    c, d = sorted(rng.integers(len(data) + 1, size=2))
    disk[name] = data[:c] + source[a:b] + data[d:]


def _swap(disk: Disk, rng: np.random.Generator) -> None:
    """Two files, of one snapshot or of two."""
    one, other = _one(disk, rng), _one(disk, rng)
    disk[one], disk[other] = disk[other], disk[one]


def _swap_namesakes(disk: Disk, rng: np.random.Generator) -> None:
    """One to three files between the snapshots; three are whole snapshots under each other's numbers."""
    for name in rng.permutation([ARRAYS, STATE, MANIFEST])[: rng.integers(1, 4)]:
        one, other = (f"{snapshot}/{name}" for snapshot in SNAPSHOTS)
        disk[one], disk[other] = disk[other], disk[one]


def _lose_or_add(disk: Disk, rng: np.random.Generator) -> None:
    if len(disk) > 1 and rng.random() < 0.5:
        del disk[_one(disk, rng)]
    else:
        disk[f"{rng.choice(SNAPSHOTS)}/{rng.choice(['a.pkl', 'weights', 'weights/a', '.hidden'])}"] = b"more"


def _edit_json(disk: Disk, rng: np.random.Generator) -> None:
    """Change a value somewhere inside, and leave every hash as it was."""
    name = f"{rng.choice(SNAPSHOTS)}/{rng.choice([STATE, MANIFEST])}"
    value = json.loads(disk[name])
    _change_somewhere(value, rng)
    disk[name] = json.dumps(value).encode()


def _forge(disk: Disk, rng: np.random.Generator) -> None:
    """Change a value somewhere inside, and make every hash right again."""
    snapshot, name = str(rng.choice(SNAPSHOTS)), str(rng.choice([STATE, MANIFEST]))
    value = json.loads(disk[f"{snapshot}/{name}"])
    _change_somewhere(value, rng)
    manifest = value
    if name == STATE:
        data = json.dumps(value).encode()
        disk[f"{snapshot}/{STATE}"] = data
        manifest = json.loads(disk[f"{snapshot}/{MANIFEST}"])
        record = {"name": STATE, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        files = manifest.get("files")
        manifest["files"] = [files[0], record] if isinstance(files, list) and files else [record]
    sign(manifest)
    disk[f"{snapshot}/{MANIFEST}"] = json.dumps(manifest).encode()


def _change_somewhere(value: Any, rng: np.random.Generator) -> None:
    """Walk down at random; replace, remove, rename or exchange what is found."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key, other = (keys[int(index)] for index in rng.integers(len(keys), size=2))
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.7:
            value = value[key]
            continue
        choice = rng.integers(5)
        if choice == 0:
            value[key] = ODD[rng.integers(len(ODD))]
        elif choice == 1 and isinstance(value[key], int | float):
            value[key] = value[key] * float(rng.choice([-1.0, 0.5, 2.0, 1.1])) + int(rng.integers(2))
        elif choice == 2:
            value[key], value[other] = value[other], value[key]
        elif choice == 3 and isinstance(value, dict):
            value[f"{key}x"] = value.pop(key)
        else:
            del value[key]
        return


DAMAGES: dict[str, Callable[[Disk, np.random.Generator], None]] = {
    "truncation": _truncate, "flipped bits": _flip_bits, "a zeroed page": _zero_page, "a splice": _splice,
    "swapped files": _swap, "swapped namesakes": _swap_namesakes, "a file more or less": _lose_or_add,
    "an edit": _edit_json, "forgery": _forge,
}  # fmt: skip
