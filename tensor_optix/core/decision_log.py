"""What does a run's log say of its decisions, and would the rule decide the same again? Pure functions on its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.convergence import ConvergenceRule
from tensor_optix.core.evidence import EvidenceRule
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.patience import PatienceRule
from tensor_optix.core.replay import replayed
from tensor_optix.errors import ConfigError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """n_ticks: judged in the run; first_difference: the window whose judgement came out otherwise, None: all agree."""

    n_ticks: int
    first_difference: int | None


def checked(rule: ConvergenceRule, rows: Sequence[Row]) -> Check:
    """Judge the recorded ticks again with a fresh rule, and compare state, verdict and evidence with the record."""
    ticks = [row for row in rows if isinstance(row.get("told"), dict)]
    for row, judgement in zip(ticks, replayed(rule, [row["told"] for row in ticks]), strict=True):
        again = (judgement.state.name, judgement.verdict.value, judgement.improved, judgement.evidence)
        if again != (row["state"], row["verdict"], row["improved"], row["evidence"]):
            return Check(len(ticks), int(row["window"]))
    return Check(len(ticks), None)


def rule_of(identity: Row) -> ConvergenceRule:
    """The rule that a run's plan names, as it was at the beginning. Raises ConfigError for one of the user's own."""
    settings = identity.get("adapted_settings", identity.get("settings"))
    name = identity.get("rule")
    if not isinstance(settings, dict) or name not in ("EvidenceRule", "PatienceRule"):
        raise ConfigError(f"the run was judged by {name!r}, which only its author can build again")
    config = LoopConfig.from_settings({k: v for k, v in settings.items() if k != "convergence"})
    if name == "PatienceRule":
        return PatienceRule(config, is_guarded=False)
    return EvidenceRule(config, cools_down=bool(identity.get("cools_down")))


def counted(events: Iterable[Row], kind: str) -> int:
    """How many decisions of this kind there are."""
    return sum(event.get("kind") == kind for event in events)
