"""The best policies, kept and brought back."""

import hashlib
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.state import join_state
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import ArchitectureMismatch, CheckpointError, ConfigError
from tensor_optix.storage import FileSystem, array_format, read_archive
from tensor_optix.storage.strict_json import dumps, loads

PARAMS = {"learning_rate": 3e-4, "epochs": 4, "anneal": True, "schedule": None, "kind": "adam"}


class ToyAgent(BaseAgent):
    """One weight, and hyperparameters."""

    def __init__(self, weight: float = 0.0) -> None:
        self.weight = np.array([weight])
        self.hyperparams = HyperparamSet(dict(PARAMS))

    def act(self, observation: Any) -> Any:
        return 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return self.hyperparams.copy()

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        self.hyperparams = hyperparams.copy()

    def save_weights(self, path: str) -> None:
        Path(path).mkdir()
        (Path(path) / "weight.txt").write_text(str(self.weight[0]))

    def load_weights(self, path: str) -> None:
        self.weight = np.array([float((Path(path) / "weight.txt").read_text())])

    def average_weights(self, paths: list[str]) -> None:
        members = [type(self)() for _ in paths]
        for member, path in zip(members, paths, strict=True):
            member.load_weights(path)
        self.weight = np.mean([member.weight for member in members], axis=0)


class StateAgent(ToyAgent):
    """The same, whose policy is a state tree."""

    def policy_state(self) -> dict[str, Any] | None:
        return {"net": {"weight": self.weight}, "steps": 3}

    def load_policy_state(self, state: dict[str, Any]) -> None:
        if state["net"]["weight"].shape != self.weight.shape:
            raise ArchitectureMismatch("weights", "net/weight differs")
        self.weight = state["net"]["weight"]

    def load_weights(self, path: str) -> None:
        archive = read_archive(FileSystem(), Path(path))
        self.load_policy_state(join_state(archive.state, archive.arrays))


@pytest.fixture(params=[ToyAgent, StateAgent])
def agent(request: pytest.FixtureRequest) -> ToyAgent:
    return request.param()  # type: ignore[no-any-return]


def save(registry: CheckpointRegistry, agent: ToyAgent, score: Any, **params: Any) -> PolicySnapshot:
    """A policy whose weight is its score."""
    agent.weight = np.array([float(score)])
    return registry.save(agent, EvalMetrics(score, {"std": 1.5}, 8), HyperparamSet({**PARAMS, **params}, 7))


def scores(registry: CheckpointRegistry) -> list[float]:
    return [snapshot.eval_metrics.primary_score for snapshot in registry.snapshots]


def damage(snapshot: PolicySnapshot, name: str = "arrays.safetensors") -> None:
    directory = Path(snapshot.weights_path)
    path = (directory if directory.name.isdigit() else directory.parent) / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_best_policy_comes_back_with_its_hyperparameters(tmp_path: Path, agent: ToyAgent) -> None:
    registry = CheckpointRegistry(tmp_path)
    save(registry, agent, 5.0, learning_rate=1e-3)
    save(registry, agent, 2.0)
    fresh = type(agent)()
    snapshot = registry.load_best(fresh)
    assert snapshot is not None
    assert snapshot.snapshot_id == "1"
    assert fresh.weight == 5.0
    assert fresh.hyperparams == HyperparamSet({**PARAMS, "learning_rate": 1e-3}, 7, snapshot.hyperparams.timestamp)
    assert [type(value) for value in fresh.hyperparams.params.values()] == [float, int, bool, type(None), str]


def test_a_snapshot_tells_what_was_saved(tmp_path: Path, agent: ToyAgent) -> None:
    saved = save(CheckpointRegistry(tmp_path), agent, 5.0)
    assert CheckpointRegistry(tmp_path).best == saved
    assert (saved.eval_metrics.metrics, saved.episode_id, saved.hyperparams.params) == ({"std": 1.5}, 8, PARAMS)


