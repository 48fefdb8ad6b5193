"""A population in a run: whatever trains it, the same comes out, all of it is counted, and the best is handed back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import (
    CheckpointRegistry,
    ConfigError,
    HyperparamSet,
    LoopCallback,
    PolicyManager,
    RLOptimizer,
    StopReason,
)
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.training_states import TrainingStates
from tensor_optix.errors import NonFiniteError, TrialError
from tensor_optix.optimizers.no_tuning import NoTuning
from tensor_optix.population.agent import PopulationAgent
from tensor_optix.population.members import Members
from tensor_optix.population.settings import Population
from tensor_optix.population.training import Outcome
from tensor_optix.search import workers
from tests.core.scripted import window_of
from tests.search.surface import SPACE, WINDOW_STEPS, SurfaceAgent, SurfacePipeline

SIZE, INTERVAL, INTERVALS = 4, 5 * WINDOW_STEPS, 6


class Surface(SurfacePipeline):
    """Can be evaluated on: without noise."""

    def evaluate(self, agent, *, seeds, deterministic=True):
        policy = agent.lead if isinstance(agent, PopulationAgent) else agent
        return window_of([policy.score()] * len(seeds), 0)


def run_of(where: Path, *, n_jobs: int = 1, **keywords: Any) -> RLOptimizer:
    settings = {
        "agent_factory": SurfaceAgent, "pipeline_factory": Surface, "max_episodes": INTERVALS, "seed": 3,
        "checkpoint_dir": where, "population": Population(SIZE, interval_steps=INTERVAL, n_jobs=n_jobs), **keywords,
    }  # fmt: skip
    return RLOptimizer(**settings)


def done(optimizer: RLOptimizer) -> RLOptimizer:
    optimizer.run()
    return optimizer


def rows(optimizer: RLOptimizer, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (optimizer.run_dir / name).read_text().splitlines()]


def exchanges(optimizer: RLOptimizer) -> list[dict[str, Any]]:
    return [row for row in rows(optimizer, "events.jsonl") if row["kind"] == "exchanged"]


def outcome_of(optimizer: RLOptimizer) -> tuple[Any, ...]:
    result, agent = optimizer.result, optimizer.agent
    return (result.score, result.windows, result.env_steps, result.final, agent.updates, agent.params,
            [row["evidence"] for row in exchanges(optimizer)])  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RLOptimizer:
    return done(run_of(tmp_path_factory.mktemp("whole")))


# -- what comes out ------------------------------------------------------------------------------------------------


def test_every_step_of_every_member_is_counted(whole):
    assert whole.result.env_steps == SIZE * INTERVAL * INTERVALS
    assert [row["env_steps"] for row in rows(whole, "metrics.jsonl")] == [
        SIZE * INTERVAL * n for n in range(2, INTERVALS + 1)
    ]


def test_the_log_says_who_took_over_from_whom_and_how_everybody_stands(whole):
    assert len(exchanges(whole)) == INTERVALS
    for row in exchanges(whole):
        assert row["evidence"]["source_fitness"] > row["evidence"]["fitness"]
        assert f"member {row['evidence']['member']} takes over from member" in row["text"]
    metrics = rows(whole, "metrics.jsonl")[-1]["metrics"]
    assert {f"member_{i}" for i in range(SIZE)} <= set(metrics)
    assert metrics[f"member_{metrics['best_member']:.0f}"] == rows(whole, "metrics.jsonl")[-1]["score"]


def test_the_best_policy_is_confirmed_on_fresh_seeds_and_handed_back_with_its_hyperparameters(whole):
    confirmed = next(row for row in rows(whole, "events.jsonl") if row["kind"] == "confirmed")
    best = whole.best_snapshot
    assert best.snapshot_id == confirmed["evidence"]["snapshot"]
    assert type(whole.agent) is SurfaceAgent
    assert whole.agent.params == best.hyperparams.params
    assert whole.result.final.mean == pytest.approx(whole.agent.score())
    assert whole.result.final.mean == pytest.approx(max(confirmed["evidence"]["means"].values()))


def test_the_policy_of_the_last_exchange_joins_the_choice_of_the_best(whole):
    assert INTERVALS in [snapshot.episode_id for snapshot in whole.registry.snapshots]
    assert whole.result.notes == ()


def test_a_population_gets_further_than_its_defaults_do_alone(whole, tmp_path):
    alone = RLOptimizer(SurfaceAgent({}), Surface(), optimizer=NoTuning(), checkpoint_dir=tmp_path, seed=3,
                        max_episodes=INTERVALS * 5)  # fmt: skip
    alone.run()
    assert whole.result.final.mean > alone.result.final.mean


def test_a_killed_worker_is_replaced_and_processes_change_nothing(whole, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    other = done(run_of(tmp_path, n_jobs=2, agent_factory=lambda params: SurfaceAgent(params, kills=(str(marks), 1))))
    assert len(list(marks.iterdir())) == 1  # one did die
    assert other.result.health["workers_died"] == 1
    assert outcome_of(other) == outcome_of(whole)


def test_workers_that_keep_dying_end_the_run(monkeypatch):
    monkeypatch.setattr(workers, "MAX_DEATHS", 0)
    with pytest.raises(TrialError, match="workers died 1 times, the last with exit code 7"):
        workers.Processes(1).map(os._exit, [7])


def test_seed_and_seed_alone_decide(whole, tmp_path):
    assert outcome_of(done(run_of(tmp_path / "same"))) == outcome_of(whole)
    assert outcome_of(done(run_of(tmp_path / "other", seed=4))) != outcome_of(whole)


class Noisy(SurfaceAgent):
    """Has a random stream in its state, which nobody has seeded when the factory gives it away."""

    def __init__(self, params):
        super().__init__(params)
        self.rng, self.luck = np.random.default_rng(), 0.0

    def seed(self, rng):
        self.rng = np.random.default_rng(int(rng.integers(2**63)))

    def learn(self, episode_data):
        self.luck += 0.01 * self.rng.standard_normal()
        return super().learn(episode_data)

    def score(self):
        return super().score() + self.luck

    def state_dict(self):
        return {"updates": self.updates, "luck": self.luck, "params": dict(self.params),
                "rng": self.rng.bit_generator.state}  # fmt: skip

    def load_state_dict(self, state):
        self.updates, self.luck, self.params = state["updates"], state["luck"], dict(state["params"])
        self.rng.bit_generator.state = state["rng"]


def test_randomness_of_the_agents_own_comes_from_the_seed_and_is_each_members_own(tmp_path):
    first, again = (done(run_of(tmp_path / name, agent_factory=Noisy)) for name in ("first", "again"))
    assert outcome_of(first) == outcome_of(again)
    luck = [member.agent["state"]["luck"] for member in first._parts.agent.members]
    assert len(set(luck)) > 1


def test_a_policy_is_kept_with_the_hyperparameters_that_made_it(tmp_path):
    class Marked(SurfaceAgent):
        """Its policy remembers the learning rate of its last update."""

        rate = 1e-4

        def learn(self, episode_data):
            self.rate = self.params["learning_rate"]
            return super().learn(episode_data)

        def policy_state(self):
            return {**super().policy_state(), "rate": np.array(self.rate)}

        def load_policy_state(self, state):
            super().load_policy_state(state)
            self.rate = float(state["rate"])

    optimizer = done(run_of(tmp_path, agent_factory=Marked))
    snapshots = optimizer.registry.snapshots
    for snapshot in snapshots:
        agent = Marked({})
        optimizer.registry.load(agent, snapshot)
        assert agent.rate == snapshot.hyperparams.params["learning_rate"]
    assert len({snapshot.hyperparams.params["learning_rate"] for snapshot in snapshots}) > 1


def test_who_takes_over_goes_on_with_the_others_policy_and_everybody_else_with_their_own():
    params = {"learning_rate": 1e-3, "gamma": 0.99, "width": 16}
    members = Members([{"policy": -1}] * 4, params, SPACE, 10)
    members.seed(RandomStreams(0))
    own = [dict(member.params) for member in members]
    members.trained(lambda orders: [Outcome({"policy": i}, {}, 10, [float(i)], []) for i in range(len(orders))])
    members.exchange()
    assert [member.agent for member in members] == [{"policy": 3}, {"policy": 1}, {"policy": 2}, {"policy": 3}]
    assert [member.has_moved for member in members] == [True, False, False, False]
    assert members[0].params not in own
    assert [member.params for member in members][1:] == own[1:]


# -- resume, failures, scores from outside ---------------------------------------------------------------------------


class Killed(Exception):
    pass


class KillAt(LoopCallback):
    def __init__(self, window: int) -> None:
        self.window = window

    def on_episode_end(self, episode_id, eval_metrics):
        if episode_id == self.window:
            raise Killed


@pytest.mark.parametrize("window", [1, 4])
def test_a_run_that_is_killed_goes_on_as_if_nothing_had_happened(window, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingStates, "is_due", True)
    with pytest.raises(Killed):
        run_of(tmp_path, callbacks=[KillAt(window)]).run()
    assert outcome_of(done(run_of(tmp_path, resume=True))) == outcome_of(whole)


def test_a_member_whose_numbers_are_no_longer_finite_takes_over_from_a_sound_one(tmp_path):
    class Fragile(SurfaceAgent):
        def learn(self, episode_data):
            if self.params["learning_rate"] > 1.2e-4 and self.updates == 7:
                raise NonFiniteError("loss is nan")
            return super().learn(episode_data)

    optimizer = done(run_of(tmp_path, agent_factory=Fragile))
    failed = [row for row in exchanges(optimizer) if row["evidence"]["fitness"] is None]
    assert failed
    assert optimizer.result.reason is StopReason.MAX_EPISODES


def test_a_score_of_the_users_sees_the_plain_agent_and_decides_what_is_kept(tmp_path):
    seen: list[Any] = []

    def score(agent: Any) -> float:
        seen.append(agent)
        return -agent.updates  # the youngest policy is the best

    optimizer = done(run_of(tmp_path, checkpoint_score_fn=score))
    assert {type(agent) for agent in seen} == {SurfaceAgent}
    assert optimizer.agent.updates == 0 == -optimizer.result.score


def test_validation_scores_the_very_policy_that_is_kept(tmp_path):
    optimizer = done(run_of(tmp_path, val_pipeline_factory=lambda: Surface(noise=0.0)))
    for snapshot in optimizer.registry.snapshots:
        agent = SurfaceAgent({})
        optimizer.registry.load(agent, snapshot)
        assert snapshot.rank == pytest.approx(agent.score())


# -- settings --------------------------------------------------------------------------------------------------------


def test_the_interval_is_ten_windows_or_what_ten_intervals_of_all_can_pay_for():
    assert Population(4).interval(512, None) == 5120
    assert Population(4).interval(512, 1_000_000) == 5120
    assert Population(4).interval(512, 60_000) == 1024
    assert Population(4).interval(512, 100) == 512
    assert Population(4, interval_steps=77).interval(512, 60_000) == 77


def test_what_cannot_work_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="population must be a whole number of at least 2, got 1"):
        run_of(tmp_path, population=1)
    with pytest.raises(ConfigError, match="population need an agent_factory"):
        RLOptimizer(SurfaceAgent({}), Surface(), population=4)
    manager = PolicyManager(CheckpointRegistry(tmp_path)).as_callback(SurfaceAgent({}))
    factories = {"agent_factory": SurfaceAgent, "pipeline_factory": Surface, "population": 4}
    with pytest.raises(ConfigError, match="without the callback of a PolicyManager"):
        RLOptimizer(**factories, callbacks=[manager])
    with pytest.raises(ConfigError, match="without the callback of a PolicyManager"):
        RLOptimizer(**factories).add_callback(manager)
    with pytest.raises(ConfigError, match="population needs a pipeline_factory"):
        run_of(tmp_path, pipeline_factory=None, pipeline=Surface())
    with pytest.raises(ConfigError, match="tunes by itself"):
        run_of(tmp_path, optimizer=NoTuning())

    class Sealed(SurfaceAgent):
        def policy_state(self):
            return None

    with pytest.raises(ConfigError, match="give the agent a state_dict or a policy_state"):
        run_of(tmp_path, agent_factory=Sealed).run()


def test_the_first_member_begins_with_the_factorys_hyperparameters_and_the_others_with_their_own(tmp_path):
    begun: dict[float, int] = {}

    class Noted(SurfaceAgent):
        def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
            super().set_hyperparams(hyperparams)
            begun.setdefault(self.params["learning_rate"], len(begun))

    done(run_of(tmp_path, agent_factory=Noted, max_episodes=1))
    assert min(begun, key=lambda rate: begun[rate]) == 1e-4
    assert len(begun) >= SIZE
    assert np.all(np.array(list(begun)) > 0)
