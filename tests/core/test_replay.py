"""Replaying recorded scores reproduces what a rule decided."""

import pytest

from tensor_optix.core.convergence import Tick
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.patience import PatienceRule
from tensor_optix.core.replay import first_end, judgements

SCORES = [0.0, 10.0, 20.0, 20.0, 20.0, 20.0]


def rule():
    return PatienceRule(LoopConfig(dormant_threshold=3), is_guarded=False)


def test_a_replay_says_what_the_rule_said():
    mine = rule()
    by_hand = [mine.judge(Tick(s, t)) for s, t in zip(SCORES, [0.0, 5.0, 15.0, 20.0, 20.0, 20.0], strict=True)]
    assert list(judgements(rule(), SCORES)) == by_hand


def test_the_end_is_counted_from_one():
    assert first_end(rule(), [1.0] * 10).tick == 4
    assert first_end(rule(), [1.0] * 3).tick is None


def test_no_scores_are_refused():
    with pytest.raises(ValueError, match="at least one score, got none"):
        first_end(rule(), [])
