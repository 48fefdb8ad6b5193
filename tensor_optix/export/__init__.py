"""Policies outside of training: as one file that NumPy can act with, as safetensors and JSON, as ONNX."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import load, names_below


def __getattr__(name: str) -> Any:
    if name not in names_below(__name__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load(name)
