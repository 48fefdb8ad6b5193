"""How is the end of a run told, and which exit code does it have?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensor_optix.cli.failures import INTERRUPTED, NOT_CONVERGED, TERMINATED
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.text import duration, printable, score_text
from tensor_optix.core.reporting import summary_of
from tensor_optix.core.types import FinalScore, LoopState, RunResult, StopReason

_EXIT_CODES = {StopReason.INTERRUPTED: INTERRUPTED, StopReason.TERMINATED: TERMINATED}


@dataclass(frozen=True)
class Ending:
    """A finished run as the command line tells it. ``report`` is None where none was written, ``next_command`` where
    nothing can be done with the run."""

    result: RunResult
    state: LoopState
    report: Path | None
    next_command: str | None

    @property
    def exit_code(self) -> int:
        """0 when the loop found that nothing more is to be gained, 3 when something else ended it; 130, 143."""
        reason = self.result.reason
        return _EXIT_CODES.get(reason, 0 if reason.is_convergence else NOT_CONVERGED)

    @property
    def verdict(self) -> str:
        """Why it stopped, in one sentence."""
        reason = self.result.reason
        word = reason.value if reason.is_convergence or reason is StopReason.STUCK else "not converged"
        return printable(f"{word}: {self.result.explanation}")

    @property
    def block(self) -> list[str]:
        """Several lines: verdict, scores, cost, what was noticed, where everything is, and what to type next."""
        result = self.result
        best = f"{score_text(result.score)} in training" if result.best_snapshot else "no policy was scored"
        lines = [f"{self.state.name:<8} {self.verdict}", f"best     {best}"]
        if result.final is not None:
            lines.append(f"final    {interval_text(result.final)}")
        lines.append(f"cost     {result.env_steps:,} env steps, {duration(result.seconds)}{self._evaluation_cost}")
        lines += [f"note     {printable(note)}" for note in result.notes]
        lines.append(f"run      {shown(result.run_dir)}")
        if self.report is not None:
            lines.append(f"report   {shown(self.report)}")
        return lines if self.next_command is None else [*lines, f"next     {self.next_command}"]

    @property
    def last_line(self) -> str:
        """Everything that matters on one line."""
        result = self.result
        score = score_text(result.score) if result.final is None else interval_text(result.final)
        cost = f"{result.env_steps:,} env steps, {duration(result.seconds)}"
        return f"{self.verdict}; {score}; {cost}; {shown(result.run_dir)}"

    @property
    def row(self) -> dict[str, Any]:
        """The same as JSON values."""
        result = self.result
        return {
            **summary_of(result), "state": self.state.name, "seed": result.seed, "run_dir": str(result.run_dir),
            "report": str(self.report) if self.report else None, "exit_code": self.exit_code,
        }  # fmt: skip

    @property
    def _evaluation_cost(self) -> str:
        steps = self.result.evaluation_steps
        return f"; {steps:,} more steps for the final score" if steps else ""


def interval_text(final: FinalScore) -> str:
    """``500.0 [95 % 500.0-500.0, 20 fresh episodes, deterministic]``."""
    mode = "deterministic" if final.deterministic else "sampled actions"
    return f"{final.mean:.1f} [95 % {final.low:.1f}-{final.high:.1f}, {len(final.returns)} fresh episodes, {mode}]"
