"""RLOptimizer as a user meets it: the documented snippets, on real parts."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import (
    BaseEvaluator,
    BatchPipeline,
    CheckpointRegistry,
    ConfigError,
    EnvError,
    EvalMetrics,
    HyperparamSet,
    LoopCallback,
    LoopState,
    ReturnEvaluator,
    RLOptimizer,
    StopReason,
    TorchPPOAgent,
    Verdict,
)
from tensor_optix.storage import FileSystem, RunDirectory
from tensor_optix.testing import FailingEnv
from tests.core.scripted import HookLog, ScriptedAgent, ScriptedPipeline

HOOKS = (
    "on_loop_start", "on_loop_stop", "on_episode_end", "on_improvement", "on_plateau", "on_dormant",
    "on_degradation", "on_hyperparam_update",
)  # fmt: skip


class AlwaysZero(ScriptedAgent):
    def act(self, observation):
        return 0


def ppo_agent(seed: int = 0, n_outputs: int = 2) -> TorchPPOAgent:
    torch.manual_seed(seed)
    actor = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, n_outputs))
    critic = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
    return TorchPPOAgent(actor, critic, optimizer, HyperparamSet({"n_epochs": 4, "minibatch_size": 64}))


def cartpole_run(tmp_path: Path, seed: int = 3, **keywords) -> RLOptimizer:
    pipeline = keywords.pop("pipeline", None) or BatchPipeline(env=gym.make("CartPole-v1"), window_size=256)
    settings = {"checkpoint_dir": tmp_path, "seed": seed, "max_episodes": 4, "evaluation_episodes": 3, **keywords}
    return RLOptimizer(ppo_agent(), pipeline, **settings)


def weight_hash(agent: TorchPPOAgent) -> str:
    digest = hashlib.sha256()
    for module in (agent.actor, agent.critic):
        for parameter in module.parameters():
            digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


def test_two_runs_with_one_seed_are_bit_identical(tmp_path):
    def train(seed: int) -> tuple[str, float, tuple[float, ...]]:
        agent = ppo_agent()
        pipeline = BatchPipeline(env=gym.make("CartPole-v1"), window_size=256)
        opt = RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, seed=seed, max_episodes=4, evaluation_episodes=3)
        opt.run()
        return weight_hash(agent), opt.result.score, opt.result.final.returns

    assert train(3) == train(3)
    assert train(3) != train(4)


def test_how_long_is_evaluated_at_the_end_does_not_change_what_a_second_run_learns(tmp_path):
    def train(evaluation_episodes: int) -> str:
        agent = ppo_agent()
        pipeline = BatchPipeline(env_id="CartPole-v1", window_size=256)
        opt = RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, seed=3, max_episodes=2,
                          evaluation_episodes=evaluation_episodes)  # fmt: skip
        opt.run()
        opt.run()
        return weight_hash(agent)

    assert train(1) == train(7)


def test_the_result_says_what_happened(tmp_path):
    opt = cartpole_run(tmp_path)
    opt.run()
    result = opt.result
    assert result.reason is StopReason.MAX_EPISODES
    assert (result.windows, result.env_steps, result.seed) == (4, 4 * 256, 3)
    assert len(result.final.returns) == 3
    assert result.final.low <= result.final.mean <= result.final.high
    assert result.evaluation_steps > sum(result.final.returns)  # one reward a step; the last policy was scored, too
    assert result.best_snapshot.snapshot_id == opt.best_snapshot.snapshot_id
    assert result.run_dir.parent == tmp_path
    assert not result.reason.is_convergence


def test_the_policy_of_the_last_learn_call_takes_part_in_the_choice(tmp_path):
    """With one window only P_0 is scored by a window; P_1 is scored on complete episodes afterwards."""
    opt = cartpole_run(tmp_path, max_episodes=1)
    opt.run()
    assert len(opt.registry.snapshots) == 2


def test_a_snapshot_brings_its_weights_back_through_the_agents_own_door(tmp_path):
    opt = cartpole_run(tmp_path)
    opt.run()
    other = ppo_agent(seed=99)
    other.load_weights(opt.best_snapshot.weights_path)
    observation = np.array([0.1, 0.2, -0.1, 0.3], dtype=np.float32)
    mine = ppo_agent(seed=98)
    CheckpointRegistry(opt.run_dir).load_best(mine)
    np.testing.assert_array_equal(other.action_probs(observation), mine.action_probs(observation))


def test_all_eight_hooks_fire(tmp_path):
    log: list[str] = []
    top = [110.0 + (i % 3) for i in range(200)]
    script = [*range(0, 120, 10), *top[:4], *[-300.0 + (i % 3) for i in range(8)], *top]
    RLOptimizer(ScriptedAgent(), ScriptedPipeline(script), callbacks=[HookLog(log)], checkpoint_dir=tmp_path).run()
    assert {entry.split()[0] for entry in log} >= set(HOOKS)


def test_callbacks_may_name_their_arguments_as_they_like(tmp_path):
    class Logger(LoopCallback):
        def on_improvement(self, snapshot):
            best.append(snapshot.eval_metrics.primary_score)

        def on_dormant(self, window_id):
            dormant.append(window_id)

    best: list[float] = []
    dormant: list[int] = []
    RLOptimizer(ScriptedAgent(), ScriptedPipeline([1, 2, 3]), callbacks=[Logger()], dormant_threshold=3,
                checkpoint_dir=tmp_path).run()  # fmt: skip
    assert best == [2.0, 3.0]
    assert len(dormant) == 1


class SharpeEvaluator(BaseEvaluator):
    def score(self, episode_data, train_diagnostics):
        rewards = np.array(episode_data.rewards)
        sharpe = rewards.mean() / (rewards.std() + 1e-8)
        return EvalMetrics(
            primary_score=float(sharpe),
            metrics={"sharpe": float(sharpe), "mean_reward": float(rewards.mean())},
            episode_id=episode_data.episode_id,
        )


def test_a_custom_evaluator_scores_and_selects(tmp_path):
    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline([[1, 3], [5, 7], [2, 9]]), evaluator=SharpeEvaluator(),
                      checkpoint_dir=tmp_path, max_episodes=3)  # fmt: skip
    opt.run()
    assert opt.result.score == pytest.approx(6.0)
    assert opt.best_snapshot.eval_metrics.metrics["mean_reward"] == 6.0


def test_verbose_prints_the_documented_line_at_evaluation_points(tmp_path, capsys):
    RLOptimizer(ScriptedAgent(), ScriptedPipeline([5, None, 7]), verbose=True, max_episodes=3,
                checkpoint_dir=tmp_path).run()  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "[loop] ep=   0  raw=    5.0  smoothed=    5.0  state=ACTIVE  interval=1",
        "[loop] ep=   1  raw=    n/a  smoothed=    5.0  state=ACTIVE  interval=1",
        "[loop] ep=   2  raw=    7.0  smoothed=    6.0  state=ACTIVE  interval=1  ← improvement detected, reset",
    ]


@pytest.mark.parametrize("env_id", ["MountainCar-v0", "Acrobot-v1"])
def test_a_constant_policy_that_always_times_out_is_stuck_and_not_at_a_ceiling(env_id, tmp_path):
    pipeline = BatchPipeline(env_id=env_id, window_size=1000)
    opt = RLOptimizer(AlwaysZero(), pipeline, checkpoint_dir=tmp_path, stuck_after=25, evaluation_episodes=0, seed=0)
    opt.run()
    assert opt.result.reason is StopReason.STUCK
    assert opt.result.verdict is Verdict.STUCK
    assert opt.state is LoopState.DORMANT


def test_every_optimizer_has_a_directory_of_its_own(tmp_path):
    first, second = cartpole_run(tmp_path, max_episodes=1), cartpole_run(tmp_path, max_episodes=1)
    assert first.run_dir != second.run_dir
    first.run()
    assert second.registry.best is None  # other runs are never read


def test_a_registry_of_the_users_own_gets_the_snapshots(tmp_path):
    registry = CheckpointRegistry(tmp_path / "mine")
    opt = cartpole_run(tmp_path / "runs", registry=registry, max_episodes=1)
    opt.run()
    assert opt.registry is registry
    assert registry.best is not None


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"agent": None}, "RLOptimizer needs an agent"),
        ({"pipeline": None}, "RLOptimizer needs a pipeline"),
        ({"pipeline": "CartPole-v1"}, "pipeline must be a BasePipeline, got str"),
        ({"max_stepz": 3}, "unknown setting 'max_stepz'. Did you mean 'max_steps'?"),
    ],
)
def test_parts_that_cannot_work_are_refused(keywords, message):
    with pytest.raises(ConfigError) as caught:
        RLOptimizer(**{"agent": ScriptedAgent(), "pipeline": ScriptedPipeline([1]), **keywords})
    assert str(caught.value) == message


def test_an_object_without_the_six_methods_is_refused_by_name():
    class Half:
        def act(self, observation): ...
        def learn(self, episode_data): ...

    with pytest.raises(ConfigError, match="it lacks get_hyperparams, set_hyperparams, save_weights, load_weights"):
        RLOptimizer(Half(), ScriptedPipeline([1]))


def test_a_network_that_does_not_fit_the_action_space_leaves_nothing_behind(tmp_path):
    opt = RLOptimizer(ppo_agent(n_outputs=3), BatchPipeline(env_id="CartPole-v1"), checkpoint_dir=tmp_path)
    with pytest.raises(ConfigError, match="actor gives 3 outputs"):
        opt.run()
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_raises_is_named_and_leaves_nothing_half_written(tmp_path):
    agent = ScriptedAgent()
    opt = RLOptimizer(agent, BatchPipeline(env=FailingEnv(at_step=5)), checkpoint_dir=tmp_path)
    with pytest.raises(EnvError, match="FailingEnv"):
        opt.run()
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_raises_later_leaves_the_best_policy_and_a_record(tmp_path):
    agent = AlwaysZero()
    pipeline = BatchPipeline(env=FailingEnv(at_step=50), window_size=10)
    evaluator = ReturnEvaluator(lambda window, diagnostics: window.length + agent.policy % 3)
    opt = RLOptimizer(agent, pipeline, evaluator, checkpoint_dir=tmp_path)
    with pytest.raises(EnvError):
        opt.run()
    assert opt.best_snapshot is not None
    assert agent.policy == int(opt.best_snapshot.episode_id)
    summary = RunDirectory.open(FileSystem(), opt.run_dir).summary
    assert summary["status"] == "failed"
    assert "EnvError" in summary["error"]


def test_a_file_where_runs_should_go_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    agent = ScriptedAgent()
    with pytest.raises(ConfigError, match="is a file"):
        RLOptimizer(agent, ScriptedPipeline([1]), checkpoint_dir=tmp_path / "file").run()
    assert agent.policy == 0


def test_seeds_are_drawn_and_recorded_when_none_is_given(tmp_path):
    seeds = {RLOptimizer(ScriptedAgent(), ScriptedPipeline([1])).plan["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_no_nan_reaches_the_result(tmp_path):
    opt = cartpole_run(tmp_path)
    opt.run()
    assert math.isfinite(opt.result.score)
