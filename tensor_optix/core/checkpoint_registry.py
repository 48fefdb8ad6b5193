"""The best policies of a run, on disk: which are kept, which is best, and how one comes back into an agent."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.choice import Choice
from tensor_optix.core.own_weights import loading_weights, writing_weights
from tensor_optix.core.state import join_state, split_state
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import CheckpointError, ConfigError
from tensor_optix.storage.archive import WEIGHTS, Archive
from tensor_optix.storage.file_system import FileSystem
from tensor_optix.storage.snapshot_store import SnapshotStore

_log = logging.getLogger(__name__)

STATE_KIND, OPAQUE_KIND = "state", "opaque"  # a policy_state tree; or whatever the agent's save_weights wrote


class CheckpointRegistry:
    """Keeps the best policy and the most promising others, ``max_snapshots`` in all, below ``checkpoint_dir``.

    Best is the highest score; promise is the posterior score, where a policy was saved with one, else its score: a
    lucky evaluation does not push out policies that are better. Of equals the later counts as better.

    Nothing is written before the first ``save``; a registry that never saves or sweeps only reads, whatever it
    finds. Several registries on one path see each other's snapshots. With ``require_finite`` a policy whose arrays
    hold NaN or infinity counts as damaged. Raises CheckpointError when the path holds something else.
    """

    def __init__(
        self,
        checkpoint_dir: str | Path,
        max_snapshots: int = 10,
        *,
        fs: FileSystem | None = None,
        run_id: str = "",
        require_finite: bool = True,
    ) -> None:
        if max_snapshots < 1:
            raise ConfigError(f"max_snapshots must be at least 1, got {max_snapshots}")
        self.checkpoint_dir = Path(checkpoint_dir).resolve()
        self.max_snapshots = max_snapshots
        self.run_id = run_id
        self.require_finite = require_finite
        fs = fs if fs is not None else FileSystem()
        if fs.kind(self.checkpoint_dir) not in ("absent", "directory"):
            raise CheckpointError(self.checkpoint_dir, "is a file; give a directory for checkpoints")
        self._store = SnapshotStore(fs, self.checkpoint_dir / "snapshots")
        self._known: dict[int, PolicySnapshot] = {}
        self._unusable: dict[int, CheckpointError] = {}
        self._choice = Choice(fs, self.checkpoint_dir)
        self._is_writer = False
        self._store.generations()  # refuses foreign content now rather than at the first save

    # -- what there is -----------------------------------------------------------------------------------------

    @property
    def snapshots(self) -> list[PolicySnapshot]:
        """All snapshots, best first. One whose manifest cannot be read is left out (and told, once)."""
        generations = self._store.generations()
        for generation in generations:
            if generation not in self._known and not _is_damage(self._unusable.get(generation)):
                self._look_at(generation)
        present = [(self._known[number], number) for number in generations if number in self._known]
        chosen = self._choice.generation
        present.sort(key=lambda pair: (pair[1] == chosen, pair[0].rank, pair[1]), reverse=True)
        return [snapshot for snapshot, _ in present]

    @property
    def best(self) -> PolicySnapshot | None:
        """The snapshot that was chosen, else the one with the highest score, or None."""
        return next(iter(self.snapshots), None)

    def would_keep(self, score: float, posterior_score: float | None = None) -> bool:
        """True when a policy with this score, saved now, would not be pruned at once."""
        kept = self._most_promising()
        if math.isnan(score) or len(kept) < self.max_snapshots:
            return not math.isnan(score)
        promise = score if posterior_score is None else posterior_score
        return score >= kept[0].rank or (len(kept) > 1 and promise >= kept[self.max_snapshots - 1].promise)

    def best_before(self, window: int) -> PolicySnapshot | None:
        """The best of the policies that earlier windows scored: a resumed run collects some windows again, and what
        it has not reached yet must not act on it."""
        return next((snapshot for snapshot in self.snapshots if snapshot.episode_id < window), None)

    def find(self, eval_metrics: EvalMetrics, hyperparams: HyperparamSet) -> PolicySnapshot | None:
        """The snapshot of this window with this score and these hyperparameters, if there is one already."""
        wanted = (eval_metrics.episode_id, eval_metrics.primary_score, hyperparams.params)
        for snapshot in self.snapshots:
            if (snapshot.episode_id, snapshot.eval_metrics.primary_score, snapshot.hyperparams.params) == wanted:
                return snapshot
        return None

    def choose(self, snapshot: PolicySnapshot | None) -> None:
        """This one is the best, whatever the scores say: it has won a comparison. None: the scores decide again."""
        self._is_writer = True
        self._choice.make(None if snapshot is None else int(snapshot.snapshot_id))

    # -- saving ------------------------------------------------------------------------------------------------

    def save(
        self,
        agent: Any,
        eval_metrics: EvalMetrics,
        hyperparams: HyperparamSet,
        *,
        selection_score: float | None = None,
        posterior_score: float | None = None,
    ) -> PolicySnapshot:
        """Commit the agent's policy with its score; then, and only then, drop what is beyond ``max_snapshots``.

        selection_score: what policies are compared by, if not the score in ``eval_metrics``. posterior_score: what is
        known of the policy's level beyond that one score.

        Raises ConfigError for a NaN score, CheckpointError when nothing could be committed.
        """
        score = float(eval_metrics.primary_score)
        if math.isnan(score):
            raise ConfigError("a policy with the score NaN cannot be kept: there is nothing to rank it by")
        agent = as_agent(agent)
        policy = agent.policy_state()
        kind = OPAQUE_KIND if policy is None else STATE_KIND
        meta = self._meta(kind, score, eval_metrics, hyperparams)
        given = {"selection_score": selection_score, "posterior_score": posterior_score}
        meta |= {name: float(value) for name, value in given.items() if value is not None}
        self._is_writer = True
        if policy is None:
            generation = self._store.commit({}, {}, meta, writing_weights(agent.save_weights))
        else:
            generation = self._store.commit(*split_state(policy), meta)
        snapshot = self._described(generation, self._store.meta(generation))
        self._known[generation] = snapshot
        self._prune()
        return snapshot

    def sweep(self) -> None:
        """Delete what a killed writer left half done. Only for whoever holds the run's lock."""
        self._is_writer = True
        self._store.sweep()

    # -- restoring ---------------------------------------------------------------------------------------------

    def load_best(
        self, agent: Any, *, before_window: int | None = None, with_hyperparams: bool = True
    ) -> PolicySnapshot | None:
        """Bring the best policy and its hyperparameters into ``agent``; None when nothing was ever saved.

        before_window: only among those that earlier windows scored. with_hyperparams: False leaves the agent its own,
        some of which may be fixed.

        A damaged snapshot is told, moved to ``quarantine/`` by the run's writer, and the next best one used.
        Raises CheckpointError when every snapshot is damaged or the agent cannot take the policy over,
        ArchitectureMismatch when the agent is another one; the agent is then as it was (an agent that writes its
        weights itself: as its ``load_weights`` left it).
        """
        agent = as_agent(agent)
        for snapshot, policy in self._sound_policies():
            if before_window is not None and snapshot.episode_id >= before_window:
                continue
            with _all_or_nothing(agent, snapshot):
                if with_hyperparams:
                    agent.set_hyperparams(snapshot.hyperparams.copy())  # first: it can be undone in any agent
                _restore_weights(agent, snapshot, policy)
            return snapshot
        return None

    def load(self, agent: Any, snapshot: PolicySnapshot) -> None:
        """Bring this very policy and its hyperparameters into ``agent``. Raises CheckpointError."""
        agent = as_agent(agent)
        policy = self._policy(self._store.read(int(snapshot.snapshot_id)))
        with _all_or_nothing(agent, snapshot):
            agent.set_hyperparams(snapshot.hyperparams.copy())
            _restore_weights(agent, snapshot, policy)

    def load_ensemble(self, agent: Any, top_k: int = 3, score_band: float = 0.1) -> PolicySnapshot | None:
        """Bring the mean of the best policies into ``agent``: at most ``top_k``, with scores of at least
        ``best - |best| * score_band``. With fewer than two of them it is ``load_best``.

        Whatever the agent does not average (statistics, hyperparameters) is the best policy's, which is returned.
        """
        agent = as_agent(agent)
        best = self.load_best(agent)
        if best is None:
            return None
        top = best.rank
        floor = top - abs(top) * score_band
        paths: list[str] = []
        for snapshot, _ in self._sound_policies():
            if len(paths) == top_k or snapshot.rank < floor:
                break
            paths.append(snapshot.weights_path)
        if len(paths) > 1:
            with _all_or_nothing(agent, best), loading_weights(agent, best.weights_path):
                agent.average_weights(paths)
        return best

    # -- helpers -----------------------------------------------------------------------------------------------

    def _sound_policies(self) -> Iterator[tuple[PolicySnapshot, dict[str, Any] | None]]:
        """(snapshot, its policy state or None for an opaque one), best first, each verified when asked for."""
        n_sound, problems = 0, []
        listed = self.snapshots
        for snapshot in listed:
            try:
                policy = self._policy(self._store.read(int(snapshot.snapshot_id)))
            except CheckpointError as error:
                self._put_aside(int(snapshot.snapshot_id), error)
                problems.append(error)
                continue
            if problems and not n_sound:
                _log.warning("snapshot %s is used instead", snapshot.snapshot_id)
            n_sound += 1
            yield snapshot, policy
        if n_sound:
            return
        if {found.snapshot_id for found in self.snapshots} - {found.snapshot_id for found in listed}:
            yield from self._sound_policies()  # a writer has replaced all of them meanwhile
        elif all_problems := [*self._unusable.values(), *problems]:
            told = "; ".join(dict.fromkeys(map(str, all_problems)))
            raise CheckpointError(self._store.directory, f"every snapshot is damaged: {told}")

    def _policy(self, archive: Archive) -> dict[str, Any] | None:
        """The policy tree in a verified archive; None when the agent wrote its weights itself."""
        if archive.meta["kind"] == OPAQUE_KIND:
            return None
        try:
            policy: dict[str, Any] = join_state(archive.state, archive.arrays)
        except (KeyError, TypeError) as error:
            raise CheckpointError(archive.directory, f"has a state that names a missing array: {error}") from error
        floats = {name: array for name, array in archive.arrays.items() if array.dtype.kind == "f"}
        if self.require_finite and (odd := [name for name, array in floats.items() if not np.isfinite(array).all()]):
            raise CheckpointError(archive.directory, f"holds NaN or infinity in {', '.join(odd[:5])}")
        return policy

    def _most_promising(self) -> list[PolicySnapshot]:
        """The best one, then the others by their promise; of equals the later first."""
        snapshots = self.snapshots
        others = sorted(snapshots[1:], key=lambda other: (other.promise, int(other.snapshot_id)), reverse=True)
        return [*snapshots[:1], *others]

    def _prune(self) -> None:
        """Remove the least promising. A failure harms nobody now, and the next save tries again."""
        for snapshot in self._most_promising()[self.max_snapshots :]:
            try:
                self._store.remove(int(snapshot.snapshot_id))
            except CheckpointError as error:
                _log.warning("snapshot %s could not be pruned: %s", snapshot.snapshot_id, error)

    def _look_at(self, generation: int) -> None:
        """Read what a snapshot says of itself."""
        try:
            self._known[generation] = self._described(generation, self._store.meta(generation))
            self._unusable.pop(generation, None)
        except CheckpointError as error:
            self._tell_unusable(generation, error)

    def _put_aside(self, generation: int, error: CheckpointError) -> None:
        """Quarantine a damaged snapshot; a mere reader, or a writer who cannot, only remembers it.

        One that cannot be read just now (an I/O error, too many open files) stays where it is: it may be sound.
        """
        self._known.pop(generation, None)
        if self._tell_unusable(generation, error) and _is_damage(error) and self._is_writer:
            with suppress(CheckpointError):
                self._store.quarantine(generation)

    def _tell_unusable(self, generation: int, error: CheckpointError) -> bool:
        """Warn once, and remember; False for a snapshot that another registry has pruned meanwhile."""
        if generation not in self._store.generations():
            self._unusable.pop(generation, None)
            return False
        if generation not in self._unusable:
            problem = "damaged" if _is_damage(error) else "not readable"
            _log.warning("snapshot %d is %s and not used: %s", generation, problem, error)
        self._unusable[generation] = error
        return True

    def _meta(
        self, kind: str, score: float, eval_metrics: EvalMetrics, hyperparams: HyperparamSet
    ) -> dict[str, Any]:
        return {
            "kind": kind,
            "run_id": self.run_id,
            "score": score,
            "metrics": dict(eval_metrics.metrics),
            "episode_id": eval_metrics.episode_id,
            "timestamp": eval_metrics.timestamp,
            "hyperparams": dict(hyperparams.params),
            "hyperparams_episode_id": hyperparams.episode_id,
            "hyperparams_timestamp": hyperparams.timestamp,
        }

    def _described(self, generation: int, meta: Mapping[str, Any]) -> PolicySnapshot:
        """The snapshot that ``_meta`` described. Raises CheckpointError for a field of a wrong type or run."""
        directory = self._store.path(generation)
        _check_meta(directory, meta, self.run_id)
        weights = directory if meta["kind"] == STATE_KIND else directory / WEIGHTS
        episode_id, timestamp = meta["episode_id"], meta["timestamp"]
        return PolicySnapshot(
            snapshot_id=str(generation),
            eval_metrics=EvalMetrics(meta["score"], meta["metrics"], episode_id, timestamp),
            hyperparams=HyperparamSet(
                meta["hyperparams"], meta["hyperparams_episode_id"], meta["hyperparams_timestamp"]
            ),
            weights_path=str(weights),
            episode_id=episode_id,
            timestamp=timestamp,
            selection_score=meta.get("selection_score"),
            posterior_score=meta.get("posterior_score"),
        )


