"""What a training run does to its directory, scene by scene, and what must hold after any of them was cut short.

A scenario prepares a directory on a sound disk, acts on a faulty one and says what it promises meanwhile; ``check``
then opens the directory as the next process would: it raises ``Lost`` or ``WronglyAccepted``, or finds all in order.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem, RunDirectory, SnapshotStore, latest_run, read_archive, save_archive

Promise = Callable[[str], None]

LEFTOVERS = (".tmp-", ".trash-")


class Lost(AssertionError):
    """Something that was promised is not there."""


class WronglyAccepted(AssertionError):
    """Something is there that nobody wrote, or not as it was written."""


class QuickFileSystem(FileSystem):
    """A sound disk that does not wait for the platter."""

    def _sync(self, descriptor: int) -> None:
        pass


SOUND = QuickFileSystem()


@dataclass(frozen=True)
class Scenario:
    """``act`` tells its third argument what it promises; ``check`` gets the promises made before the fault."""

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[FileSystem, Path, Promise], None]
    check: Callable[[Path, set[str], bool], None]  # root, promises, whether the power was lost

    def __str__(self) -> str:
        return self.name


class Agent(BaseAgent):
    """One weight, as state; or, given a ``layout``, as files of its own."""

    def __init__(self, fs: FileSystem = SOUND, weight: float = 0.0, layout: str = "state") -> None:
        self.fs, self.layout = fs, layout
        self.weight = np.full(5, weight)

    def act(self, observation: Any) -> Any:
        return 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        pass

    def policy_state(self) -> dict[str, Any] | None:
        return {"weight": self.weight} if self.layout == "state" else None

    def load_policy_state(self, state: dict[str, Any]) -> None:
        self.weight = state["weight"]

    def save_weights(self, path: str) -> None:
        if self.layout == "directory":
            self.fs.make_directory(Path(path))
        self.fs.append(self._file(path), f"{self.weight[0]}".encode())  # not synced: that is the archive's business

    def load_weights(self, path: str) -> None:
        self.weight = np.full(5, float(self._file(path).read_bytes()))

    def _file(self, path: str) -> Path:
        return Path(path) / "weight" if self.layout == "directory" else Path(path)


# -- the registry: commit, prune, quarantine, sweep ------------------------------------------------------------


def open_registry(fs: FileSystem, root: Path) -> CheckpointRegistry:
    """The registry of the scenarios' run: it keeps the two best."""
    return CheckpointRegistry(root / "run", max_snapshots=2, fs=fs)


def save(registry: CheckpointRegistry, agent: Agent) -> int:
    """Commit ``agent`` with its weight as its score."""
    score = float(agent.weight[0])
    return int(registry.save(agent, EvalMetrics(score, {}, 0, 0.0), HyperparamSet({}, 0, 0.0)).snapshot_id)


def _new_run(root: Path) -> None:
    RunDirectory.create(SOUND, root, "run", {"seed": 1}).release()


def _run_with_snapshots(root: Path, layout: str = "state") -> None:
    """Generations 2 and 3 with the scores 2 and 3; generation 1 has been pruned."""
    _new_run(root)
    registry = open_registry(SOUND, root)
    for score in (1.0, 2.0, 3.0):
        save(registry, Agent(SOUND, score, layout))


def _run_with_mark(root: Path) -> None:
    """The same, after a fourth one was pruned at once: a mark keeps its number from being used again."""
    _run_with_snapshots(root)
    save(open_registry(SOUND, root), Agent(SOUND, 0.0))


def _run_with_damage(root: Path) -> None:
    _run_with_snapshots(root)
    arrays = open_registry(SOUND, root).best
    assert arrays is not None
    path = Path(arrays.weights_path) / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def _run_with_leftovers(root: Path) -> None:
    """What killed processes leave: a half commit, a half deletion, a half replacement, a half row."""
    _run_with_snapshots(root)
    snapshots = root / "run" / "snapshots"
    for name in (".tmp-000000000004-0a0a0a0a", ".trash-000000000001-0b0b0b0b"):
        (snapshots / name).mkdir()
        (snapshots / name / "arrays.safetensors").write_bytes(b"half")
    (root / "run" / ".tmp-run.json-0c0c0c0c").write_bytes(b"{")
    (root / "run" / "metrics.jsonl").write_bytes(b'{"tick":0}\n{"ti')


def _saving(*scores: float, layout: str = "state") -> Callable[[FileSystem, Path, Promise], None]:
    def act(fs: FileSystem, root: Path, promise: Promise) -> None:
        registry = open_registry(fs, root)
        for score in scores:
            generation = save(registry, Agent(fs, score, layout))
            promise(f"{score} {generation}")

    return act


