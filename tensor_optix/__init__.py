"""tensor-optix: a training loop that needs no babysitter.

    from tensor_optix import RLOptimizer, TorchPPOAgent, BatchPipeline

We own the loop, you own the model: see ``RLOptimizer``.
"""

from __future__ import annotations

from typing import Any

from tensor_optix._about import VERSION as __version__
from tensor_optix._lazy import PUBLIC_NAMES
from tensor_optix._lazy import load as _load

__all__ = ["__version__", *sorted(PUBLIC_NAMES)]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC_NAMES:
        from tensor_optix.errors import nearest

        raise AttributeError(f"module 'tensor_optix' has no attribute {name!r}.{nearest(name, PUBLIC_NAMES)}")
    value = globals()[name] = _load(name)
    return value


def __dir__() -> list[str]:
    return __all__
