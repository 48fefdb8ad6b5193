"""An environment id is enough."""

import gymnasium as gym
import pytest
import torch

from tensor_optix import CheckpointError, ConfigError, make_agent
from tensor_optix.quick import load, plan_lines, prepare
from tests.core.scripted import ScriptedAgent, ScriptedPipeline


def test_the_agent_fits_the_spaces():
    agent = make_agent(gym.make("Acrobot-v1"), seed=0)
    assert agent.actor[0].in_features == 6
    assert agent.actor[-1].out_features == 3


def test_one_seed_gives_one_set_of_initial_weights():
    first, again, other = (make_agent(gym.make("CartPole-v1"), seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.actor[0].weight, again.actor[0].weight)
    assert not torch.equal(first.actor[0].weight, other.actor[0].weight)
    assert not torch.equal(first.actor[0].weight, first.critic[0].weight)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Pendulum-v1", "the built-in agent is PPO for Discrete actions so far; this environment has Box"),
        ("FrozenLake-v1", "built-in networks take flat observation vectors so far; this one has Discrete"),
    ],
)
def test_spaces_that_are_not_handled_yet_are_refused_in_words(env_id, message):
    with pytest.raises(ConfigError, match=message):
        make_agent(gym.make(env_id))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learnig_rate": "3e-4"}, "unknown setting 'learnig_rate'. Did you mean 'learning_rate'?"),
        ({"clip_ratio": "wide"}, "clip_ratio must be a number, got 'wide'"),
        ({"gamma": "1.5"}, "gamma must lie in"),
        ({"n_epochs": "2.5"}, "n_epochs must be a whole number"),
        ({"dormant_threshold": "0"}, "dormant_threshold must be at least 1"),
    ],
)
def test_settings_are_checked_by_name_and_value(settings, message):
    with pytest.raises(ConfigError) as caught:
        prepare("CartPole-v1", settings=settings)
    assert message in str(caught.value)


def test_settings_reach_the_agent_and_the_loop(tmp_path):
    settings = {"n_epochs": "3", "dormant_threshold": "7", "learning_rate": "1e-3"}
    opt = prepare("CartPole-v1", settings=settings, max_steps=10, out=tmp_path, seed=4)
    assert opt.plan["hyperparams"]["n_epochs"] == 3
    assert opt.plan["hyperparams"]["learning_rate"] == 1e-3
    assert opt.plan["settings"]["dormant_threshold"] == 7
    assert opt.plan["settings"]["max_steps"] == 10
    assert any("CartPole-v1" in line and "seed 4" in line for line in plan_lines(opt))


def test_an_unknown_environment_is_refused_with_the_nearest_id():
    with pytest.raises(ConfigError, match="CartPole-v1"):
        prepare("CartPol-v1")


def test_a_finished_run_loads_into_a_fresh_agent(tmp_path):
    opt = prepare("CartPole-v1", out=tmp_path, seed=4, max_steps=2048, settings={"evaluation_episodes": 2})
    opt.run()
    loaded = load(opt.run_dir)
    trained = opt.registry.best
    assert loaded.registry.best.snapshot_id == trained.snapshot_id
    data = loaded.pipeline.evaluate(loaded.agent, seeds=[1])
    assert data.episode_returns[0] > 0
    assert loaded.seed == 4


def test_a_run_with_an_agent_of_its_own_is_not_rebuilt_by_guessing(tmp_path):
    from tensor_optix import RLOptimizer

    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline([1]), max_episodes=1, checkpoint_dir=tmp_path)
    opt.run()
    with pytest.raises(CheckpointError, match="was made with an agent of its own"):
        load(opt.run_dir)


def test_what_is_no_run_is_refused_in_words(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run directory"):
        load(tmp_path)
