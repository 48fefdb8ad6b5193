"""The best of a few policies is found on fresh seeds, not by the luckiest score."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tensor_optix import CheckpointRegistry, ReturnEvaluator, RLOptimizer
from tensor_optix.core.confirmation import promising
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import ScriptedAgent, ScriptedPipeline, window_of


class Noisy(ScriptedPipeline):
    """Training scores are scripted; on fresh seeds policy k is worth ``values[k]``, with common noise."""

    def __init__(self, script, values):
        super().__init__(script)
        self.values = values
        self.seeds: dict[int, list[int]] = {}
        self.modes: set[bool] = set()

    def evaluate(self, agent, *, seeds, deterministic=True):
        self.seeds.setdefault(agent.policy, []).extend(seeds)
        self.modes.add(deterministic)
        return window_of([self.values[agent.policy] + float(seeds[0] % 7)], 0)


def trained(out: Path, pipeline: Noisy, **settings) -> tuple[ScriptedAgent, RLOptimizer]:
    agent = ScriptedAgent()
    opt = RLOptimizer(agent, pipeline, ReturnEvaluator(), checkpoint_dir=out, seed=1, max_episodes=4,
                      **{"evaluation_episodes": 3, **settings})  # fmt: skip
    opt.run()
    return agent, opt


def test_the_winner_on_fresh_seeds_is_handed_out_and_not_the_luckiest(tmp_path):
    agent, opt = trained(tmp_path, Noisy([10, 90, 20, 30], [1.0, 2.0, 50.0, 3.0, 4.0]))
    assert agent.policy == 2
    assert opt.best_snapshot.rank == 20.0
    assert opt.registry.best == opt.best_snapshot
    reopened = CheckpointRegistry(opt.run_dir)
    assert reopened.best.snapshot_id == opt.best_snapshot.snapshot_id


def test_all_that_take_part_in_a_round_share_its_seeds_and_the_report_uses_others(tmp_path):
    pipeline = Noisy([10, 90, 20, 30], [1.0, 2.0, 50.0, 3.0, 4.0])
    _, opt = trained(tmp_path, pipeline, max_snapshots=4)
    event = next(e for e in RunDirectory.open(FileSystem(), opt.run_dir).read_events() if e["kind"] == "confirmed")
    losers = [seeds for policy, seeds in pipeline.seeds.items() if policy in (1, 3)]
    assert losers[0][:2] == losers[1][:2]
    report = pipeline.seeds[2][-3:]
    assert not set(report) & {seed for seeds in losers for seed in seeds}
    assert len(set(pipeline.seeds[2])) == len(pipeline.seeds[2])
    assert event["evidence"]["snapshot"] == opt.best_snapshot.snapshot_id


def test_a_search_trial_makes_no_closing_evaluation_at_all(tmp_path):
    pipeline = Noisy([10, 90, 20, 30], [1.0, 2.0, 50.0, 3.0, 4.0])
    agent, _opt = trained(tmp_path, pipeline, evaluation_episodes=0)
    assert pipeline.seeds == {}
    assert agent.policy == 1


def test_a_second_run_starts_from_the_winner_and_chooses_anew(tmp_path):
    pipeline = Noisy([10, 90, 20, 30, 5], [1.0, 2.0, 50.0, 3.0, 4.0, 60.0, 1.0, 1.0, 1.0, 1.0])
    agent, opt = trained(tmp_path, pipeline)
    opt.run()
    assert agent.policy in (2, 5)
    assert opt.result.final is not None


def test_candidates_are_ranked_by_the_level_around_them_and_not_by_their_own_luck():
    noise = np.random.default_rng(0).normal(0, 5, 60)
    scores = [float(v) for v in np.where(np.arange(60) < 30, 10, 25) + noise]
    scores[10] = 27.0  # lucky, among policies worth 10
    scores[45] = 26.0

    def snapshot(window: int) -> PolicySnapshot:
        metrics = EvalMetrics(scores[window], {}, window)
        return PolicySnapshot(str(window), metrics, HyperparamSet({}), "", window)

    ranked = promising([snapshot(10), snapshot(45)], list(enumerate(scores)))
    assert [one.episode_id for one in ranked] == [45, 10]


def test_scores_of_another_run_count_as_they_are():
    metrics = EvalMetrics(5.0, {}, 99)
    stranger = PolicySnapshot("7", metrics, HyperparamSet({}), "", 99)
    assert promising([stranger], [(0, 1.0), (1, 2.0)]) == [stranger]


def test_an_unreadable_choice_counts_as_none(tmp_path):
    registry, agent = CheckpointRegistry(tmp_path), ScriptedAgent()
    low = registry.save(agent, EvalMetrics(1.0, {}, 0), HyperparamSet({}))
    high = registry.save(agent, EvalMetrics(2.0, {}, 1), HyperparamSet({}))
    registry.choose(low)
    assert CheckpointRegistry(tmp_path).best.snapshot_id == low.snapshot_id
    for nonsense in (b"{", b'{"snapshot": "1"}', b"[]", b'{"snapshot": 99}', bytes(5000)):
        (tmp_path / "refs" / "best.json").write_bytes(nonsense)
        assert CheckpointRegistry(tmp_path).best.snapshot_id == high.snapshot_id


def test_policies_are_compared_as_they_will_be_used(tmp_path):
    pipeline = Noisy([10, 90, 20, 30], np.arange(5.0))
    pipeline.values = [float(v) for v in pipeline.values]
    trained(tmp_path, pipeline)
    assert True in pipeline.modes
