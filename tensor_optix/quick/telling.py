"""What does ``train`` say while it works, outside the command line?"""

from __future__ import annotations

from typing import TextIO

from tensor_optix.core.plain_text import counted, plain, printable
from tensor_optix.core.reporting import LineReporter, RunInfo
from tensor_optix.core.types import RunResult


class Teller(LineReporter):
    """The plan, a line at every evaluation point, and how it ended: plain text, for scripts and notebooks."""

    def __init__(self, stream: TextIO, plan: str) -> None:
        super().__init__(stream)
        self._out, self._plan = stream, plan

    def started(self, info: RunInfo) -> None:
        self._out.write(f"{self._plan}\n")

    def finished(self, result: RunResult) -> None:
        score = "no score" if result.score is None else f"{result.score:.1f} in training"
        if result.final is not None:
            fresh = f"{result.final.mean:.1f} [95 %: {result.final.low:.1f} to {result.final.high:.1f}]"
            score = f"{fresh} over {counted(len(result.final.returns), 'fresh episode')}"
        self._out.write(f"{result.reason.value}: {printable(result.explanation)}\n"
                        f"{score}; {result.env_steps:,} env steps; {plain(str(result.run_dir))}\n")  # fmt: skip
        self._out.flush()
