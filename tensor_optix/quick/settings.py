"""Which part does a setting belong to: the algorithm, the loop, or the build? And what value does its text mean?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tensor_optix.core.hyperparams import Space
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.errors import ConfigError, nearest
from tensor_optix.quick.build import CHANGEABLE

LOOP = tuple(each.name for each in dataclasses.fields(LoopConfig))
_WORDS = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True)
class Sorted:
    """Settings by the part that they belong to."""

    hyperparams: dict[str, Any] = field(default_factory=dict)
    loop: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)


def sorted_settings(settings: Mapping[str, Any], space: Space) -> Sorted:
    """``settings`` with text turned into values. Raises ConfigError for an unknown name, with the nearest one."""
    found = Sorted()
    for name, value in settings.items():
        part = _part(name, found, space)
        part[name] = value_of(value) if isinstance(value, str) and name != "hidden" else value
    return found


def _part(name: str, found: Sorted, space: Space) -> dict[str, Any]:
    for names, part in ((space, found.hyperparams), (LOOP, found.loop), (CHANGEABLE, found.build)):
        if name in names:
            return part
    hint = nearest(name, [*space, *LOOP, *CHANGEABLE]) or f" Hyperparameters: {', '.join(space)}."
    raise ConfigError(f"unknown setting {name!r}.{hint}")


def value_of(text: str) -> Any:
    """A whole number, a number, true, false or none as people write them; any other text is itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
