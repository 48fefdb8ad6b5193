"""The search: finds the optimum of a known surface, loses no trial, and tells errors at once."""

import multiprocessing
import signal

import numpy as np
import pytest

from tensor_optix import ConfigError, RLOptimizer, TrialOrchestrator
from tensor_optix.errors import TrialError
from tests.search.surface import SPACE, WINDOW_STEPS, SurfaceAgent, SurfacePipeline, level

optuna = pytest.importorskip("optuna")

PARAM_SPACE = {"learning_rate": ("log_float", 1e-5, 1e-1), "gamma": ("float", 0.9, 0.9999)}


def search(tmp_path, **settings):
    arguments = {
        "agent_factory": SurfaceAgent, "pipeline_factory": SurfacePipeline, "param_space": PARAM_SPACE,
        "n_trials": 4, "trial_steps": 12 * WINDOW_STEPS, "seed": 0,
        "rloptimizer_kwargs": {"checkpoint_dir": str(tmp_path)}, **settings,
    }  # fmt: skip
    return TrialOrchestrator(**arguments)


def states(orchestrator):
    return [trial.state.name for trial in orchestrator.study.get_trials(deepcopy=False)]


def test_the_defaults_come_first_and_the_best_is_at_least_as_good(tmp_path):
    orchestrator = search(tmp_path)
    params, score = orchestrator.run()
    first = orchestrator.study.trials[0]
    assert first.user_attrs["params"] == {"learning_rate": 1e-4, "gamma": 0.99}
    assert orchestrator.study.best_value >= first.value
    assert (params, score) == (orchestrator.best_params, orchestrator.best_score)
    assert len(states(orchestrator)) == 4


class WithPortfolio(SurfaceAgent):
    default_portfolio = ({"learning_rate": 1e-2, "gamma": 0.95}, {"learning_rate": 1e-3, "gamma": 0.999})


def test_the_agents_own_values_come_first_and_then_its_portfolio_up_to_half_the_trials(tmp_path):
    def tried(n_trials, agent_factory):
        folder = tmp_path / f"{n_trials}"
        orchestrator = search(folder, n_trials=n_trials, agent_factory=agent_factory, param_space=None)
        orchestrator.run()
        return [trial.user_attrs["params"] for trial in orchestrator.study.trials]

    own = {"learning_rate": 0.5, "gamma": pytest.approx(0.99)}  # outside the declared range: it is widened
    six = tried(6, lambda params: WithPortfolio({"learning_rate": 0.5, **params}))
    assert six[:3] == [own, *(pytest.approx(params) for params in WithPortfolio.default_portfolio)]
    three = tried(3, lambda params: WithPortfolio({"learning_rate": 0.5, **params}))
    assert three[0] == own
    assert three[1] != pytest.approx(WithPortfolio.default_portfolio[0])


def test_every_trial_has_a_budget_a_seed_and_a_directory_of_its_own(tmp_path):
    orchestrator = search(tmp_path, n_trials=3)
    orchestrator.run()
    runs = [trial.user_attrs["run_dir"] for trial in orchestrator.study.trials]
    assert len(set(runs)) == 3
    assert all(run.startswith(str(tmp_path)) for run in runs)


def test_the_score_is_in_the_evaluators_unit_and_the_ranking_is_another_number(tmp_path):
    orchestrator = search(tmp_path, n_trials=1, pipeline_factory=lambda: SurfacePipeline(noise=0.0))
    _, score = orchestrator.run()
    scores = level({"learning_rate": 1e-4}) * (1 - 0.8 ** np.arange(12))
    assert score == pytest.approx(scores[-2:].mean())
    assert orchestrator.study.best_value == pytest.approx(0.7 * scores[-2:].mean() + 0.3 * scores.mean())


def test_trials_below_the_median_are_pruned_and_booked_as_pruned(tmp_path):
    orchestrator = search(tmp_path, n_trials=9, n_startup_trials=3, pruner_warmup_steps=3)
    orchestrator.run()
    pruned = [t for t in orchestrator.study.trials if t.state.name == "PRUNED"]
    assert pruned
    assert all(max(trial.intermediate_values) < 11 for trial in pruned)


