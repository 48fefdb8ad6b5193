"""Every decision is on record with its evidence, and the record leads to the same decisions again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import ConfigError, Continuation, LoopCallback, RLOptimizer
from tensor_optix.core.decision_log import checked, counted, rule_of
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline

NOISE = np.random.default_rng(0).normal(0, 1, 500)
LEARNED_THEN_FLAT = [100 * min(k, 20) / 20 + NOISE[k] for k in range(150)]


class GoOnOnce(LoopCallback):
    def __init__(self, agent: Any) -> None:
        self.agents = [agent]

    def after_dormant(self, run):
        return Continuation(self.agents.pop(), 40) if self.agents else None


def ran(out: Path, script: list[Any], agent: Any = None, **settings: Any) -> RunDirectory:
    opt = RLOptimizer(agent or ScriptedAgent(), ScriptedPipeline(script), FirstReward(), checkpoint_dir=out, seed=1,
                      **{"max_episodes": 200, **settings})  # fmt: skip
    opt.run()
    return RunDirectory.open(FileSystem(), opt.run_dir)


@pytest.mark.parametrize("settings", [{}, {"convergence": "patience"}, {"dormant_threshold": 9}])
def test_the_recorded_scores_lead_to_exactly_the_recorded_decisions(tmp_path, settings):
    run = ran(tmp_path, LEARNED_THEN_FLAT, **settings)
    rows = run.read_metrics()
    assert rows[-1]["state"] == "DORMANT"
    check = checked(rule_of(run.identity), rows)
    assert check.n_ticks == len(rows)
    assert check.first_difference is None


@pytest.mark.parametrize("is_new", [False, True])
def test_a_restart_of_the_rule_is_part_of_the_record(tmp_path, is_new):
    agent = ScriptedAgent()
    successor = ScriptedAgent() if is_new else agent
    run = ran(tmp_path, LEARNED_THEN_FLAT * 2, agent, callbacks=[GoOnOnce(successor)])
    rows = run.read_metrics()
    assert [row["told"]["restart"] for row in rows].count("new" if is_new else "same") >= 1
    assert checked(rule_of(run.identity), rows).first_difference is None


def test_a_record_that_was_tampered_with_is_noticed(tmp_path):
    run = ran(tmp_path, LEARNED_THEN_FLAT)
    rows = run.read_metrics()
    rows[30]["told"]["score"] += 50
    assert checked(rule_of(run.identity), rows).first_difference is not None


def test_windows_that_were_no_ticks_do_not_disturb_the_replay(tmp_path):
    script = [value if k % 3 else None for k, value in enumerate(LEARNED_THEN_FLAT)]
    run = ran(tmp_path, script, max_episodes=100)
    assert checked(rule_of(run.identity), run.read_metrics()).first_difference is None


def test_a_rule_of_the_users_own_is_not_guessed_at():
    with pytest.raises(ConfigError, match="only its author"):
        rule_of({"rule": "Mine", "settings": {}})


def test_every_kind_of_decision_is_on_record_with_numbers(tmp_path):
    events = ran(tmp_path, LEARNED_THEN_FLAT).read_events()
    assert {"best", "cooling", "dormant", "stopped"} <= {event["kind"] for event in events}
    dormant = next(event for event in events if event["kind"] == "dormant")
    assert dormant["evidence"]["p_done"] >= 0.9
    assert counted(events, "stopped") == 1
