"""The documented snippets of policy evolution, as printed, on real agents. Only sizes and budgets are small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import (
    BatchPipeline,
    CheckpointRegistry,
    EnsembleAgent,
    EpisodeData,
    HyperparamSet,
    MetaController,
    PolicyManager,
    RLOptimizer,
    StopReason,
)
from tensor_optix.core.training_states import TrainingStates
from tests.core.policy.worlds import PayingWorld, SkilledAgent
from tests.test_optimizer import ppo_agent

WINDOW = 20
SETTINGS: dict[str, Any] = {"stuck_after": 45, "evaluation_episodes": 2, "seed": 3, "max_episodes": 400}


def cartpole(agent: Any = None) -> BatchPipeline:
    return BatchPipeline(env=gym.make("CartPole-v1"), agent=agent, window_size=WINDOW)


def make_agent() -> Any:
    agent = ppo_agent()
    agent.set_hyperparams(HyperparamSet({"n_epochs": 1, "learning_rate": 1e-9}))  # learns nothing: it will be stuck
    return agent


def test_spawn_budget_with_the_registry_of_the_optimizer(tmp_path, capsys):
    agent = make_agent()
    opt = RLOptimizer(agent=agent, pipeline=cartpole(), checkpoint_dir=tmp_path, **SETTINGS)
    registry = opt.registry

    pm = PolicyManager(registry, max_spawns=3)
    cb = pm.as_callback(agent)
    cb.set_stop_fn(opt.stop)

    opt.run()  # returns cleanly when budget is exhausted

    assert pm.spawn_count == 3
    assert "Spawns used      : 3 / 3" in capsys.readouterr().out
    assert opt.result.reason is StopReason.STUCK


@pytest.mark.parametrize("registry_of", ["a directory", "the optimizer"])
def test_autonomous_spawning_under_a_meta_controller(registry_of, tmp_path, capsys):
    agent, made = make_agent(), list[Any]()

    def my_factory() -> Any:
        made.append(make_agent())
        return made[-1]

    registry = CheckpointRegistry(tmp_path / "registry")
    pm = PolicyManager(registry, max_spawns=2, max_ensemble_size=4)
    pm_cb = pm.as_callback(
        agent,
        agent_factory=my_factory,
        meta_controller=MetaController(gap_threshold=0.3, gap_slope_threshold=0.02, improvement_threshold=5.0),
    )
    shared = {"registry": registry} if registry_of == "a directory" else {}
    rl_opt = RLOptimizer(agent, cartpole(), checkpoint_dir=tmp_path, **shared, **SETTINGS)
    pm_cb.set_stop_fn(rl_opt.stop)
    rl_opt.add_callback(pm_cb)
    rl_opt.run()

    assert pm.spawn_count == 2
    assert len(made) == 4
    assert pm.registry is rl_opt.registry
    assert (pm.registry is registry) == (registry_of == "a directory")
    assert "Spawns used      : 2 / 2" in capsys.readouterr().out


def test_early_stopping_wired_inside_the_factory_of_a_search(tmp_path, capsys):
    pytest.importorskip("optuna")
    agents, callbacks = list[Any](), list[Any]()

    def make_agent(params: dict[str, Any]) -> SkilledAgent:
        agents.append(SkilledAgent())
        agents[-1].params = dict(params)
        return agents[-1]

    pm = PolicyManager(CheckpointRegistry(tmp_path / "registry"), max_spawns=2)

    def agent_factory_full(params: dict[str, Any]) -> SkilledAgent:
        agent = make_agent(params)
        pm_cb = pm.as_callback(agent, agent_factory=lambda: make_agent(params))
        pm_cb.set_stop_fn(rl_opt.stop)  # rl_opt is bound before run() calls this factory
        rl_opt.add_callback(pm_cb)
        callbacks.append(pm_cb)
        return agent

    rl_opt = RLOptimizer(
        agent_factory=agent_factory_full, pipeline_factory=PayingWorld, n_trials=2,
        param_space={"learning_rate": ("log_float", 0.05, 0.5)}, checkpoint_dir=tmp_path, max_episodes=300,
        evaluation_episodes=0, seed=1, dormant_threshold=12, stuck_after=14,
    )  # fmt: skip
    rl_opt.run()
    assert rl_opt.result.reason.is_convergence or rl_opt.result.reason is StopReason.STUCK
    assert pm.spawn_count == 2
    assert pm.registry is rl_opt.registry
    assert capsys.readouterr().out.count("Spawns used      : 2 / 2") >= 1
    assert len(callbacks) == 4  # one to look at, two trials, the final run: each has a callback of its own
    assert rl_opt._parts.callbacks._callbacks == [callbacks[-1]]


def ensemble_run(where: Path, **settings: Any) -> RLOptimizer:
    agent_a, agent_b = ppo_agent(1), ppo_agent(2)
    pm = PolicyManager(CheckpointRegistry(where / "pm"))
    pm.add_agent(agent_a, weight=1.0)
    pm.add_agent(agent_b, weight=1.0)

    ensemble = EnsembleAgent(pm, primary_agent=agent_a)

    env = gym.make("CartPole-v1")
    return RLOptimizer(
        agent=ensemble,
        pipeline=BatchPipeline(env=env, agent=ensemble, window_size=64),
        callbacks=[pm.as_callback(agent_a)],
        **{"checkpoint_dir": where / "runs", "max_episodes": 4, "evaluation_episodes": 2, "seed": 5, **settings},
    )


def weights_of(opt: RLOptimizer) -> list[np.ndarray]:
    ensemble: Any = opt._parts.agent
    members = [member.agent for member in ensemble.policy_manager.members]
    return [parameter.detach().numpy().copy() for member in members for parameter in member.actor.parameters()]


def test_an_ensemble_of_two_discrete_agents_trains_and_every_member_learns(tmp_path):
    opt = ensemble_run(tmp_path)
    before = weights_of(opt)
    opt.run()
    assert opt.result.final is not None
    assert not any(np.array_equal(a, b) for a, b in zip(before, weights_of(opt), strict=True))


def test_an_ensemble_goes_on_after_a_kill_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingStates, "is_due", True)
    whole = ensemble_run(tmp_path / "whole")
    whole.run()
    ensemble_run(tmp_path / "parts", max_episodes=2).run()
    resumed = ensemble_run(tmp_path / "parts", resume=True)
    resumed.run()
    assert resumed.result.windows == 4
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(whole), weights_of(resumed), strict=True))


def test_two_continuous_agents_act_in_the_middle_of_nothing_never(tmp_path):
    torch = pytest.importorskip("torch")
    from torch import nn

    from tensor_optix import TorchGaussianPPOAgent

    def aiming_at(mean: float) -> TorchGaussianPPOAgent:
        actor, critic = nn.Linear(1, 2), nn.Linear(1, 1)
        with torch.no_grad():
            actor.weight.zero_()
            actor.bias.copy_(torch.tensor([mean, -3.0]))
        optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
        return TorchGaussianPPOAgent(actor, critic, optimizer, action_dim=1, hyperparams=HyperparamSet({}))

    pm = PolicyManager(CheckpointRegistry(tmp_path))
    left, right = aiming_at(-2.0), aiming_at(2.0)
    pm.add_agent(left)
    pm.add_agent(right)
    ensemble = EnsembleAgent(pm, primary_agent=left)
    observations, rng = np.zeros((3, 1), np.float32), np.random.default_rng(0)
    actions, _ = ensemble.act_batch(observations, rng=rng, deterministic=True)
    assert np.abs(actions).min() > 0.9
    sampled, extras = ensemble.act_batch(observations, rng=rng)
    window = EpisodeData(observations, sampled, [0.0] * 3, [False] * 3, [False, False, True], [{}] * 3, 0,
                         extras=extras)  # fmt: skip
    assert "policy_loss" in ensemble.learn(window)


def test_spawning_with_the_printed_tensorflow_factory(tmp_path):
    tf = pytest.importorskip("tensorflow")
    from tensor_optix import TFPPOAgent

    def build(outputs: int) -> Any:
        return tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(8, "tanh"),
                                    tf.keras.layers.Dense(outputs)])  # fmt: skip

    def make_agent() -> TFPPOAgent:
        return TFPPOAgent(actor=build(2), critic=build(1), optimizer=tf.keras.optimizers.Adam(1e-9),
                          hyperparams=HyperparamSet({"n_epochs": 1}))  # fmt: skip

    agent = make_agent()
    opt = RLOptimizer(agent, cartpole(), checkpoint_dir=tmp_path, **SETTINGS)
    pm = PolicyManager(opt.registry, max_spawns=1, max_ensemble_size=4)
    opt.add_callback(pm.as_callback(agent, agent_factory=make_agent))
    opt.run()
    (trial,) = pm.training_report()["trials"]
    assert trial["variant_steps"] == trial["control_steps"] > 0