def test_a_search_that_was_cut_short_is_continued_to_the_same_number(tmp_path):
    search(tmp_path, n_trials=3).run()
    continued = search(tmp_path, n_trials=5)
    continued.run()
    assert [trial.number for trial in continued.study.trials] == [0, 1, 2, 3, 4]
    again = search(tmp_path, n_trials=5)
    assert again.run() == continued.run()
    assert len(again.study.trials) == 5


def test_without_a_space_the_agents_declaration_is_searched(tmp_path):
    orchestrator = search(tmp_path, param_space=None, n_trials=2)
    orchestrator.run()
    assert set(orchestrator.best_params) == {"learning_rate", "gamma"}
    assert orchestrator.study.trials[0].params["1-gamma"] == pytest.approx(1 - SPACE["gamma"].default)


def test_every_trial_is_told_with_its_score_and_the_best_so_far(tmp_path):
    news = []
    orchestrator = search(tmp_path, n_trials=3, on_trial=news.append)
    _, score = orchestrator.run()
    assert [(told.number, told.n_finished, told.n_trials) for told in news] == [(0, 1, 3), (1, 2, 3), (2, 3, 3)]
    assert [told.params for told in news] == [trial.user_attrs["params"] for trial in orchestrator.study.trials]
    assert news[-1].best_score == score
    assert score in [told.score for told in news]


def test_an_error_of_a_factory_surfaces_at_once(tmp_path):
    def broken(params):
        return {}["missing"]

    with pytest.raises(KeyError, match="missing"):
        search(tmp_path, agent_factory=broken).run()


def test_what_was_to_come_first_still_does_after_an_error_of_the_users_was_mended(tmp_path):
    calls = []

    def broken_once(params):
        calls.append(params)
        if len(calls) == 2:
            raise KeyError("a mistake in the first trial")
        return SurfaceAgent(params)

    with pytest.raises(KeyError):
        search(tmp_path, agent_factory=broken_once).run()
    orchestrator = search(tmp_path, agent_factory=broken_once, n_trials=2)
    orchestrator.run()
    defaults = {"learning_rate": 1e-4, "gamma": 0.99}
    assert [t.user_attrs["params"] == defaults for t in orchestrator.study.trials] == [True, True, False]
    assert states(orchestrator) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_a_study_of_another_search_is_not_taken_for_this_one(tmp_path):
    search(tmp_path, n_trials=1).run()
    search(tmp_path, n_trials=1, param_space={**PARAM_SPACE, "gamma": ("float", 0.95, 0.99)}).run()  # may be narrowed
    other = search(tmp_path, n_trials=1, param_space={"learning_rate": ("log_float", 1e-5, 1e-1)})
    with pytest.raises(ConfigError, match=r"has searched learning_rate .*, gamma .*another directory or study_name"):
        other.run()
    with pytest.raises(ConfigError, match="begun with 'maximize'"):
        search(tmp_path, direction="minimize")


def test_a_trial_without_any_score_fails_and_a_search_of_such_says_so(tmp_path):
    class Silent(SurfacePipeline):
        def episodes(self):
            for data in super().episodes():
                data.rewards[:], data.episode_returns[:] = [float("nan")] * len(data.rewards), [float("nan")]
                yield data

    orchestrator = search(tmp_path, pipeline_factory=Silent, n_trials=2)
    with pytest.raises(ConfigError, match="none of 2 trials gave a score"):
        orchestrator.run()
    assert states(orchestrator) == ["FAIL", "FAIL"]


def test_minimize_looks_for_the_smallest_objective(tmp_path):
    orchestrator = search(tmp_path, direction="minimize", n_trials=5)
    orchestrator.run()
    complete = [t.value for t in orchestrator.study.trials if t.value is not None and t.state.name == "COMPLETE"]
    assert orchestrator.study.best_value == min(complete)
    assert orchestrator.best_params == orchestrator.study.best_trial.user_attrs["params"]


