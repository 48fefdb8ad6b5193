"""How is the end of a run told, and which exit code does it have?"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensor_optix.cli.failures import INTERRUPTED, NOT_CONVERGED, TERMINATED
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.text import duration, printable, score_text
from tensor_optix.core.episode_facts import SUCCESS_RATE
from tensor_optix.core.plain_text import counted
from tensor_optix.core.reporting import summary_of
from tensor_optix.core.types import FinalScore, LoopState, RunResult, StopReason

MARGIN = 9
_TO_COPY = ("run ", "report ", "next ")  # paths and commands stay on one line
_NAMED = (StopReason.CONVERGED, StopReason.CEILING, StopReason.OVERFITTING, StopReason.TARGET_SCORE, StopReason.STUCK,
          StopReason.COLLAPSED)  # fmt: skip
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
        """0 when nothing more is to be gained or the target is reached, 3 when something else ended it; 130, 143."""
        reason = self.result.reason
        is_good = reason.is_convergence or reason is StopReason.TARGET_SCORE
        return _EXIT_CODES.get(reason, 0 if is_good else NOT_CONVERGED)

    @property
    def verdict(self) -> str:
        """Why it stopped, in one sentence."""
        reason = self.result.reason
        word = reason.value.replace("_", " ") if reason in _NAMED else "not converged"
        return printable(f"{word}: {self.result.explanation}")

    def lines(self, width: int) -> list[str]:
        """``block`` for a terminal of ``width`` columns: longer sentences go on below their own beginning."""
        lines: list[str] = []
        for line in self.block:
            if line.startswith(_TO_COPY):
                lines.append(line)
                continue
            room = max(width - MARGIN, 20)
            parts = textwrap.wrap(line[MARGIN:], room, break_long_words=False, break_on_hyphens=False) or [""]
            lines += [f"{line[:MARGIN] if number == 0 else '':{MARGIN}}{part}" for number, part in enumerate(parts)]
        return lines

    @property
    def block(self) -> list[str]:
        """Several lines: verdict, scores, cost, what was noticed, where everything is, and what to type next."""
        result = self.result
        lines = [f"{self.state.name:<8} {self.verdict}"]
        if result.final is not None:
            lines.append(f"final    {interval_text(result.final)}")
        lines.append(f"best     {self._best}")
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
    def _best(self) -> str:
        """The policy that is kept, and the score that it was chosen by."""
        snapshot = self.result.best_snapshot
        if snapshot is None:
            return "no policy was scored"
        kept = snapshot.eval_metrics.metrics
        gap = kept.get("generalization_gap")
        unit = "in validation" if "val_score" in kept else "in training"
        details = "" if gap is None else f", gap to training {gap:+.1f}"
        rate = kept.get(f"val_{SUCCESS_RATE}", kept.get(SUCCESS_RATE))
        success = "" if rate is None else f", success rate {rate:.2f}"
        name = f"(snapshot {printable(snapshot.snapshot_id)})"
        return f"{score_text(self.result.score)} {unit} when it was kept{details}{success} {name}"

    @property
    def _evaluation_cost(self) -> str:
        steps = self.result.evaluation_steps
        return f"; {steps:,} more steps to choose the best and to evaluate it" if steps else ""


def interval_text(final: FinalScore) -> str:
    """``500.0 [95 %: 500.0 to 500.0; 20 fresh episodes, deterministic]``."""
    mode = "deterministic" if final.deterministic else "sampled actions"
    episodes = counted(len(final.returns), "fresh episode")
    return f"{final.mean:.1f} [95 %: {final.low:.1f} to {final.high:.1f}; {episodes}, {mode}]"