def test_the_weights_path_brings_the_weights_back_by_itself(tmp_path: Path, agent: ToyAgent) -> None:
    saved = save(CheckpointRegistry(tmp_path), agent, 5.0)
    fresh = type(agent)()
    fresh.load_weights(saved.weights_path)
    assert fresh.weight == 5.0


def test_an_object_with_just_the_six_methods_is_saved_too(tmp_path: Path) -> None:
    class Six:
        act = learn = None
        weight = 5.0
        hyperparams: HyperparamSet

        def __init__(self) -> None:
            self.act = self.learn = self.get_hyperparams = lambda *_: None

        def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
            self.hyperparams = hyperparams

        def save_weights(self, path: str) -> None:
            Path(path).write_text(str(self.weight))

        def load_weights(self, path: str) -> None:
            self.weight = float(Path(path).read_text())

    agent = Six()
    registry = CheckpointRegistry(tmp_path)
    registry.save(agent, EvalMetrics(1.0, {}, 0), HyperparamSet(PARAMS))
    agent.weight = 0.0
    registry.load_best(agent)
    assert agent.weight == 5.0


def test_nothing_exists_before_the_first_save(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path / "checkpoints")
    assert registry.best is None
    assert registry.load_best(ToyAgent()) is None
    assert registry.load_ensemble(ToyAgent()) is None
    assert not (tmp_path / "checkpoints").exists()


def test_the_best_are_kept_not_the_newest(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path, max_snapshots=2)
    for score in (100.0, 1.0, 2.0):
        save(registry, StateAgent(), score)
    assert scores(registry) == [100.0, 2.0]


def test_of_equal_scores_the_later_is_better(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path, max_snapshots=2)
    for _ in range(3):
        save(registry, StateAgent(), 1.0)
    assert [snapshot.snapshot_id for snapshot in registry.snapshots] == ["3", "2"]
    assert registry.would_keep(1.0)


def test_beside_the_best_the_most_promising_are_kept_and_not_the_luckiest(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path, max_snapshots=2)
    hyperparams = HyperparamSet(PARAMS, 7)
    for score, level in ((9.0, 1.0), (5.0, 1.0), (3.0, 3.0), (8.0, 2.0)):
        registry.save(StateAgent(), EvalMetrics(score, {}, 8), hyperparams, posterior_score=level)
    assert scores(registry) == [9.0, 3.0]
    assert not registry.would_keep(8.5, 2.5)
    assert registry.would_keep(3.0, 3.5)
    assert registry.would_keep(9.5, 0.0)


def test_it_can_be_asked_before_saving(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path, max_snapshots=2)
    assert registry.would_keep(-5.0)
    for score in (1.0, 3.0):
        save(registry, StateAgent(), score)
    asked = {score: registry.would_keep(score) for score in (0.5, 1.0, 2.0, 3.0)}
    assert asked == {0.5: False, 1.0: True, 2.0: True, 3.0: True}
    assert not registry.would_keep(math.nan)


def test_a_nan_score_is_refused(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path)
    with pytest.raises(ConfigError, match="NaN"):
        save(registry, StateAgent(), math.nan)
    assert registry.best is None


def test_numpy_numbers_survive(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path)
    metrics = EvalMetrics(np.float32(1.5), {"a": np.float32(0.5), "b": math.nan}, np.int64(3))  # type: ignore[arg-type, dict-item]
    saved = registry.save(StateAgent(), metrics, HyperparamSet({"lr": np.float64(0.1), "n": np.int64(2)}))
    assert (saved.eval_metrics.primary_score, saved.eval_metrics.metrics["a"]) == (1.5, 0.5)
    assert math.isnan(saved.eval_metrics.metrics["b"])
    assert [type(value) for value in saved.hyperparams.params.values()] == [float, int]


def test_the_old_is_pruned_only_when_the_new_is_there(tmp_path: Path) -> None:
    class NoCommit(FileSystem):
        def write_new(self, path: Path, data: bytes) -> None:
            raise CheckpointError(path, "disk full")

    save(CheckpointRegistry(tmp_path, max_snapshots=1), StateAgent(), 1.0)
    registry = CheckpointRegistry(tmp_path, max_snapshots=1, fs=NoCommit())
    with pytest.raises(CheckpointError, match="disk full"):
        save(registry, StateAgent(), 2.0)
    assert scores(registry) == [1.0]