@contextmanager
def _all_or_nothing(agent: BaseAgent, snapshot: PolicySnapshot) -> Iterator[None]:
    """On any error inside the agent gets its policy and hyperparameters back, and the error names the snapshot."""
    policy, hyperparams = agent.policy_state(), agent.get_hyperparams()
    try:
        yield
    except Exception as error:
        agent.set_hyperparams(hyperparams)
        if policy is not None:
            agent.load_policy_state(policy)
        if isinstance(error, CheckpointError):
            raise
        reason = f"cannot be taken over by {type(agent).__name__}: {type(error).__name__}: {error}"
        raise CheckpointError(snapshot.weights_path, reason) from error


def _restore_weights(agent: BaseAgent, snapshot: PolicySnapshot, policy: dict[str, Any] | None) -> None:
    if policy is None:
        with loading_weights(agent, snapshot.weights_path):
            agent.load_weights(snapshot.weights_path)
        return
    try:
        agent.load_policy_state(policy)
    except NotImplementedError as error:
        raise CheckpointError(snapshot.weights_path, f"was saved by another kind of agent: {error}") from error


def _is_damage(error: CheckpointError | None) -> bool:
    """True when the content is at fault, and not the way to it: that may be free again the next time."""
    return error is not None and not isinstance(error.__cause__, OSError | MemoryError)


