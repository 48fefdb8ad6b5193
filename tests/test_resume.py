"""Saved, loaded, continued is the same run: bit for bit, from any window boundary."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import (
    BaseOptimizer,
    BatchPipeline,
    CheckpointError,
    ConfigError,
    HyperparamSet,
    LinearSchedule,
    LoopCallback,
    NonFiniteError,
    ObsNormalizer,
    ReturnEvaluator,
    RewardNormalizer,
    RLOptimizer,
    StopReason,
    TensorOptixError,
    TorchAgent,
    TorchDQNAgent,
    TorchGaussianPPOAgent,
    TorchPPOAgent,
    TorchSACAgent,
)
from tensor_optix.core import training_states
from tensor_optix.core.callbacks import Continuation, RunView
from tensor_optix.core.confirmation import Confirmation
from tensor_optix.core.final_evaluation import FinalEvaluation
from tensor_optix.core.run_files import RunFiles
from tensor_optix.core.state import split_state
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline, window_of

WINDOWS = 8


class Killed(BaseException):
    """Leaves the loop as a killed process does: nothing more is committed."""


class KillAfter(LoopCallback):
    def __init__(self, window: int) -> None:
        self.window = window

    def on_episode_end(self, episode_id, eval_metrics):
        if episode_id == self.window:
            raise Killed


class Wandering(BaseOptimizer):
    """A tuner with a probe that lasts two ticks and randomness of its own: all of it must be continued."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.base: float | None = None
        self.told: list[list[float]] = []

    def observe(self, evidence):
        self.told.append([evidence.score, evidence.previous_score, evidence.env_steps, evidence.episodes])

    def suggest(self, current_hyperparams, metrics_history):
        rate = current_hyperparams.params["learning_rate"]
        if self.base is None:
            self.base, rate = rate, rate * float(self.rng.uniform(0.5, 2.0))
        else:
            self.base, rate = None, self.base
        return HyperparamSet({**current_hyperparams.params, "learning_rate": rate})

    @property
    def is_probing(self):
        return self.base is not None

    def state_dict(self):
        return {"rng": self.rng.bit_generator.state, "base": self.base, "told": self.told}

    def load_state_dict(self, state):
        self.rng.bit_generator.state, self.base, self.told = state["rng"], state["base"], state["told"]


class BlowsUp(TorchPPOAgent):
    """Its numbers blow up on window 2, after which the loop goes back to the best policy so far."""

    def learn(self, episode_data):
        diagnostics = super().learn(episode_data)
        if episode_data.episode_id == 2:
            raise NonFiniteError("the loss is nan")
        return diagnostics


def torch_ppo(kind: type[TorchPPOAgent] = TorchPPOAgent) -> TorchPPOAgent:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    actor = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))
    critic = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
    return kind(actor, critic, optimizer, HyperparamSet({"n_epochs": 2, "minibatch_size": 32}))


def torch_mlp(n_inputs: int, n_outputs: int) -> nn.Module:
    torch.manual_seed(n_outputs)
    torch.set_num_threads(1)
    return nn.Sequential(nn.Linear(n_inputs, 16), nn.Tanh(), nn.Linear(16, n_outputs))


def torch_adam(*modules: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for module in modules for p in module.parameters()], lr=1e-3)


def torch_gaussian_ppo() -> TorchGaussianPPOAgent:
    actor, critic = torch_mlp(3, 2), torch_mlp(3, 1)
    params = {"n_epochs": 2, "minibatch_size": 32, "clip_ratio": LinearSchedule(0.2, 0.05, 500)}
    return TorchGaussianPPOAgent(
        actor, critic, torch_adam(actor, critic), 1, params, reward_normalizer=RewardNormalizer(),
        obs_normalizer=ObsNormalizer((3,)),
    )  # fmt: skip


def torch_dqn() -> TorchDQNAgent:
    q = torch_mlp(4, 2)
    params = {"epsilon": 0.5, "updates_per_step": 0.11, "per_alpha": 0.6, "n_step": 3, "replay_capacity": 500}
    return TorchDQNAgent(q, 2, torch_adam(q), params)


