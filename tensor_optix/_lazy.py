"""The public names of ``__init__.pyi``: each is imported from its module when it is first asked for.

``import tensor_optix`` therefore loads no framework, and every name can be imported without its framework; what
needs a missing one says so, with the line that installs it, when it is used.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from typing import Any

from tensor_optix._about import install_hint
from tensor_optix.errors import MissingDependency


def names_in(stub: str) -> dict[str, str]:
    """Name -> module, of all that a stub file imports."""
    imports = [statement for statement in ast.parse(stub).body if isinstance(statement, ast.ImportFrom)]
    return {alias.name: str(statement.module) for statement in imports for alias in statement.names}


STUB = (pkgutil.get_data("tensor_optix", "__init__.pyi") or b"").decode()
PUBLIC_NAMES = names_in(STUB)

_EXTRA_OF = {
    "torch": "torch", "tensorflow": "tf", "jax": "jax", "flax": "jax", "optax": "jax", "matplotlib": "report",
    "websockets": "live", "optuna": "search", "onnx": "onnx", "tensorboardX": "tensorboard", "wandb": "wandb",
    "mlflow": "mlflow", "PIL": "video",
}  # fmt: skip


def load(name: str) -> Any:
    """The object behind a public name; without its framework, a stand-in that refuses to be used."""
    try:
        return getattr(importlib.import_module(PUBLIC_NAMES[name]), name)
    except MissingDependency as error:
        return _unavailable(name, f"{name}: {error}")


def names_below(package: str) -> list[str]:
    """The public names that live in ``package``."""
    return [name for name, module in PUBLIC_NAMES.items() if module.startswith(f"{package}.")]


def missing(library: str) -> MissingDependency:
    """What to raise when ``library`` cannot be imported."""
    return MissingDependency(
        f"{library} is needed here and is not installed: {install_hint(_EXTRA_OF[library])}", name=library
    )


def _unavailable(name: str, message: str) -> type:
    def refuse(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise MissingDependency(message)

    return type(name, (), {"__new__": refuse, "__doc__": message})
