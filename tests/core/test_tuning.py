"""When the tuner is asked, and that none of its experiments is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import (
    BaseOptimizer,
    HyperparamSet,
    NoTuning,
    Param,
    ReturnEvaluator,
    RLOptimizer,
    Space,
    SPSAOptimizer,
    StopReason,
)
from tensor_optix.errors import ConfigError
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline

NOISE = np.random.default_rng(0).normal(0, 1, 1000)


class Probing(BaseOptimizer):
    """Alternates 0.1 (settled) and 0.9 (an experiment); notes what it was told and asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.suggestions = 0

    def expect(self, space):
        self.calls.append(("expect", space))

    def seed(self, rng):
        self.calls.append(("seed", type(rng)))

    def suggest(self, current_hyperparams, metrics_history):
        self.suggestions += 1
        return HyperparamSet({**current_hyperparams.params, "learning_rate": 0.9})

    def settled(self, hyperparams):
        return HyperparamSet({**hyperparams.params, "learning_rate": 0.1})

    @property
    def is_probing(self):
        return True


class Declared(ScriptedAgent):
    @property
    def param_space(self):
        return Space(learning_rate=Param("log_float", 0.01, 1.0, default=0.1, doc="step", tunable=True))


def made(out: Path, script: list[float], tuner: BaseOptimizer | None, **settings: Any) -> tuple[RLOptimizer, Any]:
    agent = Declared()
    opt = RLOptimizer(agent, ScriptedPipeline(script), FirstReward(), tuner, checkpoint_dir=out, seed=1,
                      **{"evaluation_episodes": 0, **settings})  # fmt: skip
    return opt, agent


def test_the_tuner_is_introduced_once_however_often_run_is_called(tmp_path):
    tuner = Probing()
    opt, agent = made(tmp_path, [1, 2, 3], tuner, max_episodes=3)
    opt.run()
    opt.run()
    assert tuner.calls == [("expect", agent.param_space), ("seed", np.random.Generator)]


def test_no_experiment_is_left_in_the_agent_at_the_end(tmp_path):
    opt, agent = made(tmp_path, [1, 2, 3, 4, 5], Probing(), max_episodes=5)
    opt.run()
    assert opt.best_snapshot.hyperparams.params["learning_rate"] == 0.9  # what had made it
    assert agent.params["learning_rate"] == 0.1


class Answers(BaseOptimizer):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def suggest(self, current_hyperparams, metrics_history):
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [None, {"rate": 0.2}, *(HyperparamSet({"learning_rate": v}) for v in (float("nan"), np.zeros(2), object()))],
)
def test_what_no_agent_could_learn_with_is_refused_with_the_tuners_name(answer, tmp_path):
    opt, agent = made(tmp_path, [1, 2, 3], Answers(answer), max_episodes=3)
    with pytest.raises(ConfigError, match=r"Answers\.suggest must"):
        opt.run()
    assert agent.params == {"learning_rate": 0.1}


def test_what_a_tuner_says_nothing_about_stays(tmp_path):
    opt, agent = made(tmp_path, [1, 2, 3], Answers(HyperparamSet({"other": 1})), max_episodes=3)
    opt.run()
    assert agent.params["learning_rate"] == 0.1


@pytest.mark.parametrize("keywords", [{"optimizer": "spsa"}, {"optimizer": SPSAOptimizer}, {"evaluator": 3}])
def test_a_part_of_another_kind_is_refused_at_once_even_where_a_search_comes_first(keywords):
    with pytest.raises(ConfigError, match="must be a Base"):
        RLOptimizer(agent_factory=Declared, pipeline_factory=lambda: ScriptedPipeline([1]), **keywords)


def test_in_a_cool_down_experiments_are_taken_back_and_nobody_is_asked(tmp_path):
    tuner = Probing()
    script = [100 * min(k, 20) / 20 + NOISE[k] for k in range(200)]
    opt, agent = made(tmp_path, script, tuner)
    opt.run()
    assert opt.result.reason is StopReason.CONVERGED
    rows = RunDirectory.open(FileSystem(), opt.run_dir).read_metrics()
    cooling = [row["window"] for row in rows if row["state"] == "COOLING"]
    assert tuner.suggestions == cooling[0] - 1  # from window 1 on
    rates = [float(entry.split()[-1]) for entry in agent.log if entry.startswith("learn ")]
    assert max(rates[cooling[0] :]) <= 0.1
    assert rates[cooling[0] - 1] == 0.9
    assert rates[cooling[-1]] < rates[cooling[0]]


def test_an_agent_with_a_replay_is_left_alone_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(ScriptedAgent, "is_on_policy", False)
    assert isinstance(made(tmp_path, [1], None)[0]._parts.tuner, NoTuning)


def test_spsa_tunes_by_default_and_no_tuning_switches_it_off(tmp_path):
    assert isinstance(made(tmp_path, [1], None)[0]._parts.tuner, SPSAOptimizer)
    script = [float(v) for v in 10 * NOISE[:300]]
    rates = {}
    for name, tuner in (("default", None), ("off", NoTuning())):
        opt, agent = made(tmp_path / name, script, tuner, max_episodes=80, stuck_after=500, convergence="evidence")
        opt.run()
        rates[name] = {entry.split()[-1] for entry in agent.log if entry.startswith("learn ")}
    assert rates["off"] == {"0.1"}
    assert len(rates["default"]) > 1


def test_the_target_is_told_and_ends_the_run_only_where_that_was_asked_for(tmp_path):
    opt, _ = made(tmp_path, [1, 2, 3, 4, 5, 6, 7], NoTuning(), max_episodes=7, target_score=3.0)
    opt.run()
    events = [e for e in RunDirectory.open(FileSystem(), opt.run_dir).read_events() if e["kind"] == "target"]
    assert [event["window"] for event in events] == [3]  # the mean of two scores
    assert opt.result.windows == 7
    opt, _ = made(tmp_path, [1, 2, 3, 4, 5, 6, 7], NoTuning(), max_episodes=7, target_score=3.0, stop_at_target=True)
    opt.run()
    assert opt.result.reason is StopReason.TARGET_SCORE
    assert opt.result.windows == 4


def test_a_target_that_was_reached_before_is_none_of_a_run_that_goes_on_with_another(tmp_path):
    made(tmp_path, [5], NoTuning(), max_episodes=3, target_score=3.0)[0].run()
    opt, _ = made(tmp_path, [5], NoTuning(), max_episodes=6, target_score=9.0, stop_at_target=True, resume=True)
    opt.run()
    assert opt.result.reason is StopReason.MAX_EPISODES


class Solved(ScriptedPipeline):
    @property
    def reward_threshold(self):
        return 2.0


@pytest.mark.parametrize(("score_fn", "reason"), [(None, "target_score"), (lambda *_: 1000.0, "max_episodes")])
def test_what_the_environment_counts_as_solved_is_compared_with_returns_only(score_fn, reason, tmp_path):
    opt = RLOptimizer(ScriptedAgent(), Solved([1, 2, 3, 4]), ReturnEvaluator(score_fn), checkpoint_dir=tmp_path,
                      seed=1, max_episodes=6, evaluation_episodes=0, stop_at_target=True)  # fmt: skip
    opt.run()
    assert opt.result.reason.value == reason


def test_the_evaluation_lines_can_go_to_a_file(tmp_path):
    opt, _ = made(tmp_path, [1, 2, 3], NoTuning(), max_episodes=3, verbose_log_file=tmp_path / "log.txt")
    opt.run()
    assert (tmp_path / "log.txt").read_text().startswith("[loop] ep=   0")