def torch_sac() -> TorchSACAgent:
    actor, *critics = torch_mlp(3, 2), torch_mlp(4, 1), torch_mlp(4, 1)
    optimizers = torch_adam(actor), torch_adam(*critics), torch_adam(nn.Linear(1, 1))
    params = {"batch_size": 32, "updates_per_step": 0.11, "learning_starts": 150, "replay_capacity": 500}
    return TorchSACAgent(actor, *critics, 1, *optimizers, params)


def torch_generic() -> TorchAgent:
    model = torch_mlp(4, 2)
    return TorchAgent(model, torch_adam(model), {})


# an agent added to the package joins here with one line
AGENTS = {
    "torch ppo": torch_ppo, "torch ppo that was rolled back": lambda: torch_ppo(BlowsUp),
    "torch gaussian ppo": torch_gaussian_ppo, "torch dqn": torch_dqn, "torch sac": torch_sac,
    "torch generic": torch_generic,
}  # fmt: skip
CONTINUOUS = ("torch gaussian ppo", "torch sac")


def env_of(kind: str) -> gym.Env[Any, Any]:
    """Env episodes cross the boundaries of windows of 100 steps."""
    return gym.make("Pendulum-v1", max_episode_steps=70) if kind in CONTINUOUS else gym.make("CartPole-v1")


def make(kind: str, out: Path, **keywords: Any) -> RLOptimizer:
    pipeline = BatchPipeline(env=env_of(kind), window_size=100)
    settings = {"checkpoint_dir": out, "seed": 7, "max_episodes": WINDOWS, "evaluation_episodes": 3,
                "optimizer": Wandering(), "evaluator": ReturnEvaluator(score_episodes=1), **keywords}  # fmt: skip
    return RLOptimizer(AGENTS[kind](), pipeline, **settings)