def _check_meta(directory: Path, meta: Mapping[str, Any], run_id: str) -> None:
    """Every field in its type and range: the file may say anything."""
    kinds = {
        "kind": str, "run_id": str, "score": float, "metrics": dict, "episode_id": int, "hyperparams": dict,
        "hyperparams_episode_id": int,
    }  # fmt: skip
    for name, kind in kinds.items():
        if type(meta.get(name)) is not kind:
            raise CheckpointError(directory, f"has a {name} that is no {kind.__name__}")
    for name in ("episode_id", "hyperparams_episode_id"):
        if abs(meta[name]) >= 1 << 63:
            raise CheckpointError(directory, f"has a {name} beyond 64 bits")
    for name in ("timestamp", "hyperparams_timestamp"):
        if type(meta.get(name)) not in (int, float):
            raise CheckpointError(directory, f"has a {name} that is no number")
    for name in ("selection_score", "posterior_score"):
        value = meta.get(name)
        if value is not None and (type(value) is not float or not math.isfinite(value)):
            raise CheckpointError(directory, f"has a {name} that is no finite number")
    if math.isnan(meta["score"]) or meta["kind"] not in (STATE_KIND, OPAQUE_KIND):
        raise CheckpointError(directory, f"has an impossible score or kind: {meta['score']}, {meta['kind'][:20]!r}")
    if run_id and meta["run_id"] != run_id:
        raise CheckpointError(directory, f"belongs to the run {meta['run_id'][:100]!r}, not to {run_id!r}")
