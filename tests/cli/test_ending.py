from pathlib import Path
from typing import Any

import pytest
from cli_parts import a_result

from tensor_optix.cli.ending import Ending
from tensor_optix.core.types import LoopState, StopReason


def an_ending(reason: StopReason = StopReason.CONVERGED, **changes: Any) -> Ending:
    run_dir = Path("/runs/x")
    return Ending(a_result(run_dir, reason, **changes), LoopState.DORMANT, run_dir / "report.html", "tox eval x")


@pytest.mark.parametrize("reason", list(StopReason))
def test_only_convergence_exits_with_zero(reason: StopReason) -> None:
    signals = {StopReason.INTERRUPTED: 130, StopReason.TERMINATED: 143}
    assert an_ending(reason).exit_code == (0 if reason.is_convergence else signals.get(reason, 3))


def test_the_block_says_verdict_scores_cost_places_and_what_to_type_next() -> None:
    assert an_ending(notes=("an env was rebuilt",)).block == [
        "DORMANT  converged: 20 scores in a row without a gain above the noise",
        "best     487.2 in training",
        "final    500.0 [95 % 498.5-500.0, 20 fresh episodes, deterministic]",
        "cost     51,200 env steps, 12 s; 10,000 more steps for the final score",
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
    for part in ("500.0 [95 % 498.5-500.0", "51,200 env steps", "/runs/x"):
        assert part in line
