"""Mistakes that people make, provoked for real: each is answered with what is wrong, the value, and what to type."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import tensor_optix as tx
from tensor_optix import quick
from tensor_optix.core.types import HyperparamSet
from tensor_optix.quick import backends

torch = pytest.importorskip("torch")


def ppo(n_observations: int = 4, n_actions: int = 2, **hyperparams: float) -> tx.TorchPPOAgent:
    actor, critic = torch.nn.Linear(n_observations, n_actions), torch.nn.Linear(n_observations, 1)
    adam = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    return tx.TorchPPOAgent(
        actor=actor, critic=critic, optimizer=adam, hyperparams=HyperparamSet(params=hyperparams, episode_id=0)
    )


def a_run(where: Path, agent: object = None, env_id: str = "CartPole-v1", **keywords: object) -> tx.RLOptimizer:
    pipeline = keywords.pop("pipeline", None) or tx.BatchPipeline(env_id=env_id, window_size=64)
    return tx.RLOptimizer(agent or ppo(), pipeline, checkpoint_dir=where, evaluation_episodes=0, **keywords)


class Broken(gym.ObservationWrapper):
    def observation(self, observation):
        return observation * np.nan


def one_env_in_two_pipelines(where: Path) -> None:
    env = gym.make("CartPole-v1")
    held_out = tx.BatchPipeline(env=env, window_size=64)
    a_run(where, pipeline=tx.BatchPipeline(env=env, window_size=64), val_pipeline=held_out)


def one_pipeline_for_both(where: Path) -> None:
    pipeline = tx.BatchPipeline(env_id="CartPole-v1")
    a_run(where, pipeline=pipeline, val_pipeline=pipeline)


def without_box2d(where: Path) -> None:
    hidden = [name for name in sys.modules if name.split(".")[0] == "Box2D" or name.startswith("gymnasium.envs.box2d")]
    kept = {name: sys.modules.pop(name) for name in hidden}
    sys.modules["Box2D"] = None  # type: ignore[assignment]
    try:
        quick.plan("LunarLander-v3")
    finally:
        del sys.modules["Box2D"]
        sys.modules.update(kept)


def weights_of_other_networks(where: Path) -> None:
    opt = a_run(where, max_episodes=1)
    opt.run()
    a, c = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)), torch.nn.Linear(4, 1)
    other = tx.TorchPPOAgent(actor=a, critic=c, optimizer=torch.optim.Adam([*a.parameters(), *c.parameters()]),
                             hyperparams=HyperparamSet(params={}, episode_id=0))  # fmt: skip
    tx.CheckpointRegistry(opt.run_dir).load_best(other)


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a library of the environment": (
        without_box2d, r'LunarLander-v3 needs Box2D, which is not installed: pip install -e "\.\[box2d\]"'),
    "an environment's name": (
        lambda _: quick.plan("CartPol-v1"), r"no environment 'CartPol-v1'\. Did you mean 'CartPole-v1'\?"),
    "an environment that is gone": (
        lambda _: quick.plan("LunarLander-v2"), r"'LunarLander-v2' is gone\. Use 'LunarLander-v3' instead"),
    "an algorithm's name": (lambda _: quick.plan("CartPole-v1", "pqo"), r"got 'pqo'\. Did you mean 'ppo'\?"),
    "a backend's name": (
        lambda _: quick.plan("CartPole-v1", backend="tochr"), r"got 'tochr'\. Did you mean 'torch'\?"),
    "a hyperparameter's name": (
        lambda _: quick.make_agent(gym.make("CartPole-v1"), "ppo", learnig_rate=1e-3),
        r"unknown hyperparameter 'learnig_rate' for PPO\. Did you mean 'learning_rate'\?"),
    "a hyperparameter of an agent of one's own": (
        lambda _: ppo(learnig_rate=1e-3), r"'learnig_rate' for TorchPPOAgent\. Did you mean 'learning_rate'\?"),
    "a hyperparameter's value": (lambda _: ppo(clip_ratio=-1.0), r"clip_ratio must lie in \(0, inf\), got -1"),
    "a setting's name": (
        lambda where: a_run(where, max_step=3), r"unknown setting 'max_step'\. Did you mean 'max_steps'\?"),
    "a setting's name of a plan": (
        lambda _: quick.plan("CartPole-v1", max_step=3), r"unknown setting 'max_step'\. Did you mean 'max_steps'\?"),
    "sizes of layers": (lambda _: quick.plan("CartPole-v1", hidden="64,64"), r"sizes of layers such as 64-64"),
    "too few outputs": (
        lambda where: a_run(where, ppo(6, 2), "Acrobot-v1").run(),
        r"actor gives 2 outputs but the environment has 3 actions: its last layer must be 3"),
    "other inputs": (
        lambda where: a_run(where, ppo(3, 2)).run(), r"actor does not take the environment's observations.*\(4,\)"),
    "an algorithm for other actions": (
        lambda _: quick.plan("Pendulum-v1", "dqn"), r"DQN needs a Discrete action space.*use sac or ppo"),
    "numbers that are not finite": (
        lambda where: a_run(where, pipeline=tx.BatchPipeline(env=Broken(gym.make("CartPole-v1")), window_size=64),
                            max_episodes=4).run(),
        r"not finite.*nan at \[0\].*mend the environment"),
    "weights of other networks": (
        weights_of_other_networks, r"of other networks: actor\.0\.weight \(3, 4\) is missing there.*and 1 more"),
    "one environment for two": (
        one_env_in_two_pipelines, r"step one and the same environment object.*give each an environment of its own"),
    "one pipeline for two": (one_pipeline_for_both, r"val_pipeline must be a BasePipeline of its own"),
    "a run that is not there": (lambda where: quick.load(where / "none"), r"none: does not exist"),
    "a public name": (
        lambda _: tx.TorchPOAgent, r"no attribute 'TorchPOAgent'\. Did you mean 'Torch\w*Agent'\?"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_the_remedy(mistake: str, tmp_path: Path) -> None:
    provoke, message = MISTAKES[mistake]
    with pytest.raises(Exception, match="(?s)" + message) as caught:
        provoke(tmp_path)
    assert isinstance(caught.value, tx.TensorOptixError | AttributeError)


def test_a_missing_backend_names_its_install_line_and_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "is_installed", lambda name: name == "torch")
    with pytest.raises(tx.MissingDependency, match=re.escape('pip install -e ".[tf]" (found here: torch)')):
        quick.plan("CartPole-v1", backend="tf")


def test_where_tensorflow_cannot_be_had_no_install_line_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "is_installed", lambda name: name == "torch")
    monkeypatch.setattr(backends, "TENSORFLOW_STOPS_BEFORE", sys.version_info[:2])
    with pytest.raises(tx.MissingDependency, match=r"no build for Python 3\.\d+ yet; use torch or jax \(found"):
        quick.plan("CartPole-v1", backend="tf")


def test_a_window_that_is_smaller_than_a_minibatch_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a_run(tmp_path, ppo(minibatch_size=256))
    assert "a window has 64 steps, fewer than minibatch_size=256" in caplog.text


def test_a_policy_manager_is_given_the_stop_function_of_its_run(tmp_path: Path) -> None:
    agent = ppo()
    callback = tx.PolicyManager(tx.CheckpointRegistry(tmp_path / "of its own")).as_callback(agent)
    opt = a_run(tmp_path, agent, callbacks=[callback])
    assert callback._stop == opt._loop.stop
