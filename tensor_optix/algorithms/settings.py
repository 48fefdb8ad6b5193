"""Which hyperparameters are in effect at which env step? Base values, and schedules over some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tensor_optix.core.hyperparams import LinearSchedule


@dataclass(frozen=True)
class Settings:
    """Checked hyperparameters. The base value of a scheduled one is where its schedule starts."""

    base: dict[str, Any]
    schedules: dict[str, LinearSchedule] = field(default_factory=dict)

    def updated(self, given: Mapping[str, Any]) -> Settings:
        """With those ``given``. A number equal to the base value leaves a schedule in place, another one ends it.

        (Whoever reads all base values, changes some and gives all back has not spoken of the others.)
        """
        base, schedules = dict(self.base), dict(self.schedules)
        for name, value in given.items():
            if isinstance(value, LinearSchedule):
                schedules[name] = value
            elif base.get(name) != value:
                schedules.pop(name, None)
            base[name] = value.start if isinstance(value, LinearSchedule) else value
        return Settings(base, schedules)

    def at(self, env_step: int) -> Mapping[str, Any]:
        """The values in effect after ``env_step`` env steps."""
        if not self.schedules:
            return self.base
        return {**self.base, **{name: schedule.at(env_step) for name, schedule in self.schedules.items()}}

    def state_dict(self) -> dict[str, Any]:
        rows = {name: [schedule.start, schedule.end, schedule.steps] for name, schedule in self.schedules.items()}
        return {"hyperparams": dict(self.base), "schedules": rows}


def stored_settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """What ``Settings.state_dict`` gave, as hyperparameters and schedules that are yet to be checked."""
    schedules = {name: LinearSchedule(*row) for name, row in state["schedules"].items()}
    return {**state["hyperparams"], **schedules}