def fingerprint(opt: RLOptimizer) -> dict[str, Any]:
    """Everything that a run leaves behind, clock readings aside."""
    agent = opt._parts.agent
    state, arrays = split_state(agent.state_dict())
    digest = hashlib.sha256(repr(state).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    rows = RunDirectory.open(FileSystem(), opt.run_dir).read_metrics()
    return {
        "agent": digest.hexdigest(),
        "scores": [(row["window"], row["score"], row["hyperparams"]["learning_rate"]) for row in rows],
        "decisions": [(row["state"], row["evidence"]) for row in rows],
        "final": opt.result.final,
        "steps": (opt.result.windows, opt.result.env_steps, opt.result.evaluation_steps),
        "best": opt.result.score,
        "told": opt._parts.tuner.told,
        "streams": {name: str(s.bit_generator.state) for name, s in opt._parts.streams._streams.items()},
    }


@pytest.fixture(autouse=True)
def commit_at_every_boundary(monkeypatch):
    monkeypatch.setattr(training_states, "PAUSE_SHARE", 0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, dict[str, Any]]:
    found = {}
    for kind in AGENTS:
        opt = make(kind, tmp_path_factory.mktemp("whole"))
        opt.run()
        found[kind] = fingerprint(opt)
    return found


@pytest.mark.parametrize("kind", AGENTS)
@pytest.mark.parametrize("window", [0, 1, 2, 5, WINDOWS - 1])
def test_a_killed_run_ends_as_if_nothing_had_happened(kind, window, uninterrupted, tmp_path):
    with pytest.raises(Killed):
        make(kind, tmp_path, callbacks=[KillAfter(window)]).run()
    resumed = make(kind, tmp_path, resume=True)
    resumed.run()
    assert fingerprint(resumed) == uninterrupted[kind]


@pytest.mark.parametrize("kind", AGENTS)
def test_a_run_killed_three_times_ends_as_if_nothing_had_happened(kind, uninterrupted, tmp_path):
    with pytest.raises(Killed):
        make(kind, tmp_path, callbacks=[KillAfter(1)]).run()
    for window in (3, 3, 6):
        with pytest.raises(Killed):
            make(kind, tmp_path, callbacks=[KillAfter(window)], resume=True).run()
    resumed = make(kind, tmp_path, resume=True)
    resumed.run()
    assert fingerprint(resumed) == uninterrupted[kind]


@pytest.mark.parametrize("kind", AGENTS)
def test_committing_never_changes_nothing(kind, uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setattr(training_states.TrainingStates, "is_due", False)
    opt = make(kind, tmp_path)
    opt.run()
    assert fingerprint(opt) == uninterrupted[kind]


@pytest.mark.parametrize("kind", AGENTS)
def test_a_window_that_is_collected_again_is_not_kept_twice(kind, tmp_path, monkeypatch):
    with pytest.raises(Killed):
        make(kind, tmp_path, callbacks=[KillAfter(0)], max_snapshots=99).run()
    monkeypatch.setattr(training_states.TrainingStates, "is_due", False)  # the next ones are lost with the process
    with pytest.raises(Killed):
        make(kind, tmp_path, callbacks=[KillAfter(4)], max_snapshots=99, resume=True).run()
    resumed = make(kind, tmp_path, max_snapshots=99, resume=True)
    resumed.run()
    windows = [snapshot.episode_id for snapshot in resumed.registry.snapshots]
    assert sorted(windows) == list(range(WINDOWS + 1))  # the last policy's score is that of a window that never came


@pytest.mark.parametrize("kind", AGENTS)
@pytest.mark.parametrize("commits", ["at every boundary", "at the signal only"])
def test_an_interrupt_in_mid_window_loses_that_window_only(kind, commits, uninterrupted, tmp_path, monkeypatch):
    if commits == "at the signal only":
        monkeypatch.setattr(training_states.TrainingStates, "is_due", False)
    class Interrupting(gym.Wrapper):
        n = 0

        def step(self, action):
            self.n += 1
            if self.n == 350:
                os.kill(os.getpid(), signal.SIGINT)
            return self.env.step(action)

    pipeline = BatchPipeline(env=Interrupting(env_of(kind)), window_size=100)
    opt = RLOptimizer(AGENTS[kind](), pipeline, checkpoint_dir=tmp_path, seed=7, max_episodes=WINDOWS,
                      evaluation_episodes=3, optimizer=Wandering(),
                      evaluator=ReturnEvaluator(score_episodes=1))  # fmt: skip
    opt.run()
    assert opt.result.reason is StopReason.INTERRUPTED
    assert opt.result.windows == 3
    resumed = make(kind, tmp_path, resume=opt.run_dir)
    resumed.run()
    assert fingerprint(resumed) == uninterrupted[kind]


@pytest.mark.parametrize("kind", AGENTS)
def test_a_budget_can_be_extended_later(kind, uninterrupted, tmp_path):
    opt = make(kind, tmp_path, max_episodes=4)
    opt.run()
    resumed = make(kind, tmp_path, resume=True)  # 8 windows in all
    resumed.run()
    assert fingerprint(resumed)["scores"] == uninterrupted[kind]["scores"]


def entries(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The entries of a training state, two levels deep."""
    if not isinstance(tree, dict) or len(path) == 2:
        return [path]
    return [entry for key, child in tree.items() for entry in entries(child, (*path, key))]


def comparable(tree: Any) -> str:
    """A state without readings of a clock, and without the number of events, of which being resumed is one."""
    json, arrays = split_state(tree)
    json.pop("seconds")
    json["parts"]["announcer"].pop("n_events")
    json["parts"]["tracker"].pop("timestamps")
    for spent in ("run_start",):
        json["totals"][spent].pop("seconds")
    json["tenure"]["made_by"].pop("timestamp")
    kept = {name: a.tolist() for name, a in arrays.items() if not name.endswith("timestamps")}
    return repr((json, sorted(kept.items())))


def stored(run_dir: Path) -> Any:
    return training_states.TrainingStates(run_dir, lambda: 0.0).newest()[0]


@pytest.fixture
def killed_run(tmp_path) -> Path:
    with pytest.raises(Killed):
        make("torch ppo", tmp_path / "run", callbacks=[KillAfter(4)]).run()
    return next((tmp_path / "run").iterdir())


def test_a_state_that_is_loaded_and_committed_again_is_the_same_state(killed_run):
    before = comparable(stored(killed_run))
    # nothing is left to do but to commit
    make("torch ppo", killed_run.parent, resume=True, max_episodes=4, callbacks=[LoopCallback()]).run()
    assert comparable(stored(killed_run)) == before


def test_the_time_of_the_killed_process_counts(killed_run):
    earlier = stored(killed_run)["seconds"]
    resumed = make("torch ppo", killed_run.parent, resume=True, max_episodes=4, evaluation_episodes=0)
    resumed.run()
    assert resumed.result.seconds > earlier > 0


def test_an_entry_of_the_state_that_is_not_restored_is_noticed(killed_run, uninterrupted, tmp_path, monkeypatch):
    """Each entry in turn is replaced by what another run has there at its beginning."""
    with pytest.raises(Killed):
        make("torch ppo", tmp_path / "fresh", seed=99, callbacks=[KillAfter(0)]).run()
    fresh, original = stored(next((tmp_path / "fresh").iterdir())), stored(killed_run)
    newest, unnoticed, tried = training_states.TrainingStates.newest, [], 0
    for entry in entries(original):
        if not _has_arrays(_at(original, entry)) and _at(original, entry) == _at(fresh, entry):
            continue  # nothing that could be forgotten
        tried += 1
        copied = tmp_path / "-".join(entry)
        shutil.copytree(killed_run, copied / killed_run.name)

        def forgetful(states, entry=entry):
            state, weights = newest(states)
            _at(state, entry[:-1])[entry[-1]] = _at(fresh, entry)
            return state, weights

        monkeypatch.setattr(training_states.TrainingStates, "newest", forgetful)
        try:
            make("torch ppo", copied, resume=True, max_episodes=4, callbacks=[LoopCallback()]).run()
        except (CheckpointError, ConfigError):
            continue
        monkeypatch.setattr(training_states.TrainingStates, "newest", newest)
        if comparable(stored(copied / killed_run.name)) == comparable(original):
            unnoticed.append(entry)
    assert tried > 15
    # clock readings (the run began at window 0 here and there), and what the pipeline's state and the run's streams
    # both hold
    twice = {("streams", "seed"), ("pipeline", "streams")}
    assert set(unnoticed) <= {("seconds",), ("totals", "run_start"), *twice}


def test_a_second_run_that_was_killed_keeps_its_own_budget(tmp_path):
    opt = scripted(tmp_path, max_episodes=2)
    opt.run()
    opt.add_callback(KillAfter(2))
    with pytest.raises(Killed):
        opt.run()
    resumed = scripted(tmp_path, max_episodes=2, resume=True)
    resumed.run()
    assert resumed.result.windows == 4


def _has_arrays(node: Any) -> bool:
    return bool(split_state(node)[1])


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


GARBAGE = [None, "x", -1, 1.5, [], {}, [1, "2"], {"seed": "7"}, np.zeros(3), np.zeros((2, 2), dtype=np.uint8)]


def test_a_training_state_that_lies_is_refused_in_one_sentence_or_harmless(killed_run, monkeypatch):
    """Every entry, replaced by each kind of garbage: one typed error, and the agent as it was."""
    original = stored(killed_run)
    newest, outcomes = training_states.TrainingStates.newest, {"refused": 0, "harmless": 0}
    for entry in [*entries(original), *((name,) for name in original)]:
        for garbage in GARBAGE:

            def lying(states, entry=entry, garbage=garbage):
                state, weights = newest(states)
                _at(state, entry[:-1])[entry[-1]] = garbage
                return state, weights

            monkeypatch.setattr(training_states.TrainingStates, "newest", lying)
            opt = make("torch ppo", killed_run.parent, resume=True, max_episodes=4, evaluation_episodes=0)
            before = weights_of(opt)
            with monkeypatch.context() as patched:
                patched.setattr(training_states.TrainingStates, "commit", lambda *_: 1)
                patched.setattr(opt._parts.registry, "load_best", lambda *_, **__: None)
                try:
                    opt.run()
                    outcomes["harmless"] += 1
                except TensorOptixError:
                    outcomes["refused"] += 1
                    assert weights_of(opt) == before, entry
    assert outcomes["refused"] > 200


def weights_of(opt: RLOptimizer) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in opt._parts.agent.actor.parameters()]


# -- which run is continued ---------------------------------------------------------------------------------------


def scripted(out: Path, **keywords: Any) -> RLOptimizer:
    settings = {"evaluator": FirstReward(), "checkpoint_dir": out, "seed": 1, "max_episodes": 3, **keywords}
    return RLOptimizer(ScriptedAgent(), ScriptedPipeline([1, 2, 3, 4]), **settings)


def test_nothing_to_continue_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="holds no run to continue"):
        scripted(tmp_path, resume=True)


def test_a_run_of_other_networks_is_refused_with_the_entries_that_differ(tmp_path):
    make("torch ppo", tmp_path, max_episodes=1).run()
    wide = torch_ppo()
    wide.actor[0], wide.actor[3] = nn.Linear(4, 32), nn.Linear(32, 2)
    optimizer = torch.optim.Adam([*wide.actor.parameters(), *wide.critic.parameters()])
    agent = TorchPPOAgent(wide.actor, wide.critic, optimizer, {})
    pipeline = BatchPipeline(env=gym.make("CartPole-v1"), window_size=100)
    with pytest.raises(CheckpointError) as caught:
        RLOptimizer(agent, pipeline, optimizer=Wandering(), checkpoint_dir=tmp_path, resume=True)
    assert "weights actor/0.weight is float32[16, 4] there and float32[32, 4] here" in str(caught.value)


def test_a_run_that_was_killed_in_its_final_evaluation_is_evaluated_after_all(tmp_path, monkeypatch):
    def one_of(pipeline: ScriptedPipeline, **keywords: Any) -> RLOptimizer:
        return RLOptimizer(ScriptedAgent(), pipeline, ReturnEvaluator(), checkpoint_dir=tmp_path, seed=1,
                           dormant_threshold=3, **keywords)  # fmt: skip

    class Evaluated(ScriptedPipeline):
        def evaluate(self, agent, *, seeds, deterministic=True):
            return window_of([1.0], 0)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(FinalEvaluation, "best_policy", killed)
        patched.setattr(RunFiles, "failed", lambda *_, **__: None)  # the killed write nothing
        with pytest.raises(Killed):
            one_of(Evaluated([1])).run()
    resumed = one_of(Evaluated([1]), resume=True)
    resumed.run()
    assert resumed.result.reason is StopReason.STUCK
    assert resumed.result.final.mean == 1.0
    with pytest.raises(CheckpointError, match="nothing is left to continue"):
        one_of(Evaluated([1]), resume=True)


def test_a_second_run_that_was_killed_after_the_first_had_found_its_end_goes_on(tmp_path, monkeypatch):
    opt = scripted(tmp_path, max_episodes=30, dormant_threshold=2)
    opt.run()
    with monkeypatch.context() as patched:
        patched.setattr(RunFiles, "failed", lambda *_, **__: None)  # the killed write nothing
        opt.add_callback(KillAfter(opt.result.windows + 1))
        with pytest.raises(Killed):
            opt.run()
    resumed = scripted(tmp_path, max_episodes=30, dormant_threshold=2, resume=True, callbacks=[LoopCallback()])
    assert resumed.run_dir == opt.run_dir


def test_a_converged_run_is_finished(tmp_path):
    opt = scripted(tmp_path, max_episodes=None, dormant_threshold=2)
    opt.run()
    with pytest.raises(CheckpointError, match="is finished"):
        scripted(tmp_path, resume=opt.run_dir, dormant_threshold=2)


def test_another_seed_cannot_continue_a_run(tmp_path):
    scripted(tmp_path).run()
    with pytest.raises(ConfigError, match="was begun with seed 1: it cannot be continued with seed 2"):
        scripted(tmp_path, resume=True, seed=2)


def test_the_newest_matching_run_is_continued(tmp_path):
    first, second = scripted(tmp_path), scripted(tmp_path)
    first.run()
    second.run()
    assert scripted(tmp_path, resume=True).run_dir == second.run_dir


def test_a_damaged_training_state_is_put_aside_and_told(tmp_path):
    opt = scripted(tmp_path)
    opt.run()
    arrays = next((opt.run_dir / "training").glob("0*/arrays.safetensors"))
    arrays.write_bytes(arrays.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="holds no sound training state"):
        scripted(tmp_path, resume=True, max_episodes=9).run()


class SixMethods:
    """The least that an agent can be; all that it knows is in the file that it writes itself."""

    def __init__(self) -> None:
        self.weight = 1.0

    def act(self, observation):
        return int(observation[2] + self.weight * 1e-3 > 0)

    def learn(self, episode_data):
        self.weight = (self.weight * 1.7 + float(np.sum(episode_data.observations))) % 5.0
        return {}

    def get_hyperparams(self):
        return HyperparamSet({"rate": 0.5})

    def set_hyperparams(self, hyperparams): ...

    def save_weights(self, path):
        Path(path).write_text(repr(self.weight))

    def load_weights(self, path):
        self.weight = float(Path(path).read_text())


@pytest.mark.parametrize("window", [0, 3])
def test_an_agent_with_six_methods_goes_on_from_its_own_weights(window, tmp_path):
    def run(out: Path, **keywords: Any) -> RLOptimizer:
        pipeline = BatchPipeline(env=gym.make("CartPole-v1"), window_size=50)
        opt = RLOptimizer(SixMethods(), pipeline, checkpoint_dir=out, seed=3, max_episodes=6, evaluation_episodes=0,
                          **keywords)  # fmt: skip
        opt.run()
        return opt

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "cut", callbacks=[KillAfter(window)])
    resumed = run(tmp_path / "cut", resume=True)
    assert resumed._parts.agent.wrapped.weight == whole._parts.agent.wrapped.weight
    assert resumed.result.resume.level == "E0"
    assert "gives no state_dict" in resumed.result.resume.why


def test_a_run_states_its_level(tmp_path):
    opt = make("torch ppo", tmp_path, max_episodes=1)
    opt.run()
    assert opt.result.resume.level == "E3"
    assert RunDirectory.open(FileSystem(), opt.run_dir).identity["resume"]["level"] == "E3"
    plain = scripted(tmp_path / "plain")
    plain.run()
    assert plain.result.resume.level == "E1"


def test_other_software_lowers_the_level_in_words(tmp_path, monkeypatch):
    scripted(tmp_path).run()
    monkeypatch.setattr("tensor_optix.core.continuity.software", lambda: {"numpy": "0.1"})
    opt = scripted(tmp_path, resume=True, max_episodes=4)
    opt.run()
    assert any(note.startswith("resumed, but not bit for bit: numpy is") for note in opt.result.notes)


class GoesOnOnce(LoopCallback):
    """After the first dormancy, with the same agent; killed ``after`` that many windows."""

    def __init__(self, after: int | None = None) -> None:
        self.has_gone_on, self.after = False, after

    def after_dormant(self, run: RunView) -> Continuation | None:
        if self.has_gone_on:
            return None
        self.has_gone_on = True
        return Continuation(run.agent)

    def on_episode_end(self, episode_id: int, eval_metrics: Any) -> None:
        if episode_id == self.after:
            raise Killed

    def state_dict(self) -> dict[str, Any]:
        return {"has_gone_on": self.has_gone_on}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.has_gone_on = state["has_gone_on"]


def test_what_a_callback_went_on_with_is_on_record_across_a_kill(tmp_path):
    def going_on(after: int | None, **keywords: Any) -> RLOptimizer:
        return RLOptimizer(ScriptedAgent(), ScriptedPipeline([1]), FirstReward(), checkpoint_dir=tmp_path, seed=1,
                           dormant_threshold=3, max_episodes=20, evaluation_episodes=0, callbacks=[GoesOnOnce(after)],
                           **keywords)  # fmt: skip

    def decisions(opt: RLOptimizer) -> list[tuple[str, int]]:
        events = RunDirectory.open(FileSystem(), opt.run_dir).read_events()
        return [(row["kind"], row["window"]) for row in events if row["kind"] != "resumed"]

    whole = going_on(None)
    whole.run()
    told = decisions(whole)
    with pytest.raises(Killed):
        going_on(dict(told)["continued"]).run()
    resumed = going_on(None, resume=True)
    resumed.run()
    assert decisions(resumed) == told


# -- what is evaluated besides, across a kill ---------------------------------------------------------------------


class HeldOut(ScriptedPipeline):
    """Held-out env episodes; ``log`` notes which policy played which seed."""

    def evaluate(self, agent, *, seeds, deterministic=True):
        self.log.append(f"P{agent.policy} {seeds[0]}")
        return window_of([float(10 - abs(agent.policy - 3))], 0)


def validated(out: Path, **keywords: Any) -> tuple[RLOptimizer, HeldOut, list[int]]:
    scored: list[int] = []

    def external(agent: ScriptedAgent) -> float:
        scored.append(agent.policy)
        return float(agent.policy)

    held_out = HeldOut([0.0])
    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline([1]), FirstReward(), checkpoint_dir=out, seed=1,
                      val_pipeline=held_out, checkpoint_score_fn=external, evaluation_episodes=0, max_episodes=6,
                      **keywords)  # fmt: skip
    return opt, held_out, scored


def test_validation_and_external_scores_go_on_where_they_were(tmp_path):
    whole, held_out, scored = validated(tmp_path / "whole")
    whole.run()
    first, before, scored_before = validated(tmp_path / "killed", callbacks=[KillAfter(3)])
    with pytest.raises(Killed):
        first.run()
    resumed, after, scored_after = validated(tmp_path / "killed", resume=True, callbacks=[LoopCallback()])
    resumed.run()
    plays = [entry for entry in held_out.log if entry.startswith("P")]
    again = [entry for entry in [*before.log, *after.log] if entry.startswith("P")]
    assert list(dict.fromkeys(again)) == plays
    assert list(dict.fromkeys([*scored_before, *scored_after])) == scored
    assert resumed.best_snapshot.rank == whole.best_snapshot.rank
    assert resumed.result.env_steps == whole.result.env_steps


def test_a_closing_that_was_killed_is_closed_again_with_the_same_candidates(tmp_path, monkeypatch):
    """The last policy was committed by the closing that died: it must not compete with itself."""

    def killed(*_):
        raise Killed

    settings = {"evaluator": ReturnEvaluator(score_episodes=12)}  # the last windows carry no score
    whole = make("torch ppo", tmp_path / "whole", **settings)
    whole.run()
    broken = make("torch ppo", tmp_path / "broken", **settings)
    with monkeypatch.context() as patched:
        patched.setattr(Confirmation, "winner", killed)
        with pytest.raises(Killed):
            broken.run()
    resumed = make("torch ppo", tmp_path / "broken", resume=True, **settings)
    resumed.run()
    assert [s.episode_id for s in resumed.registry.snapshots] == [s.episode_id for s in whole.registry.snapshots]
    assert resumed.result.evaluation_steps == whole.result.evaluation_steps
    assert resumed.result.final == whole.result.final
