"""Where windows of experience come from."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import load, names_below


def __getattr__(name: str) -> Any:
    if name not in names_below(__name__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load(name)