def _load_best(fs: FileSystem, root: Path, promise: Promise) -> None:
    registry = open_registry(fs, root)
    registry.sweep()  # makes it the writer, and only a writer puts damaged snapshots aside
    registry.load_best(Agent(fs))


def _open_for_writing(fs: FileSystem, root: Path, promise: Promise) -> None:
    run = RunDirectory.open(fs, root / "run")
    run.lock()
    try:
        open_registry(fs, root).sweep()
    finally:
        run.release()


def _check_registry(
    before: set[float], new: set[float], may_go: set[float], layout: str = "state", used: int = 3
) -> Callable[[Path, set[str], bool], None]:
    """A check that ``before`` and what was promised of ``new`` is there, except what ``may_go``, and nothing else.

    ``used`` is the highest generation in use before the act.
    """

    def check(root: Path, promises: set[str], power_lost: bool) -> None:
        promised = dict(map(float, promise.split()) for promise in promises)
        _open_for_writing(SOUND, root, _unheard)
        loaded = _loadable(root, layout)
        if missing := (before | promised.keys()) - may_go - loaded.keys():
            raise Lost(f"the policies with the scores {sorted(missing)} do not load")
        if extra := loaded.keys() - before - new:
            raise WronglyAccepted(f"nobody saved the scores {sorted(extra)}")
        _check_best(root, loaded, layout)
        _check_no_leftovers(root)
        _check_next_save(root, max([used, *promised.values()]), layout)

    return check


def _loadable(root: Path, layout: str) -> dict[float, int]:
    """Score -> generation of every snapshot that the reader accepts."""
    loaded = {}
    store = SnapshotStore(SOUND, root / "run" / "snapshots")
    for generation in store.generations():
        try:
            archive = store.read(generation)
        except CheckpointError:
            continue
        agent = Agent(layout=layout)
        if layout == "state":
            agent.weight = archive.arrays["weight"]
        else:
            agent.load_weights(str(archive.directory / "weights"))
        if not np.array_equal(agent.weight, np.full(5, archive.meta["score"])):
            raise WronglyAccepted(f"generation {generation} holds other weights than were saved")
        loaded[archive.meta["score"]] = generation
    return loaded


def _check_best(root: Path, loaded: dict[float, int], layout: str) -> None:
    agent = Agent(layout=layout)
    try:
        best = open_registry(SOUND, root).load_best(agent)
    except CheckpointError as error:
        raise Lost(str(error)) from error
    if best is None and loaded:
        raise Lost("snapshots are there but none is best")
    if best is not None and (agent.weight[0] != best.eval_metrics.primary_score or agent.weight[0] != max(loaded)):
        raise WronglyAccepted(f"the best is {agent.weight[0]}, the scores are {sorted(loaded)}")


def _check_no_leftovers(root: Path) -> None:
    left = [path for path in root.rglob("*") if path.name.startswith(LEFTOVERS)]
    if left:
        raise WronglyAccepted(f"{left} is left over")


def _check_next_save(root: Path, used: float, layout: str) -> None:
    generation = save(open_registry(SOUND, root), Agent(SOUND, 9.0, layout))
    if generation <= used:
        raise WronglyAccepted(f"generation {generation} was given out again; {used:.0f} is in use")
    _check_best(root, {9.0: generation}, layout)


# -- the training state: only the newest is kept ---------------------------------------------------------------


def _training_store(fs: FileSystem, root: Path) -> SnapshotStore:
    return SnapshotStore(fs, root / "run" / "training")


def _run_with_training(root: Path) -> None:
    _new_run(root)
    _training_store(SOUND, root).commit({"tick": 1}, {"m": np.full(3, 1.0)}, {})


def _training(n_rounds: int) -> Callable[[FileSystem, Path, Promise], None]:
    def act(fs: FileSystem, root: Path, promise: Promise) -> None:
        store = _training_store(fs, root)
        for tick in range(2, 2 + n_rounds):
            newest = store.commit({"tick": tick}, {"m": np.full(3, float(tick))}, {})
            promise(f"tick {newest}")
            for generation in store.generations():
                if generation != newest:
                    store.remove(generation)

    return act


def _check_training(root: Path, promises: set[str], power_lost: bool) -> None:
    store = _training_store(SOUND, root)
    store.sweep()
    newest = max(store.generations(), default=0)
    promised = max((int(promise.split()[1]) for promise in promises), default=1)
    if newest < promised:
        raise Lost(f"the training state {promised} is gone, {newest} is the newest")
    try:
        archive = store.read(newest)
    except CheckpointError as error:
        raise Lost(str(error)) from error
    if archive.state != {"tick": newest} or not np.array_equal(archive.arrays["m"], np.full(3, float(newest))):
        raise WronglyAccepted(f"the training state {newest} holds {archive.state}")
    _check_no_leftovers(root)
    if store.commit({}, {}, {}) <= newest:
        raise WronglyAccepted("a generation was given out again")


