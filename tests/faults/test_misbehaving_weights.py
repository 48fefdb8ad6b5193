"""Agents whose own save_weights or load_weights does something else."""

from pathlib import Path

import pytest
from watching_agent import Watching

from tensor_optix import CheckpointError, RLOptimizer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import ArchitectureMismatch
from tests.core.scripted import FirstReward, ScriptedPipeline


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

    def save_interrupted(self, path):
        raise KeyboardInterrupt

    def load_interrupted(self, path):
        raise KeyboardInterrupt

    def load_with_a_long_name(self, path):
        path.with_name("x" * 300).read_text()

    def load_refusing(self, path):
        raise CheckpointError(path, "is no file of mine")

    def load_mismatched(self, path):
        raise ArchitectureMismatch(path, "another shape")

    def load_half(self, path):
        self.weights[0] = path.read_text().split()[0]
        raise ZeroDivisionError("on purpose")


def save(registry, agent, score):
    return registry.save(agent, EvalMetrics(score, {}, 0), HyperparamSet({"rate": 0.25}))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("raising", CheckpointError, "save_weights failed: ZeroDivisionError: on purpose"),
        ("nothing", CheckpointError, "wrote nothing at the path it was given"),
        ("elsewhere", CheckpointError, "written beside the path"),
        ("a_link", CheckpointError, "neither a plain file nor a directory"),
        ("a_link_inside", CheckpointError, "neither a plain file nor a directory"),
        ("a_huge_name", CheckpointError, "save_weights failed: OSError: .*File name too long"),
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


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("half", CheckpointError, "taken over by Writing: ZeroDivisionError: on purpose; its weights may be half"),
        ("with_a_long_name", CheckpointError, "OSError: .*File name too long.*; its weights may be half loaded"),
        ("refusing", CheckpointError, "weights: is no file of mine; its weights may be half loaded, for Writing"),
        ("mismatched", ArchitectureMismatch, "another shape; its weights may be half loaded"),
    ],
)
def test_an_agent_that_fails_to_load_is_named_told_of_and_keeps_its_hyperparameters(how, error, message, tmp_path):
    registry = CheckpointRegistry(tmp_path)
    save(registry, Writing(), 1.0)
    agent = Writing(how)
    with pytest.raises(error, match=message) as caught:
        registry.load_best(agent)
    assert caught.value.__cause__ is not None
    assert agent.params == {"rate": 0.5}


def test_an_agent_that_refuses_the_hyperparameters_is_not_said_to_be_half_loaded(tmp_path):
    class Strict(Writing):
        def set_hyperparams(self, hyperparams):
            if hyperparams.params["rate"] < 0.5:
                raise ValueError("too low")
            super().set_hyperparams(hyperparams)

    registry = CheckpointRegistry(tmp_path)
    save(registry, Writing(), 1.0)
    with pytest.raises(CheckpointError, match=r"too low$"):
        registry.load_best(Strict())


def test_an_agent_that_gives_its_state_is_put_back_and_not_said_to_be_half_loaded(tmp_path):
    class Giving(Writing):
        def policy_state(self):
            return {"weights": list(self.weights)}

        def load_policy_state(self, state):
            self.weights = list(state["weights"])

    registry = CheckpointRegistry(tmp_path)
    save(registry, Writing(), 1.0)
    agent = Giving("half")
    agent.weights = ["7", "8"]
    with pytest.raises(CheckpointError, match=r"on purpose$"):
        registry.load_best(agent)
    assert agent.weights == ["7", "8"]


def test_an_interruption_is_never_taken_for_trouble_with_the_weights(tmp_path):
    registry = CheckpointRegistry(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        save(registry, Writing("interrupted"), 1.0)
    save(registry, Writing(), 1.0)
    with pytest.raises(KeyboardInterrupt):
        registry.load_best(Writing("interrupted"))


def test_a_mean_that_fails_half_way_is_told_of(tmp_path):
    class Averaging(Writing):
        def average_weights(self, paths):
            raise ZeroDivisionError("on purpose")

    registry = CheckpointRegistry(tmp_path)
    for score in (1.0, 1.0):
        save(registry, Writing(), score)
    with pytest.raises(CheckpointError, match=r"cannot be taken over by Averaging: ZeroDivisionError.* half loaded"):
        registry.load_ensemble(Averaging())


def test_a_run_whose_agent_cannot_save_goes_on_and_the_third_time_in_a_row_says_why(tmp_path):
    agent = Writing("raising")
    opt = RLOptimizer(
        agent, ScriptedPipeline(range(9)), FirstReward(), checkpoint_dir=tmp_path, max_episodes=9
    )
    with pytest.raises(CheckpointError, match="save_weights failed: ZeroDivisionError: on purpose") as caught:
        opt.run()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
