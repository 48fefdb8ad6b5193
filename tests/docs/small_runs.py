"""How do long runs fit into a test? Their budgets are made small; whatever else is printed stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.orchestrator import TrialOrchestrator

SMALL_STEPS = 5_000
"""A limit of the text's own up to this stays what it is."""


def make_runs_small(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Whatever runs afterwards collects two windows, evaluates two episodes, tries two trials, below ``directory``."""
    as_given, search_as_given = LoopConfig.from_settings, TrialOrchestrator.__init__

    def with_a_budget(settings: dict[str, Any]) -> LoopConfig:
        small = {} if (settings.get("max_steps") or SMALL_STEPS + 1) <= SMALL_STEPS else {"max_episodes": 2}
        return as_given({**settings, "evaluation_episodes": min(settings.get("evaluation_episodes", 2), 2), **small})

    def with_few_trials(self: TrialOrchestrator, *arguments: Any, **keywords: Any) -> None:
        search_as_given(self, *arguments, **{**keywords, "n_trials": 2, "trial_steps": 1_100})

    monkeypatch.setattr(LoopConfig, "from_settings", with_a_budget)
    monkeypatch.setattr(TrialOrchestrator, "__init__", with_few_trials)
    monkeypatch.chdir(directory)
