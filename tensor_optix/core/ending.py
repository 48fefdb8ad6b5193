"""Why does a run end?"""

from __future__ import annotations

from dataclasses import dataclass

from tensor_optix.core.budget import explain
from tensor_optix.core.types import StopReason, Verdict

REASON_OF = {
    Verdict.CONVERGED: StopReason.CONVERGED,
    Verdict.CEILING: StopReason.CEILING,
    Verdict.STUCK: StopReason.STUCK,
    Verdict.COLLAPSED: StopReason.COLLAPSED,
}


@dataclass(frozen=True)
class Ending:
    """Why a run ends, and an explanation for people. may_continue: a callback may go on with another agent."""

    reason: StopReason
    explanation: str
    may_continue: bool = False

    @classmethod
    def without_evidence(cls, reason: StopReason) -> Ending:
        """A budget or a request ends it."""
        return cls(reason, explain(reason))