# -- the run: creation, run.json, logs, files ------------------------------------------------------------------


def _run_a(root: Path) -> None:
    RunDirectory.create(SOUND, root / "runs", "a", {}).release()


def _create_run(fs: FileSystem, root: Path, promise: Promise) -> None:
    run = RunDirectory.create(fs, root / "runs", "b", {"seed": 2})
    run.release()
    promise("created")


def _check_created(root: Path, promises: set[str], power_lost: bool) -> None:
    newest = latest_run(SOUND, root / "runs")
    if "created" in promises and (newest is None or newest.name != "b"):
        raise Lost("the new run is gone")
    if newest is None and (root / "runs" / "b").exists():
        raise WronglyAccepted("a run without run.json has its final name")
    if newest is not None and newest.name == "b":
        run = RunDirectory.open(SOUND, newest)
        run.lock()
        run.release()
        if run.identity != {"seed": 2}:
            raise WronglyAccepted(f"the new run is {run.identity}")
    later = RunDirectory.create(SOUND, root / "runs", "c", {})
    later.release()
    if latest_run(SOUND, root / "runs") != later.path:
        raise WronglyAccepted("the run created last is not the latest")
    _check_no_leftovers(root)


def _update_run(fs: FileSystem, root: Path, promise: Promise) -> None:
    run = RunDirectory.open(fs, root / "run")
    run.lock()
    try:
        for score in (1.0, 2.0):
            run.update_summary({"score": score})
            promise(f"{score}")
        run.write_bytes("media/plan.json", b"new")
        promise("plan")
    finally:
        run.release()


def _check_updated(root: Path, promises: set[str], power_lost: bool) -> None:
    run = RunDirectory.open(SOUND, root / "run")
    run.lock()
    run.release()
    score = run.summary.get("score", 0.0)
    if score < max((float(promise) for promise in promises - {"plan"}), default=0.0):
        raise Lost(f"run.json says {score} after {sorted(promises)}")
    if run.identity != {"seed": 1} or score not in (0.0, 1.0, 2.0):
        raise WronglyAccepted(f"run.json says {run.identity}, {run.summary}")
    path = root / "run" / "media" / "plan.json"
    plan = path.read_bytes() if path.exists() else None
    if "plan" in promises and plan is None:
        raise Lost("plan.json is gone")
    if plan not in (None, b"new"):
        raise WronglyAccepted(f"plan.json holds {plan!r}")
    run.lock()
    run.write_bytes("media/plan.json", b"newer")
    run.release()
    _check_no_leftovers(root)


def _run_with_rows(root: Path) -> None:
    _new_run(root)
    (root / "run" / "metrics.jsonl").write_bytes(b'{"tick":0}\n')


def _log(fs: FileSystem, root: Path, promise: Promise) -> None:
    run = RunDirectory.open(fs, root / "run")
    run.lock()
    try:
        for tick in (1, 2, 3):
            run.append_metrics({"tick": tick})
            promise(f"{tick}")
    finally:
        run.release()


def _check_logged(root: Path, promises: set[str], power_lost: bool) -> None:
    """Rows are promised to survive a killed process, not a power loss: then the last ones may be missing."""
    for _ in range(2):  # as a reader finds them, then as the next writer leaves them
        run = RunDirectory.open(SOUND, root / "run")
        ticks = [row["tick"] for row in run.read_metrics()]
        if len(ticks) < (1 if power_lost else 1 + len(promises)):
            raise Lost(f"only the rows {ticks} are left of {len(promises)} promised")
        if ticks != [0, 1, 2, 3][: len(ticks)]:
            raise WronglyAccepted(f"the rows are {ticks}")
        run.lock()
        run.release()
    run.lock()
    run.append_metrics({"tick": 9})
    run.release()
    if [row["tick"] for row in run.read_metrics()] != [*ticks, 9]:
        raise Lost("a row appended after the fault is not read")
    _check_no_leftovers(root)


# -- one archive that is replaced ------------------------------------------------------------------------------


def _save_archive(fs: FileSystem, root: Path, value: int, layout: str) -> None:
    agent = Agent(fs, value, layout)
    write_extra = None if layout == "state" else lambda path: agent.save_weights(str(path))
    arrays = {"w": np.full(3, float(value))}
    save_archive(fs, root / "final", state=value, arrays=arrays, meta={}, write_extra=write_extra)


def _prepare_archive(root: Path) -> None:
    _save_archive(SOUND, root, 1, "state")