def test_a_failing_prune_does_not_lose_the_save(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class NoDelete(FileSystem):
        def remove_tree(self, path: Path) -> None:
            raise CheckpointError(path, "cannot delete")

    registry = CheckpointRegistry(tmp_path, max_snapshots=1, fs=NoDelete())
    save(registry, StateAgent(), 1.0)
    save(registry, StateAgent(), 2.0)
    assert scores(registry) == [2.0]
    assert "could not be pruned" in caplog.text


def test_generations_are_never_used_twice(tmp_path: Path) -> None:
    for _ in range(2):
        registry = CheckpointRegistry(tmp_path, max_snapshots=1)
        save(registry, StateAgent(), 9.0)
        save(registry, StateAgent(), 1.0)  # pruned at once
    assert [snapshot.snapshot_id for snapshot in registry.snapshots] == ["3"]
    assert save(registry, StateAgent(), 9.0).snapshot_id == "5"


def test_two_registries_on_one_path_see_each_others_snapshots(tmp_path: Path) -> None:
    one, other = CheckpointRegistry(tmp_path), CheckpointRegistry(tmp_path)
    save(one, StateAgent(), 1.0)
    save(other, StateAgent(), 2.0)
    assert scores(one) == scores(other) == [2.0, 1.0]


def test_changing_the_working_directory_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    registry = CheckpointRegistry("checkpoints")
    save(registry, StateAgent(), 1.0)
    monkeypatch.chdir(tmp_path)
    save(registry, StateAgent(), 2.0)
    assert scores(registry) == [2.0, 1.0]
    assert not (tmp_path / "checkpoints").exists()


def test_the_directory_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "disk")
    save(CheckpointRegistry(tmp_path / "checkpoints"), StateAgent(), 1.0)
    assert scores(CheckpointRegistry(tmp_path / "disk")) == [1.0]


