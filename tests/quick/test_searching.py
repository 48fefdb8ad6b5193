"""A search from an environment id: what of the long run's plan holds for its trials."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

import tensor_optix as tx
from tensor_optix.quick.searching import search
from tensor_optix.storage import FileSystem, RunDirectory

SMALL = {"n_envs": 1, "window_size": 64, "hidden": "8", "n_epochs": 1, "val_episodes": 0, "evaluation_episodes": 0}


def test_the_limits_of_the_long_run_are_not_those_of_its_trials(tmp_path):
    plan = tx.plan("CartPole-v1", "ppo", "torch", seed=1, out=tmp_path, max_episodes=1, max_steps=64, **SMALL)
    search(plan, trials=1, trial_steps=192)
    (run_dir,) = (tmp_path / "search" / "trial-0000").iterdir()
    assert RunDirectory.open(FileSystem(), run_dir).summary["env_steps"] == 192
