"""Weights, pruning, variants and the report of a PolicyManager."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tensor_optix import CheckpointRegistry, ConfigError, EvalMetrics, HyperparamSet, PolicyManager
from tests.core.policy.worlds import SkilledAgent


@pytest.fixture
def registry(tmp_path):
    return CheckpointRegistry(tmp_path)


def manager_of(registry, n: int = 3, **keywords) -> PolicyManager:
    pm = PolicyManager(registry, rng=np.random.default_rng(0), **keywords)
    for number in range(n):
        pm.add_agent(SkilledAgent(name=str(number)))
    return pm


def weights(pm: PolicyManager) -> list[float]:
    return [agent["weight"] for agent in pm.status()["agents"]]


def names(pm: PolicyManager) -> list[str]:
    return [member.agent.name for member in pm.members]


def kept(registry, skill: float, score: float, **metrics: float) -> None:
    agent = SkilledAgent()
    agent.skill = skill
    registry.save(agent, EvalMetrics(score, metrics, 0), HyperparamSet({"learning_rate": 0.2}))


# -- weights ---------------------------------------------------------------------------------------------------------


def test_weights_are_scores_lifted_above_zero(registry):
    pm = manager_of(registry)
    pm.update_weights({0: -2.0, 1: 3.0, 2: 0.0})
    assert weights(pm) == pytest.approx([1e-8, 5 + 1e-8, 2 + 1e-8])


def test_a_score_that_is_not_finite_counts_as_the_lowest(registry):
    pm = manager_of(registry)
    pm.update_weights({0: float("nan"), 1: 3.0, 2: 1.0})
    assert weights(pm) == pytest.approx([1 + 1e-8, 3 + 1e-8, 1 + 1e-8])


def test_recorded_scores_give_the_better_member_the_larger_say(registry):
    pm = manager_of(registry)
    for score in (0.0, 1.0, 0.5):
        pm.record_agent_score(0, score)
        pm.record_agent_score(1, score + 1)
    pm.auto_update_weights()
    low, high, untouched = weights(pm)
    assert high / low == pytest.approx(np.exp(1 / 0.5))  # one unit, in standard deviations of 0.5
    assert untouched == 1.0


def test_weights_by_recorded_scores_do_not_depend_on_unit_or_offset(registry):
    def learned(scale, offset):
        pm = manager_of(registry, 2)
        for score in (0.0, 1.0, 0.5):
            pm.record_agent_score(0, scale * score + offset)
            pm.record_agent_score(1, scale * (score + 0.3) + offset)
        pm.auto_update_weights()
        return weights(pm)

    assert learned(1, 0) == pytest.approx(learned(1000, -5e4))


def test_only_the_last_scores_count(registry):
    pm = manager_of(registry, 1, score_window=2)
    for score in (1.0, 2.0, 3.0):
        pm.record_agent_score(0, score)
    assert pm.status()["agents"][0]["recent_scores"] == [2.0, 3.0]
    assert pm.status()["agents"][0]["mean_score"] == 2.5


def test_boost_multiplies_a_weight_and_refuses_a_stranger(registry):
    pm = manager_of(registry)
    pm.boost(pm.members[1].agent, factor=3.0)
    assert weights(pm) == [1, 3, 1]
    with pytest.raises(ConfigError, match="no member of the ensemble: call add_agent first"):
        pm.boost(SkilledAgent())


def test_impossible_weights_and_members_are_refused(registry):
    pm = manager_of(registry)
    with pytest.raises(ConfigError, match=r"at least 0, got -1"):
        pm.add_agent(SkilledAgent(), weight=-1.0)
    with pytest.raises(ConfigError, match="there is no member 7"):
        pm.update_weights({7: 1.0})
    with pytest.raises(ConfigError, match="a member of the ensemble already"):
        pm.add_agent(pm.members[0].agent)


def test_the_leading_member_has_the_highest_weight_of_those_that_were_scored_and_work(registry):
    pm = manager_of(registry, 4)
    assert pm.members.leading is None
    for index, score in ((0, 1.0), (1, 2.0), (2, 3.0)):
        pm.record_agent_score(index, score)
    pm.update_weights({0: 1.0, 1: 2.0, 2: 3.0, 3: 9.0})
    assert pm.members.leading.agent.name == "2"
    pm.members[2].quarantine(RuntimeError("lost a wheel"))
    assert pm.members.leading.agent.name == "1"
    pm.update_weights({0: 2.0})
    assert pm.members.leading.agent.name == "1"  # of equals the newest


# -- pruning ---------------------------------------------------------------------------------------------------------


def test_prune_takes_the_lowest_weights_out_and_releases_them(registry):
    pm = manager_of(registry)
    pm.update_weights({0: 1.0, 1: 3.0, 2: 2.0})
    (removed,) = pm.prune()
    assert (removed.name, removed.torn_down) == ("2", 1)
    assert names(pm) == ["0", "1"]
    assert pm.status()["prune_count"] == 1


def test_of_equal_weights_the_newest_goes(registry):
    pm = manager_of(registry)
    pm.prune()
    assert names(pm) == ["0", "1"]


def test_the_primary_is_never_pruned(registry):
    pm = manager_of(registry)
    pm.name_primary(pm.members[2].agent)
    pm.update_weights({0: 9.0, 1: 5.0, 2: 0.0})
    pm.prune(2)
    assert names(pm) == ["2"]
    assert pm.prune(1) == []


def test_prune_does_nothing_where_it_would_take_everything(registry):
    pm = manager_of(registry, 2)
    assert pm.prune(2) == []
    assert pm.ensemble_size == 2


# -- variants --------------------------------------------------------------------------------------------------------


def test_a_variant_has_the_best_weights_and_moved_hyperparameters(registry):
    kept(registry, skill=7.0, score=1.0)
    pm, shell = manager_of(registry, 0, max_spawns=2), SkilledAgent()
    assert pm.spawn_variant(shell, noise_scale=0.1) is shell
    assert shell.skill == 7.0
    assert shell.params["learning_rate"] != 0.2
    assert (pm.spawn_count, pm.spawns_remaining, pm.budget_exhausted) == (1, 1, False)


def test_a_mutation_of_the_users_replaces_ours(registry):
    kept(registry, skill=7.0, score=1.0)
    seen: list[SkilledAgent] = []
    shell = manager_of(registry, 0).spawn_variant(SkilledAgent(), mutation_fn=seen.append)
    assert seen == [shell]
    assert shell.params == {"learning_rate": 0.2}


def test_without_a_best_policy_the_shell_is_left_alone(registry):
    pm, shell = manager_of(registry, 0), SkilledAgent()
    assert pm.spawn_variant(shell) is shell
    assert (shell.params, pm.spawn_count) == ({"learning_rate": 0.1}, 0)


def relatives(registry) -> PolicyManager:
    pm = manager_of(registry, 1)
    pm.adopt(SkilledAgent(), lineage=0)
    pm.members[0].agent.skill, pm.members[1].agent.skill = 2.0, 4.0
    return pm


def test_the_mean_of_two_relatives_is_taken_where_no_barrier_lies_between(registry):
    shell = SkilledAgent()
    assert relatives(registry).average_weights(shell, 0, 1, lambda agent: [agent.skill] * 3)
    assert shell.skill == 3.0


def test_a_mean_that_is_worse_than_both_is_not_taken(registry):
    shell = SkilledAgent()
    shell.skill = 7.0
    assert not relatives(registry).average_weights(shell, 0, 1, lambda agent: [abs(agent.skill - 3.0)] * 3)
    assert shell.skill == 7.0


def test_members_that_were_trained_apart_are_never_averaged(registry):
    with pytest.raises(ConfigError, match="members 0 and 1 are of different lineages"):
        manager_of(registry).average_weights(SkilledAgent(), 0, 1, lambda agent: [0.0, 0.0])


def test_evolve_rolls_back_below_the_best_score_only(registry):
    pm, agent = manager_of(registry, 0), SkilledAgent()
    assert not pm.evolve(agent, -5.0)
    kept(registry, skill=7.0, score=-1.0)
    assert not pm.evolve(agent, -1.0)
    assert agent.skill == 0.0
    assert pm.evolve(agent, -1.5)
    assert agent.skill == 7.0


def test_evolve_leaves_an_off_policy_agent_alone(registry):
    class OffPolicy(SkilledAgent):
        @property
        def is_on_policy(self) -> bool:
            return False

    kept(registry, skill=7.0, score=1.0)
    agent = OffPolicy()
    assert not manager_of(registry, 0).evolve(agent, -100.0)
    assert agent.skill == 0.0


# -- what it tells ---------------------------------------------------------------------------------------------------


def test_status_and_report_have_the_documented_keys(registry):
    pm = manager_of(registry, max_spawns=3, max_ensemble_size=4)
    pm.set_regime("volatile")
    status = pm.status()
    assert {key: status[key] for key in status if key != "agents"} == {
        "ensemble_size": 3, "max_ensemble_size": 4, "regime": "volatile", "spawn_count": 0, "max_spawns": 3,
        "spawns_remaining": 3, "budget_exhausted": False, "prune_count": 0,
    }  # fmt: skip
    assert {"index", "weight", "mean_score", "recent_scores"} <= set(status["agents"][0])
    assert {"best_score", "best_val_score", "best_generalization_gap"} <= set(pm.training_report())


def test_the_report_with_validation_is_the_documented_one(registry):
    kept(registry, 1.0, 0.8612, train_score=0.8732, val_score=0.8612)
    printed = io.StringIO()
    pm = manager_of(registry, max_spawns=3, stream=printed)
    for _ in range(3):
        pm.count_spawn()
    pm.print_report("Spawn budget exhausted")
    rule = "━" * 54
    assert printed.getvalue() == (
        f"{rule}\n  Training Complete\n  Reason           : Spawn budget exhausted\n{rule}\n"
        "  Best score       : 0.8732\n  Val score        : 0.8612\n"
        "  Generalization   : 0.0120  (train − val)\n  Spawns used      : 3 / 3\n"
        f"  Pruned agents    : 0\n  Ensemble size    : 3\n{rule}\n"
    )


def test_the_report_goes_to_standard_output_by_default(registry, capsys):
    manager_of(registry).print_report("because")
    assert "Reason           : because" in capsys.readouterr().out


def test_snapshots_are_ranked_best_first(registry):
    for score in (1.0, 3.0, 2.0):
        kept(registry, 0.0, score)
    assert [row["primary_score"] for row in manager_of(registry).ranked_snapshots] == [3.0, 2.0, 1.0]


def test_impossible_settings_are_refused(registry):
    with pytest.raises(ConfigError, match="max_spawns must be at least 0, got -1"):
        PolicyManager(registry, max_spawns=-1)