def test_a_damaged_best_is_put_aside_and_the_next_one_used(
    tmp_path: Path, agent: ToyAgent, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CheckpointRegistry(tmp_path)
    save(registry, agent, 1.0)
    damage(save(registry, agent, 2.0))
    fresh = type(agent)()
    with caplog.at_level(logging.WARNING):
        snapshot = registry.load_best(fresh)
    assert snapshot is not None
    assert (snapshot.snapshot_id, float(fresh.weight[0])) == ("1", 1.0)
    assert "snapshot 2 is damaged" in caplog.text
    assert "snapshot 1 is used instead" in caplog.text
    assert [path.name[:22] for path in (tmp_path / "quarantine").iterdir()] == ["snapshots-000000000002"]
    assert scores(registry) == [1.0]


def test_a_damaged_manifest_hides_only_its_own_snapshot(tmp_path: Path) -> None:
    save(CheckpointRegistry(tmp_path), StateAgent(), 1.0)
    damage(save(CheckpointRegistry(tmp_path), StateAgent(), 2.0), "MANIFEST.json")
    assert scores(CheckpointRegistry(tmp_path)) == [1.0]


@pytest.mark.parametrize("name", ["MANIFEST.json", "state.json"])
def test_when_every_snapshot_is_damaged_that_is_an_error(tmp_path: Path, name: str) -> None:
    for score in (1.0, 2.0):
        damage(save(CheckpointRegistry(tmp_path), StateAgent(), score), name)
    agent = StateAgent(7.0)
    with pytest.raises(CheckpointError, match=r"every snapshot is damaged: .*0002.*0001|.*0001.*0002"):
        CheckpointRegistry(tmp_path).load_best(agent)
    assert agent.weight == 7.0


def test_another_architecture_is_told_and_not_taken_for_damage(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path)
    save(registry, StateAgent(), 1.0)
    other = StateAgent()
    other.weight = np.zeros(5)
    with pytest.raises(ArchitectureMismatch):
        registry.load_best(other)
    assert scores(registry) == [1.0]


def test_an_agent_without_policy_state_cannot_take_one(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path)
    save(registry, StateAgent(), 1.0)
    with pytest.raises(CheckpointError, match="another kind of agent"):
        registry.load_best(ToyAgent())


def test_loading_writes_nothing(tmp_path: Path) -> None:
    class Untouched(FileSystem):
        def _fail(self, *_: Any) -> Any:
            raise AssertionError("wrote while loading")

        make_directory = write_new = append = sync_file = sync_directory = rename = _fail  # type: ignore[assignment]
        remove_file = remove_tree = lock = _fail  # type: ignore[assignment]

    for score in (1.0, 2.0):
        save(CheckpointRegistry(tmp_path), StateAgent(), score)
    registry = CheckpointRegistry(tmp_path, fs=Untouched())
    assert registry.load_best(StateAgent()) == registry.best
    assert registry.load_ensemble(StateAgent()) == registry.best


@pytest.mark.parametrize(
    ("saved", "top_k", "band", "weight"),
    [
        ([100.0, 95.0, 91.0, 89.0], 3, 0.1, 286 / 3),  # the three in the band
        ([100.0, 95.0, 91.0], 2, 0.1, 97.5),  # at most top_k
        ([100.0, 80.0], 3, 0.1, 100.0),  # alone in the band: the best
        ([-100.0, -109.0, -111.0], 3, 0.1, -104.5),  # a negative best
        ([0.0, 0.0, -1.0], 3, 0.1, 0.0),
    ],
)
def test_an_ensemble_is_the_mean_of_the_best_within_the_band(
    tmp_path: Path, agent: ToyAgent, saved: list[float], top_k: int, band: float, weight: float
) -> None:
    registry = CheckpointRegistry(tmp_path)
    for score in saved:
        save(registry, agent, score)
    fresh = type(agent)()
    best = registry.load_ensemble(fresh, top_k=top_k, score_band=band)
    assert best is not None
    assert best.eval_metrics.primary_score == saved[0]
    assert fresh.weight[0] == pytest.approx(weight)


def test_a_damaged_member_is_left_out_of_the_ensemble(tmp_path: Path, agent: ToyAgent) -> None:
    registry = CheckpointRegistry(tmp_path)
    saved = [save(registry, agent, score) for score in (100.0, 98.0, 96.0)]
    damage(saved[1], "state.json")
    registry.load_ensemble(agent)
    assert agent.weight == 98.0


@pytest.mark.parametrize("foreign", ["a file", "snapshots is a file", "strange name"])
def test_foreign_content_is_refused_and_left_alone(tmp_path: Path, foreign: str) -> None:
    path = tmp_path / "checkpoints"
    if foreign == "a file":
        path.write_text("mine")
    else:
        (path / "snapshots").mkdir(parents=True)
        (path / "snapshots" / "thesis.txt").write_text("mine")
    if foreign == "snapshots is a file":
        (path / "snapshots" / "thesis.txt").rename(path / "thesis.txt")
        (path / "snapshots").rmdir()
        (path / "thesis.txt").rename(path / "snapshots")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError):
        CheckpointRegistry(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [
        {"score": "NaN"}, {"score": {"__float__": "nan"}}, {"score": 1}, {"kind": "pickle"}, {"episode_id": "1"},
        {"episode_id": True}, {"episode_id": 2**63}, {"generation": 1.0}, {"hyperparams": []},
        {"timestamp": None}, {"run_id": "another"}, {"generation": 2},
    ],
)  # fmt: skip
def test_a_manifest_that_lies_is_not_the_best(tmp_path: Path, change: dict[str, Any]) -> None:
    registry = CheckpointRegistry(tmp_path, run_id="mine")
    manifest = Path(save(registry, StateAgent(), 1.0).weights_path) / "MANIFEST.json"
    fields = json.loads(manifest.read_text())
    fields["meta"].update(change)
    del fields["sha256"]
    signed = hashlib.sha256(dumps(loads(json.dumps(fields).encode(), 1 << 20))).hexdigest()
    manifest.write_text(json.dumps({**fields, "sha256": signed}))
    assert CheckpointRegistry(tmp_path, run_id="mine").best is None


