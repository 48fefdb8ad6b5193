"""Agents whose own save_weights or load_weights does something else."""

from pathlib import Path

import pytest
from watching_agent import Watching

from tensor_optix import CheckpointError
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics, HyperparamSet


class Writing(Watching):
    """Its weights are two numbers in one file, written the way that ``how`` says."""

    def __init__(self, how="well"):
        super().__init__()
        self.how, self.weights, self.params, self.path = how, ["1", "2"], {"rate": 0.5}, None

    def get_hyperparams(self):
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hyperparams):
        self.params = dict(hyperparams.params)

    def save_weights(self, path):
        self.path = Path(path)
        getattr(self, f"save_{self.how}", self.save_well)(self.path)

    def save_well(self, path):
        path.write_text(" ".join(self.weights))

    def save_raising(self, path):
        path.write_text("1")
        raise ZeroDivisionError("on purpose")

    def save_nothing(self, path): ...

    def save_elsewhere(self, path):
        (path.parent / "other").write_text("1")

    def save_a_link(self, path):
        path.symlink_to("/etc/hostname")

    def save_a_link_inside(self, path):
        path.mkdir()
        (path / "w").symlink_to("/etc/hostname")

    def save_a_huge_name(self, path):
        (path.parent / ("weights" + "x" * 300)).write_text("1")

    def save_too_deep(self, path):
        path = path.joinpath(*["d"] * 40)
        path.mkdir(parents=True)
        (path / "w").write_text("1")

    def load_weights(self, path):
        getattr(self, f"load_{self.how}", self.load_well)(Path(path))

    def load_well(self, path):
        self.weights = path.read_text().split()

    def load_half(self, path):
        self.weights[0] = path.read_text().split()[0]
        raise ZeroDivisionError("on purpose")


def save(registry, agent, score):
    return registry.save(agent, EvalMetrics(score, {}, 0), HyperparamSet({"rate": 0.25}))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("raising", ZeroDivisionError, "on purpose"),
        ("nothing", CheckpointError, "wrote nothing at the path it was given"),
        ("elsewhere", CheckpointError, "written beside the path"),
        ("a_link", CheckpointError, "neither a plain file nor a directory"),
        ("a_link_inside", CheckpointError, "neither a plain file nor a directory"),
        ("a_huge_name", OSError, "File name too long"),
        ("too_deep", CheckpointError, "deeper than 32"),
    ],
)
def test_weights_that_were_not_saved_make_no_snapshot_and_harm_no_other(how, error, message, tmp_path):
    registry = CheckpointRegistry(tmp_path)
    save(registry, Writing(), 1.0)
    with pytest.raises(error, match=message):
        save(registry, Writing(how), 2.0)
    assert [snapshot.eval_metrics.primary_score for snapshot in registry.snapshots] == [1.0]
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["000000000001"]
    assert registry.load_best(Writing()).eval_metrics.primary_score == 1.0


def test_weights_that_are_written_to_after_the_commit_are_not_used(tmp_path, caplog):
    registry, late = CheckpointRegistry(tmp_path), Writing()
    save(registry, Writing(), 1.0)
    snapshot = save(registry, late, 2.0)
    Path(snapshot.weights_path).write_text("9 9")
    agent = Writing()
    assert registry.load_best(agent).eval_metrics.primary_score == 1.0
    assert agent.weights == ["1", "2"]
    assert "damaged" in caplog.text


def test_an_agent_that_loads_half_and_raises_is_named_and_keeps_its_hyperparameters(tmp_path):
    registry = CheckpointRegistry(tmp_path)
    save(registry, Writing(), 1.0)
    agent = Writing("half")
    with pytest.raises(CheckpointError, match="cannot be taken over by Writing: ZeroDivisionError: on purpose"):
        registry.load_best(agent)
    assert agent.params == {"rate": 0.5}