def test_the_best_trials_policy_can_start_another_run(tmp_path):
    orchestrator = search(tmp_path, n_trials=2)
    with pytest.raises(ConfigError, match="no trial"):
        orchestrator.warm_start(SurfaceAgent({}))
    orchestrator.run()
    agent = SurfaceAgent({"learning_rate": 0.05})
    orchestrator.warm_start(agent)
    assert agent.updates > 3
    assert agent.params["learning_rate"] == 0.05  # the weights of the trial, the hyperparameters of the caller


def test_the_table_of_trials_is_a_dataframe(tmp_path):
    pytest.importorskip("pandas")
    orchestrator = search(tmp_path, n_trials=2)
    orchestrator.run()
    assert list(orchestrator.trials_dataframe()["state"]) == ["COMPLETE", "COMPLETE"]


def test_two_processes_share_one_study_and_a_killed_trial_is_tried_again(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    orchestrator = search(
        tmp_path, n_jobs=2, n_trials=4, agent_factory=lambda params: SurfaceAgent(params, kills=(str(marks), 1))
    )
    params, _ = orchestrator.run()
    assert params
    assert len(list(marks.iterdir())) == 1  # one worker did die
    assert sum(state in ("COMPLETE", "PRUNED") for state in states(orchestrator)) == 4
    assert states(orchestrator).count("FAIL") == 1
    killed = next(t for t in orchestrator.study.trials if t.state.name == "FAIL")
    retried = [t for t in orchestrator.study.trials if t.system_attrs.get("failed_trial") == killed.number]
    assert [t.params for t in retried] == [killed.params]


def test_an_error_in_a_worker_process_comes_with_its_traceback(tmp_path):
    def broken(params):
        if multiprocessing.parent_process() is None:
            return SurfaceAgent(params)
        raise ZeroDivisionError("by the user")

    with pytest.raises(TrialError, match="ZeroDivisionError: by the user"):
        search(tmp_path, n_jobs=2, agent_factory=broken).run()


def test_an_interrupt_ends_the_search_and_what_is_finished_stays(tmp_path):
    class Interrupting(SurfaceAgent):
        def learn(self, episode_data):
            if self.params["learning_rate"] != 1e-4 and self.updates == 4:
                signal.raise_signal(signal.SIGINT)
            return super().learn(episode_data)

    orchestrator = search(tmp_path, agent_factory=Interrupting)
    with pytest.raises(KeyboardInterrupt):
        orchestrator.run()
    assert states(orchestrator)[0] == "COMPLETE"
    search(tmp_path, n_trials=3).run()
    assert states(orchestrator).count("COMPLETE") + states(orchestrator).count("PRUNED") == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_trials": 0}, "n_trials"),
        ({"trial_steps": 1.5}, "trial_steps"),
        ({"direction": "up"}, "direction"),
        ({"pruner_interval": 0}, "pruner_interval"),
        ({"pruner_warmup_steps": -1}, "pruner_warmup_steps"),
        ({"pipeline_factory": 3}, "pipeline_factory must be a function"),
        ({"storage": "nope://x"}, "storage must be a URL"),
        ({"storage": "study.db"}, "storage must be a URL"),
        ({"param_space": [("gamma", ("float", 0, 1))]}, "param_space must be a dict"),
        ({"param_space": {3: ("float", 0, 1)}}, "param_space must be a dict"),
        ({"rloptimizer_kwargs": {"seed": 3}}, "cannot set seed"),
        ({"rloptimizer_kwargs": {"registry": None}}, "cannot set registry"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        search(tmp_path, **settings)


def test_the_winner_trains_on_with_the_full_budget(tmp_path):
    params, _ = search(tmp_path, n_trials=4).run()
    optimizer = RLOptimizer(
        SurfaceAgent(params), SurfacePipeline(), max_episodes=20, checkpoint_dir=tmp_path, evaluation_episodes=0
    )
    optimizer.run()
    assert optimizer.result.score > 0