def test_max_snapshots_must_leave_room_for_the_best(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_snapshots"):
        CheckpointRegistry(tmp_path, max_snapshots=0)


def test_a_mere_reader_leaves_a_damaged_snapshot_where_it_is(tmp_path: Path) -> None:
    save(CheckpointRegistry(tmp_path), StateAgent(), 1.0)
    damage(save(CheckpointRegistry(tmp_path), StateAgent(), 2.0))
    before = sorted(tmp_path.rglob("*"))
    snapshot = CheckpointRegistry(tmp_path).load_best(StateAgent())
    assert snapshot is not None
    assert snapshot.snapshot_id == "1"
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_put_aside_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "quarantine").symlink_to(tmp_path / "elsewhere")
    registry = CheckpointRegistry(tmp_path / "run")
    save(registry, StateAgent(), 1.0)
    damage(save(registry, StateAgent(), 2.0))
    registry.load_best(StateAgent())
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_policy_that_is_not_finite_gives_way_to_the_next_best(
    tmp_path: Path, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    class Diverged(StateAgent):
        def policy_state(self) -> dict[str, Any] | None:
            return {"net": {"weight": np.array([value])}}

    save(CheckpointRegistry(tmp_path), StateAgent(), 1.0)
    save(CheckpointRegistry(tmp_path), Diverged(), 2.0)
    fresh = StateAgent()
    CheckpointRegistry(tmp_path).load_best(fresh)
    assert fresh.weight == 1.0
    assert "holds NaN or infinity in net/weight" in caplog.text
    CheckpointRegistry(tmp_path, require_finite=False).load_best(fresh)
    assert not np.isfinite(fresh.weight)


def test_a_policy_that_does_not_fit_into_memory_just_now_is_passed_over_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CheckpointRegistry(tmp_path)
    for score in (1.0, 2.0):
        save(registry, StateAgent(), score)
    real, n_calls = array_format.np.empty, []

    def full_once(*arguments: Any) -> Any:
        n_calls.append(arguments)
        if len(n_calls) == 1:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(array_format.np, "empty", full_once)
    agent = StateAgent()
    registry.load_best(agent)
    assert agent.weight == 1.0
    registry.load_best(agent)
    assert agent.weight == 2.0
    assert not (tmp_path / "quarantine").exists()


@pytest.mark.parametrize("kind", [ToyAgent, StateAgent])
def test_hyperparameters_that_the_agent_refuses_leave_it_as_it_was(tmp_path: Path, kind: type[ToyAgent]) -> None:
    class Strict(kind):  # type: ignore[misc, valid-type]
        def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
            if hyperparams.params["learning_rate"] <= 0:
                raise ConfigError("learning_rate must be positive")
            super().set_hyperparams(hyperparams)

    save(CheckpointRegistry(tmp_path), kind(), 1.0, learning_rate=-1.0)
    agent = Strict(7.0)
    with pytest.raises(CheckpointError, match="cannot be taken over by Strict: ConfigError: learning_rate"):
        CheckpointRegistry(tmp_path).load_best(agent)
    assert (agent.weight, agent.hyperparams.params) == (7.0, PARAMS)


def test_an_agent_that_fails_half_way_is_put_back(tmp_path: Path) -> None:
    class Careless(StateAgent):
        def load_policy_state(self, state: dict[str, Any]) -> None:
            super().load_policy_state(state)
            if state["steps"] != 4:
                raise KeyError("momentum")

        def policy_state(self) -> dict[str, Any] | None:
            return {**(super().policy_state() or {}), "steps": 4}

    save(CheckpointRegistry(tmp_path), StateAgent(), 1.0, learning_rate=0.5)
    agent = Careless(7.0)
    with pytest.raises(CheckpointError, match="KeyError: 'momentum'"):
        CheckpointRegistry(tmp_path).load_best(agent)
    assert (agent.weight, agent.hyperparams.params) == (7.0, PARAMS)
