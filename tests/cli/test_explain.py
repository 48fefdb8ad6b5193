"""``explain`` tells a run's decisions as a person would want to read them."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from tensor_optix import RLOptimizer
from tensor_optix.cli import app
from tensor_optix.cli.explain import _told
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline

NOISE = np.random.default_rng(0).normal(0, 1, 200)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    script = [100 * min(k, 20) / 20 + NOISE[k] for k in range(150)]
    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline(script), FirstReward(), seed=1,
                      checkpoint_dir=tmp_path_factory.mktemp("runs"), max_episodes=150)  # fmt: skip
    opt.run()
    return opt.run_dir


def test_the_story_ends_with_the_reason_and_the_replay(run_dir):
    told = CliRunner().invoke(app, ["explain", str(run_dir)])
    assert told.exit_code == 0
    assert "sees nothing more to gain" in told.output
    assert "in the end: converged" in told.output
    assert "lead to the same decisions again" in told.output
    assert "found a new best" not in told.output
    assert "P(less than 5 % left)=0.9" in told.output
    assert told.output.count("converged") == 1


def test_all_decisions_are_shown_on_request(run_dir):
    told = CliRunner().invoke(app, ["explain", str(run_dir), "--all"])
    assert "found a new best" in told.output


def test_the_decisions_can_be_read_by_programs(run_dir):
    told = CliRunner().invoke(app, ["explain", str(run_dir), "--json"])
    assert told.exit_code == 0
    assert all(line.startswith("{") for line in told.output.splitlines())


def test_a_path_without_a_run_is_said(tmp_path):
    assert CliRunner().invoke(app, ["explain", str(tmp_path / "nothing")]).exit_code == 2


def test_a_decision_is_told_with_its_numbers_and_nothing_twice():
    evidence = {"snapshot": "7", "means": {"7": 500.0, "5": 480.25}, "rounds": [["7"]], "margin": 3.0}
    assert list(_told({"kind": "confirmed", "window": 4, "text": "window 4: it won", "evidence": evidence})) == [
        "window 4: chose the best policy", "    it won", "    snapshot=7  means=7: 500, 5: 480.2",
    ]  # fmt: skip


def test_a_ceiling_is_told_by_its_own_numbers():
    evidence = {"p_done": 0.3, "ceiling_streak": 2.0, "range": 464.0, "noise": 0.0}
    assert list(_told({"kind": "dormant", "window": 4, "text": "", "evidence": evidence}))[-1] == (
        "    ticks at the ceiling=2  range learned=464"
    )
