"""NO_OP, SPAWN, PRUNE, STOP: by gap, gap slope and improvement."""

import numpy as np
import pytest

from tensor_optix import EvalMetrics, MetaAction, MetaController

LEFT, USED_UP = {"budget_exhausted": False}, {"budget_exhausted": True}


def validated(train, val):
    return [
        EvalMetrics(float(v), {"train_score": float(t), "val_score": float(v)}, i)
        for i, (t, v) in enumerate(zip(train, val, strict=True))
    ]


def trained(scores):
    return [EvalMetrics(float(score), {}, i) for i, score in enumerate(scores)]


FLAT, RISING = np.full(10, 100.0), np.linspace(100, 200, 10)
TABLE = [
    ("the budget is used up", trained(RISING), USED_UP, MetaAction.STOP),
    ("too few scores", trained([1, 2]), LEFT, MetaAction.NO_OP),
    ("a plateau", validated(FLAT, FLAT), LEFT, MetaAction.SPAWN),
    ("still improving", validated(RISING, RISING), LEFT, MetaAction.NO_OP),
    ("a large gap", validated(FLAT + 40, FLAT), LEFT, MetaAction.PRUNE),
    ("a growing gap", validated(FLAT + np.arange(10) * 3, FLAT), LEFT, MetaAction.PRUNE),
    ("a plateau without validation", trained(FLAT), LEFT, MetaAction.SPAWN),
    ("improving without validation", trained(RISING), LEFT, MetaAction.NO_OP),
    ("a plateau at zero", validated(np.zeros(10), np.zeros(10)), LEFT, MetaAction.SPAWN),
    ("a plateau below zero", trained(-FLAT), LEFT, MetaAction.SPAWN),
    ("improving through zero", trained(np.linspace(-5, 5, 10)), LEFT, MetaAction.NO_OP),
]


@pytest.mark.parametrize(("history", "status", "action"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_action_follows_from_the_scores(history, status, action):
    assert MetaController().decide(history, status) is action


def test_a_small_gap_around_zero_is_no_overfitting_of_a_run_that_has_learned():
    learned = np.linspace(-200, 0, 30)
    wobble = np.array([1, -1] * 5, float)
    history = validated([*learned, *(wobble + 2)], [*learned, *wobble])
    assert MetaController().decide(history, LEFT) is MetaAction.SPAWN


def test_without_validation_it_says_what_it_cannot_see():
    assert "cannot be seen without validation" in MetaController().judge(trained(FLAT), LEFT).explanation
    assert "cannot be seen" not in MetaController().judge(validated(FLAT, FLAT), LEFT).explanation


def test_thresholds_are_the_callers():
    gap = validated(FLAT + 25, FLAT)
    assert MetaController(gap_threshold=0.2).decide(gap, LEFT) is MetaAction.PRUNE
    assert MetaController(gap_threshold=0.3).decide(gap, LEFT) is MetaAction.SPAWN