def _archiving(*values: int, layout: str = "state") -> Callable[[FileSystem, Path, Promise], None]:
    def act(fs: FileSystem, root: Path, promise: Promise) -> None:
        for value in values:
            _save_archive(fs, root, value, layout)
            promise(f"{value}")

    return act


def _check_archive(oldest: int) -> Callable[[Path, set[str], bool], None]:
    def check(root: Path, promises: set[str], power_lost: bool) -> None:
        promised = max(map(int, promises), default=oldest)
        try:
            archive = read_archive(SOUND, root / "final")
        except CheckpointError as error:
            if promised:
                raise Lost(str(error)) from error
        else:
            if archive.state < promised:
                raise Lost(f"archive {promised} was promised, {archive.state} is there")
            if not np.array_equal(archive.arrays["w"], np.full(3, float(archive.state))):
                raise WronglyAccepted(f"archive {archive.state} holds {archive.arrays}")
        _save_archive(SOUND, root, 9, "state")
        if read_archive(SOUND, root / "final").state != 9:
            raise Lost("an archive saved after the fault is not read")
        left = [name for name in SOUND.names(root) if name.startswith(".final")]
        if left:
            raise WronglyAccepted(f"{left} is left over")

    return check


def _nothing(root: Path) -> None:
    pass


def _unheard(promise: str) -> None:
    pass


def scenarios(n_rounds: int = 1) -> list[Scenario]:
    """Every scene; those that can be repeated act ``n_rounds`` times."""
    rounds = range(n_rounds)
    better, worse = [4.0 + n for n in rounds], [0.5 + n / 100 for n in rounds]
    return [
        Scenario(
            "first commit", _new_run, _saving(*better), _check_registry(set(), {*better}, {*better[:-2]}, used=0)
        ),
        Scenario(
            "commit and prune", _run_with_snapshots, _saving(*better),
            _check_registry({2.0, 3.0}, {*better}, {2.0, 3.0, *better[:-2]}),
        ),
        Scenario(
            "commit and prune of the same", _run_with_mark, _saving(*worse),
            _check_registry({2.0, 3.0}, {*worse}, {*worse}, used=4),
        ),
        Scenario(
            "commit of a file of the agent's", lambda root: _run_with_snapshots(root, "file"),
            _saving(4.0, layout="file"), _check_registry({2.0, 3.0}, {4.0}, {2.0}, "file"),
        ),
        Scenario(
            "commit of a directory of the agent's", lambda root: _run_with_snapshots(root, "directory"),
            _saving(4.0, layout="directory"), _check_registry({2.0, 3.0}, {4.0}, {2.0}, "directory"),
        ),
        Scenario("quarantine", _run_with_damage, _load_best, _check_registry({2.0}, set(), set())),
        Scenario("sweep", _run_with_leftovers, _open_for_writing, _check_registry({2.0, 3.0}, set(), set())),
        Scenario("training state", _run_with_training, _training(n_rounds), _check_training),
        Scenario("first run", _nothing, _create_run, _check_created),
        Scenario("another run", _run_a, _create_run, _check_created),
        Scenario("run.json and files", _new_run, _update_run, _check_updated),
        Scenario("rows", _run_with_rows, _log, _check_logged),
        Scenario("first archive", _nothing, _archiving(1), _check_archive(0)),
        Scenario("replaced archive", _prepare_archive, _archiving(*range(2, 2 + n_rounds)), _check_archive(1)),
        Scenario(
            "replaced archive of the agent's", _prepare_archive, _archiving(2, layout="directory"), _check_archive(1)
        ),
    ]  # fmt: skip


def loading() -> Scenario:
    """Changes nothing on a sound disk."""
    return Scenario("loading", _run_with_snapshots, _load_best, _check_registry({2.0, 3.0}, set(), set()))


@contextmanager
def prepared(scenario: Scenario) -> Iterator[Path]:
    """A scratch directory whose ``prepared`` is ready for the scenario; in memory where that can be had."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as scratch:
        root = Path(scratch).resolve() / "prepared"
        root.mkdir()
        scenario.prepare(root)
        yield root.parent


def tell(figure: str) -> None:
    """Show a figure of a proof; pytest shows it with -rP."""
    sys.stdout.write(f"{figure}\n")


def in_child(act: Callable[[Promise], None]) -> tuple[int, set[str]]:
    """Run ``act`` in a process of its own; its exit status, and what it promised before it ended."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads; nothing here uses them
        child = os.fork()
    if child == 0:
        status = 1
        try:
            act(lambda promise: os.write(writer, f"{promise}\n".encode()) and None)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        promises = set(pipe.read().splitlines())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), promises
