"""An environment id is enough."""

import json
import re
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch

from tensor_optix import CheckpointError, ConfigError, make_agent
from tensor_optix.core.state import split_state
from tensor_optix.quick import choices, load, plan, plan_lines, prepare, resume, stored_recipe
from tensor_optix.storage import FileSystem, RunDirectory
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
    ("env_id", "options", "message"),
    [
        ("Pendulum-v1", {"algorithm": "dqn"}, "DQN needs a Discrete action space, .* use sac or ppo"),
        ("CartPole-v1", {"algorithm": "sac"}, "SAC needs continuous actions, .* use ppo or dqn"),
        ("CartPole-v1", {"algorithm": "dqm"}, "algorithm must be one of auto, ppo, dqn, sac.* Did you mean 'dqn'"),
        ("CartPole-v1", {"backend": "torhc"}, "backend must be one of auto, torch, jax, tf.* Did you mean 'torch'"),
        ("CartPole-v1", {"learnig_rate": 1.0}, "'learnig_rate' for PPO. Did you mean 'learning_rate'"),
        ("CartPole-v1", {"hidden": (64, 0)}, "hidden must be a whole number from 1 to 4,096, got 0"),
        ("FrozenLake-v1", {}, "built-in networks take flat vectors or images of bytes, .*FlattenObservation"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(env_id, options, message):
    with pytest.raises(ConfigError, match=message):
        make_agent(gym.make(env_id), **options)


@pytest.mark.parametrize(
    ("make_env", "options", "message"),
    [
        (lambda: "CartPole-v1", {}, r"env must be .* got an id: give gymnasium.make\('CartPole-v1'\)"),
        (lambda: gym.make_vec("CartPole-v1", num_envs=2), {}, r"got CartPoleVectorEnv, .* VectorBatchPipeline\(env\)"),
        (lambda: gym.make("CartPole-v1"), {"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ],
)
def test_what_is_no_environment_and_no_seed_is_refused_in_words(make_env, options, message):
    with pytest.raises(ConfigError, match=message):
        make_agent(make_env(), **options)


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
    lines = plan_lines(opt, {"change": "a hint"})
    assert any("CartPole-v1" in line and "seed 4" in line for line in lines)
    assert "       resumes     after an interruption at level E3: every part gives its complete state" in lines
    assert lines[-1] == "       change      a hint"
    assert choices(opt.plan) == {"n_epochs": 3, "learning_rate": 1e-3, "dormant_threshold": 7, "max_steps": 10}


def test_parts_of_a_run_are_settings_too(tmp_path):
    settings = {"hidden": "32-16", "n_envs": "2", "window_size": "64", "normalize_observations": "false"}
    opt = prepare("CartPole-v1", settings=settings, out=tmp_path, seed=4)
    assert opt.plan["environment"] == "CartPole-v1 x 2"
    assert choices(opt.plan) == {"hidden": "32-16", "n_envs": 2, "window_size": 64, "normalize_observations": False}


def test_without_a_seed_one_is_drawn_and_recorded(tmp_path):
    seeds = {prepare("CartPole-v1", out=tmp_path).plan["seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_initial_weights_do_not_depend_on_the_threads_of_the_process(tmp_path):
    found = []
    for threads in (4, 1):
        torch.set_num_threads(threads)
        agent, _ = plan("CartPole-v1", seed=1, out=tmp_path).parts()
        found.append(split_state(agent.policy_state())[1])
    assert all(np.array_equal(array, found[1][name]) for name, array in found[0].items())


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
    assert re.fullmatch(r"Run\(CartPole-v1 x 8: [\d.]+ \[95 %: [\d.]+ to [\d.]+\]; .*\)", repr(loaded))


def test_a_run_with_an_agent_of_its_own_is_not_rebuilt_by_guessing(tmp_path):
    from tensor_optix import RLOptimizer

    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline([1]), max_episodes=1, checkpoint_dir=tmp_path)
    opt.run()
    with pytest.raises(CheckpointError, match="was made with an agent of its own"):
        load(opt.run_dir)


def test_what_is_no_run_is_refused_in_words(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run directory"):
        load(tmp_path)


# -- continuing ----------------------------------------------------------------------------------------------------

BUILD = {
    "env_id": "CartPole-v1", "algorithm": "ppo", "backend": "torch", "is_discrete": True, "is_image": False,
    "hidden": [64, 64], "activation": "tanh", "n_envs": 8, "window_size": 256, "frame_stack": 1,
    "normalize_observations": True, "normalize_rewards": False,
}  # fmt: skip
TINY = {"evaluation_episodes": 2, "n_epochs": 1, "minibatch_size": 512, "val_episodes": 0}


@pytest.fixture(scope="module")
def one_window(tmp_path_factory):
    """A finished run of one window."""
    opt = prepare("CartPole-v1", out=tmp_path_factory.mktemp("runs"), seed=4, max_steps=2048, settings=TINY)
    opt.run()
    return opt.run_dir


def claiming(run_dir, tmp_path, **entries):
    """A run like this one whose run.json says something else of itself."""
    identity = {**RunDirectory.open(FileSystem(), run_dir).identity, **entries}
    run = RunDirectory.create(FileSystem(), tmp_path, "claiming", identity)
    run.release()
    return run.path


def with_summary(run_dir, tmp_path, **entries):
    """A copy of the run whose summary says something else."""
    copied = tmp_path / run_dir.name
    shutil.copytree(run_dir, copied)
    run = RunDirectory.open(FileSystem(), copied)
    run.lock()
    run.update_summary(entries)
    run.release()
    return copied


def test_a_run_of_an_off_policy_agent_goes_on_under_the_rule_that_it_began_with(tmp_path):
    settings = {"evaluation_episodes": 0, "hidden": "8", "n_envs": 1}
    opt = prepare("CartPole-v1", algorithm="dqn", out=tmp_path, seed=4, max_steps=40, settings=settings)
    opt.run()
    resumed = resume(opt.run_dir, max_steps=80)
    assert opt.plan["rule"] == resumed.plan["rule"] == "EvidenceRule"
    assert "dormant_threshold" not in choices(resumed.plan)
    assert "probable" in " ".join(plan_lines(resumed, {}))  # and not: so many scores in a row


def test_a_run_is_rebuilt_with_its_own_seed_settings_and_hyperparameters(one_window):
    resumed = resume(one_window, max_steps=4096)
    assert resumed.run_dir == one_window
    assert resumed.plan["seed"] == 4
    assert choices(resumed.plan) == {**TINY, "max_steps": 4096}


@pytest.mark.parametrize(
    ("settings", "limits", "message"),
    [
        ({}, {}, r"\(max_steps\) is used up \(2,048 steps, \d+ s so far\); give a larger max_steps \(--max-steps\)"),
        ({}, {"max_steps": 2048}, "give a larger max_steps"),
        ({"max_steps": None, "max_time": 1e-9}, {}, "give a larger max_time"),
        ({"max_steps": None, "max_episodes": 1}, {}, r"\(max_episodes\) is used up.*train anew with more of them"),
    ],
)
def test_a_spent_budget_is_told_with_the_remedy(settings, limits, message, one_window, tmp_path):
    copied = with_summary(one_window, tmp_path)
    record = json.loads((copied / "run.json").read_text())
    record["identity"]["settings"] |= settings
    (copied / "run.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=message):
        resume(copied, **limits)


@pytest.mark.parametrize("summary", [{"final": None}, {"env_steps": "all"}, {"env_steps": None}])
def test_a_closing_that_was_broken_off_may_be_repeated(summary, one_window, tmp_path):
    again = resume(with_summary(one_window, tmp_path, **summary))
    again.run()
    assert again.result.windows == 1
    assert len(again.result.final.returns) == 2


def test_a_converged_run_is_finished(one_window, tmp_path):
    with pytest.raises(CheckpointError, match="is finished"):
        resume(with_summary(one_window, tmp_path, reason="converged"), max_steps=9999)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"details": None}, "was made with an agent of its own"),
        ({"details": {"env_id": "CartPole-v1", "hidden": [64, 64]}}, "was made with an agent of its own"),
        ({"details": {**BUILD, "hidden": [10**9]}}, "hidden must be a whole number from 1 to 4,096"),
        ({"details": {**BUILD, "hidden": [[64]]}}, "hidden must be a whole number"),
        ({"details": {**BUILD, "hidden": [8] * 99}}, "the number of hidden layers must be a whole number from 1 to 8"),
        ({"details": {**BUILD, "n_envs": 10**9}}, "n_envs must be a whole number from 1 to 256"),
        ({"details": {**BUILD, "window_size": 1.5}}, "window_size must be a whole number"),
        ({"details": {**BUILD, "frame_stack": True}}, "frame_stack must be a whole number"),
        ({"details": {**BUILD, "algorithm": "os"}}, "algorithm must be one of"),
        ({"details": {**BUILD, "backend": ["torch"]}}, "backend must be one of"),
        ({"details": {**BUILD, "normalize_rewards": 1}}, "normalize_rewards must be True or False"),
        ({"details": {**BUILD, "env_id": 3}}, "env_id must be a Gymnasium id"),
        ({"details": {**BUILD, "env_id": "os:CartPole-v1"}}, "would import a module"),
        ({"settings": ["max_steps"]}, "does not say which settings"),
        ({"settings": {"max_step": 3}}, "unknown setting 'max_step'"),
        ({"settings": {"max_steps": "3"}}, "max_steps must be a finite number"),
        ({"settings": {"agent": 3}}, "unknown setting 'agent'"),
        ({"hyperparams": None}, "does not say which settings and hyperparameters"),
        ({"hyperparams": {"seed": 3}}, "unknown hyperparameter 'seed'"),
        ({"hyperparams": {"gamma": 1.5}}, "gamma must lie in"),
        ({"hyperparams": {"n_epochs": True}}, "n_epochs must be a number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": "4"}, "seed must be a whole number"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reader", [load, resume])
def test_whatever_run_json_says_is_checked(reader, entries, message, one_window, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        reader(claiming(one_window, tmp_path, **entries))


def test_an_environment_that_imports_a_module_is_named_only_when_allowed(one_window, tmp_path):
    details = {**BUILD, "env_id": "mine:Toy-v0"}
    run = RunDirectory.open(FileSystem(), claiming(one_window, tmp_path, details=details))
    assert stored_recipe(run, allow_import=True).build.env_id == "mine:Toy-v0"
    with pytest.raises(CheckpointError, match="would import a module for its environment 'mine:Toy-v0'"):
        stored_recipe(run)
