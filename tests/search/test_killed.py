"""A search that is killed over and over: finished trials only grow, none is doubled, the best can be recomputed."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from tensor_optix import TrialOrchestrator
from tensor_optix.search import study as study_module
from tests.search.surface import WINDOW_STEPS, SurfaceAgent, SurfacePipeline

optuna = pytest.importorskip("optuna")

KILLS, TRIALS, WINDOWS = 10, 12, 8


class Halting(SurfaceAgent):
    """Waits for the end of its process before the second trial of this process is through."""

    learned = 0

    def learn(self, episode_data):
        Halting.learned += 1
        if Halting.learned == 2 * WINDOWS - 1:
            time.sleep(60)
        return super().learn(episode_data)


class Worthless(SurfaceAgent):
    """Never has a score."""

    def score(self):
        return float("nan")


def orchestrator(folder, agent=SurfaceAgent, n_trials=TRIALS):
    return TrialOrchestrator(
        agent, SurfacePipeline, {"learning_rate": ("log_float", 1e-5, 1e-1)}, n_trials, WINDOWS * WINDOW_STEPS,
        rloptimizer_kwargs={"checkpoint_dir": str(folder)}, seed=0,
    )  # fmt: skip


def finished(study):
    """Trials that count, by number, with what they were worth."""
    counting = [t for t in study.get_trials() if t.state.name in ("COMPLETE", "PRUNED")]
    return {trial.number: (trial.value, trial.user_attrs["score"]) for trial in counting}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forked processes start fast enough to be killed ten times")
def test_killed_ten_times_a_search_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "HEARTBEAT_SECONDS", 1)  # a dead trial is noticed after five seconds
    rng, known = np.random.default_rng(0), {}
    fork = multiprocessing.get_context("fork")
    study = orchestrator(tmp_path).study
    for _ in range(KILLS):
        child = fork.Process(target=lambda: orchestrator(tmp_path, Halting).run())
        child.start()
        time.sleep(rng.uniform(0.05, 0.8))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        now = finished(study)
        assert {number: now[number] for number in known} == known  # none is lost or changed
        known = now
    search = orchestrator(tmp_path)
    _, score = search.run()
    done, trials = finished(search.study), search.study.get_trials()
    assert {number: done[number] for number in known} == known
    assert len(done) == TRIALS
    retried = [trial.system_attrs["failed_trial"] for trial in trials if "failed_trial" in trial.system_attrs]
    retries = [trial.system_attrs["retry_history"][-1] for trial in trials if "retry_history" in trial.system_attrs]
    assert len(set(retries)) == len(retries)  # none is tried again twice
    assert set(retried).isdisjoint(done)
    rates = [trial.params["learning_rate"] for trial in trials if trial.number in done]
    assert len(set(rates)) == TRIALS
    best = max((t for t in trials if t.state.name == "COMPLETE"), key=lambda t: t.value)
    assert (search.best_params, score) == (best.user_attrs["params"], best.user_attrs["score"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the child inherits what was replaced here")
def test_a_trial_killed_before_it_is_booked_counts_once(tmp_path, monkeypatch):
    """With a score it is tried again and does not count itself; without a value it counts and is not tried again."""
    monkeypatch.setattr(study_module, "HEARTBEAT_SECONDS", 1)
    set_attribute, fork = optuna.Trial.set_user_attr, multiprocessing.get_context("fork")
    study = orchestrator(tmp_path, n_trials=2).study
    for agent, last in (SurfaceAgent, "score"), (Worthless, study_module.WORTHLESS):

        def die_after(trial, key, value, last=last):
            set_attribute(trial, key, value)
            if key == last:
                os.kill(os.getpid(), signal.SIGKILL)

        with monkeypatch.context() as patched:
            patched.setattr(optuna.Trial, "set_user_attr", die_after)
            child = fork.Process(target=orchestrator(tmp_path, agent, n_trials=2).run)
            child.start()
            child.join()
        assert child.exitcode == -signal.SIGKILL
    assert [trial.state.name for trial in study.get_trials()] == ["RUNNING", "RUNNING"]
    orchestrator(tmp_path, n_trials=2).run()
    trials = study.get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL", "COMPLETE"]
    assert trials[2].system_attrs["failed_trial"] == 0
