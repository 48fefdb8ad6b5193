from pathlib import Path
from typing import Any

import pytest
from cli_parts import a_result

from tensor_optix.cli.ending import Ending
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PolicySnapshot, StopReason


def an_ending(reason: StopReason = StopReason.CONVERGED, **changes: Any) -> Ending:
    run_dir = Path("/runs/x")
    return Ending(a_result(run_dir, reason, **changes), LoopState.DORMANT, run_dir / "report.html", "tox eval x")


@pytest.mark.parametrize("reason", list(StopReason))
def test_only_convergence_and_a_reached_target_exit_with_zero(reason: StopReason) -> None:
    signals = {StopReason.INTERRUPTED: 130, StopReason.TERMINATED: 143}
    is_good = reason.is_convergence or reason is StopReason.TARGET_SCORE
    assert an_ending(reason).exit_code == (0 if is_good else signals.get(reason, 3))


def test_the_block_says_verdict_scores_cost_places_and_what_to_type_next() -> None:
    assert an_ending(notes=("an env was rebuilt",)).block == [
        "DORMANT  converged: 20 scores in a row without a gain above the noise",
        "final    500.0 [95 %: 498.5 to 500.0; 20 fresh episodes, deterministic]",
        "best     487.2 in training when it was kept (snapshot 7)",
        "cost     51,200 env steps, 12 s; 10,000 more steps to choose the best and to evaluate it",
        "note     an env was rebuilt",
        "run      /runs/x",
        "report   /runs/x/report.html",
        "next     tox eval x",
    ]


def test_a_spent_budget_is_not_called_convergence() -> None:
    ending = an_ending(StopReason.MAX_STEPS, explanation="the budget of environment steps (max_steps) is used up")
    assert ending.verdict == "not converged: the budget of environment steps (max_steps) is used up"


def test_where_nothing_can_be_done_nothing_is_offered() -> None:
    unscored = a_result(Path("/runs/x"), score=None, final=None, best_snapshot=None, evaluation_steps=0)
    block = Ending(unscored, LoopState.DORMANT, report=None, next_command=None).block
    assert "best     no policy was scored" in block
    assert not any(line.startswith(("next", "final")) for line in block)


def test_the_last_line_holds_everything_that_matters() -> None:
    line = an_ending().last_line
    assert line.startswith("converged: 20 scores")
    for part in ("500.0 [95 %: 498.5 to 500.0", "51,200 env steps", "/runs/x"):
        assert part in line


def test_a_validated_policy_tells_its_gap_and_its_success_rate() -> None:
    metrics = EvalMetrics(480.0, {"val_score": 480.0, "generalization_gap": 12.5, "success_rate": 0.75}, 3)
    best = PolicySnapshot("9", metrics, HyperparamSet({}), "", 3)
    told = an_ending(best_snapshot=best, score=480.0).block[2]
    assert told.startswith("best     480.0 in validation when it was kept, gap to training +12.5, success rate 0.75")


def test_on_a_narrow_terminal_sentences_go_on_below_themselves_and_commands_stay_whole() -> None:
    result = a_result(Path("/a/very/long/path/" + "x" * 60))
    lines = Ending(result, LoopState.DORMANT, None, f"tox eval {'x' * 60}").lines(50)
    assert lines[:2] == ["DORMANT  converged: 20 scores in a row without a", "         gain above the noise"]
    assert lines[-1] == f"next     tox eval {'x' * 60}"
    assert any(line.startswith("run      /a/very/long") and len(line) > 80 for line in lines)
