"""A population by an environment's id: planned, trained, told, loaded, gone on with."""

from __future__ import annotations

import pytest

import tensor_optix as tx
from tensor_optix.quick.training import resume

pytest.importorskip("torch")
SMALL = {"window_size": 64, "n_envs": 1, "max_steps": 600, "evaluation_episodes": 2, "seed": 1, "n_epochs": 1}


def test_a_population_is_trained_loaded_and_gone_on_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # in this process
    run = tx.train("CartPole-v1", "ppo", "torch", population=3, out=tmp_path, **SMALL)
    told = capsys.readouterr().out
    assert "3 agents learn side by side" in " ".join(told.split())
    assert run.result.env_steps >= 600
    again = tx.load(run.run_dir)
    assert again.recipe.build.population == 3
    observation = again.make_env().reset(seed=0)[0]
    assert again.policy(observation) == run.policy(observation)

    longer = resume(run.run_dir, max_steps=1200)
    assert longer.plan["agent"] == "PopulationAgent"
    longer.run()
    assert longer.result.env_steps >= 1200
    assert type(longer.agent) is type(run.agent)


def test_members_begin_with_weights_of_their_own(tmp_path):
    optimizer = tx.plan("CartPole-v1", "ppo", "torch", population="3", out=tmp_path, **SMALL).build()
    members = optimizer._parts.agent.members
    first = [next(iter(_arrays(member.agent))) for member in members]
    assert len({array.tobytes() for array in first}) == 3


def _arrays(tree):
    for child in tree.values() if isinstance(tree, dict) else []:
        if hasattr(child, "dtype") and child.ndim == 2:
            yield child
        yield from _arrays(child)


def test_an_impossible_population_is_refused():
    with pytest.raises(tx.ConfigError, match="population must be a whole number from 1 to 256, got 0"):
        tx.plan("CartPole-v1", population=0)
