"""A search over short runs, then the long run with its winner, from one RLOptimizer."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_optix import ConfigError, LoopCallback, LoopState, RLOptimizer
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline, window_of


class Counting(LoopCallback):
    def __init__(self) -> None:
        self.windows = 0

    def on_episode_end(self, episode_id, eval_metrics):
        self.windows += 1


class Best(ScriptedPipeline):
    """A window is worth more, the nearer the agent's learning rate is to 0.5."""

    def __init__(self) -> None:
        super().__init__([0])

    @property
    def window_steps(self) -> int:
        return 1

    def episodes(self):
        while True:
            self.collected += 1
            yield window_of([-abs(self.agent.params["learning_rate"] - 0.5)], self.collected - 1)


class Factory:
    """Builds agents and notes with what."""

    def __init__(self) -> None:
        self.params: list[dict[str, Any]] = []

    def __call__(self, params: dict[str, Any]) -> ScriptedAgent:
        self.params.append(params)
        agent = ScriptedAgent()
        agent.params = {"learning_rate": params.get("learning_rate", 0.1)}
        return agent


SPACE = {"learning_rate": ("float", 0.0, 1.0)}


def made(tmp_path, factory, **keywords) -> RLOptimizer:
    settings = {"pipeline_factory": Best, "evaluator": FirstReward(), "checkpoint_dir": tmp_path, "seed": 1,
                "max_episodes": 20, "evaluation_episodes": 0, **keywords}  # fmt: skip
    return RLOptimizer(agent_factory=factory, **settings)


def test_without_a_space_there_is_no_search_and_the_factory_gets_nothing(tmp_path):
    factory = Factory()
    opt = made(tmp_path, factory)
    assert factory.params == []
    opt.run()
    assert factory.params == [{}]
    assert opt.result.windows == 20


def test_the_final_run_has_the_winners_hyperparameters(tmp_path):
    pytest.importorskip("optuna")
    factory, callback = Factory(), Counting()
    opt = made(tmp_path, factory, param_space=SPACE, n_trials=6, callbacks=[callback])
    opt.run()
    tried, final = factory.params[1:-1], factory.params[-1]
    assert len(tried) == 6
    assert abs(final["learning_rate"] - 0.5) == min(abs(p["learning_rate"] - 0.5) for p in tried)
    assert callback.windows == opt.result.windows == 20  # the user's callbacks belong to the final run


def test_the_final_run_begins_with_the_best_trials_policy_when_asked_to(tmp_path):
    pytest.importorskip("optuna")

    class First(LoopCallback, Factory):
        """Keeps the newest agent, and what its policy was when the long run began."""

        def __call__(self, params):
            self.newest = super().__call__(params)
            return self.newest

        def on_loop_start(self):
            self.policy = self.newest.policy

    for warm_start in (False, True):
        first = First()
        made(tmp_path / str(warm_start), first, param_space=SPACE, n_trials=2, warm_start=warm_start,
             callbacks=[first]).run()  # fmt: skip
        assert (first.policy > 0) == warm_start


def test_a_warm_start_without_a_search_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="warm_start=True needs a param_space"):
        made(tmp_path, Factory(), warm_start=True)


def test_a_trial_has_its_share_of_the_budget_and_a_factory_of_its_own(tmp_path):
    pytest.importorskip("optuna")
    final, trial = Factory(), Factory()
    pipelines: list[Best] = []

    def pipeline() -> Best:
        pipelines.append(Best())
        return pipelines[-1]

    opt = made(tmp_path, final, trial_agent_factory=trial, pipeline_factory=pipeline, param_space=SPACE, n_trials=2)
    opt.run()
    assert len(final.params) == 1
    assert len(trial.params) == 3  # one to look at, two to train
    assert [one.collected for one in pipelines] == [20, 3, 3]


def test_callbacks_that_a_trials_factory_adds_belong_to_that_trial(tmp_path):
    pytest.importorskip("optuna")
    added: list[Counting] = []

    def factory(params):
        added.append(Counting())
        opt.add_callback(added[-1])
        return Factory()(params)

    opt = made(tmp_path, factory, param_space=SPACE, n_trials=2)
    opt.run()
    assert [one.windows for one in added] == [0, 3, 3, 20]


def test_stop_from_a_trials_callback_ends_that_trial_only(tmp_path):
    pytest.importorskip("optuna")

    class Stops(Counting):
        def on_episode_end(self, episode_id, eval_metrics):
            super().on_episode_end(episode_id, eval_metrics)
            opt.stop()

    added: list[Stops] = []

    def trial(params):
        added.append(Stops())
        opt.add_callback(added[-1])
        return Factory()(params)

    opt = made(tmp_path, Factory(), trial_agent_factory=trial, param_space=SPACE, n_trials=2)
    opt.run()
    assert [one.windows for one in added] == [0, 1, 1]
    assert opt.result.windows == 20


def test_stop_and_state_work_before_the_run(tmp_path):
    factory = Factory()
    opt = made(tmp_path, factory)
    assert opt.state is LoopState.ACTIVE
    assert opt.best_snapshot is None
    opt.stop()
    opt.run()
    assert factory.params == []
    assert opt.result is None


def test_combinations_that_cannot_work_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="pipeline_factory or"):
        RLOptimizer(agent_factory=Factory())
    with pytest.raises(ConfigError, match="need an agent_factory"):
        RLOptimizer(ScriptedAgent(), Best(), param_space=SPACE)
    with pytest.raises(ConfigError, match="needs a pipeline_factory"):
        RLOptimizer(agent_factory=Factory(), pipeline=Best(), param_space=SPACE)
    with pytest.raises(ConfigError, match="trial_steps_fraction"):
        made(tmp_path, Factory(), trial_steps_fraction=0)
    with pytest.raises(ConfigError, match="trial_steps_fraction"):
        made(tmp_path, Factory(), trial_steps_fraction="a tenth")
    with pytest.raises(ConfigError, match="param_space must be a dict"):
        made(tmp_path, Factory(), param_space="learning_rate")
    for name in ("trial_agent_factory", "val_pipeline_factory"):
        with pytest.raises(ConfigError, match=f"{name} must be a function"):
            made(tmp_path, Factory(), **{name: 3})
    with pytest.raises(ConfigError, match="needs an agent"):
        RLOptimizer(pipeline=Best())
