"""Which framework computes, and on which device?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from tensor_optix._about import install_hint
from tensor_optix.errors import MissingDependency
from tensor_optix.quick.defaults import Choice, require_known

LIBRARIES = {"torch": ("torch",), "jax": ("jax", "flax", "optax"), "tf": ("tensorflow",)}
"""What each backend needs, in the order of preference."""
TENSORFLOW_STOPS_BEFORE = (3, 14)
"""The first Python that no released TensorFlow is built for."""
NAMES = {"torch": "PyTorch", "jax": "JAX", "tf": "TensorFlow"}
ALIASES = {"pytorch": "torch", "flax": "jax", "tensorflow": "tf"}


def choose_backend(wanted: str) -> Choice:
    """``wanted``, or the first one that is installed. Raises MissingDependency with the line that installs it."""
    wanted = ALIASES.get(wanted, wanted)
    require_known("backend", wanted, ("auto", *LIBRARIES))
    if wanted == "auto":
        installed = installed_backends()
        if not installed:
            raise MissingDependency(f"none of PyTorch, JAX and TensorFlow is installed: {install_hint('torch')}")
        return Choice(installed[0], f"first of {', '.join(LIBRARIES)} that is installed")
    if not is_installed(wanted):
        found = ", ".join(installed_backends()) or "none"
        if wanted == "tf" and sys.version_info >= TENSORFLOW_STOPS_BEFORE:
            version = ".".join(map(str, sys.version_info[:2]))
            raise MissingDependency(f"TensorFlow has no build for Python {version} yet; use torch or jax "
                                    f"(found here: {found})")  # fmt: skip
        raise MissingDependency(
            f"the backend {wanted!r} needs {NAMES[wanted]}, which is not installed: {install_hint(wanted)} "
            f"(found here: {found})"
        )
    return Choice(wanted, "asked for")


def installed_backends() -> list[str]:
    """Those whose libraries are all there, preferred ones first; nothing is imported."""
    return [name for name in LIBRARIES if is_installed(name)]


@cache
def is_installed(backend: str) -> bool:
    """True where every library of ``backend`` can be found."""
    return all(find_spec(library) is not None for library in LIBRARIES[backend])


def networks_module(backend: str) -> ModuleType:
    """The module that makes networks and agents with ``backend``."""
    return _MODULES[backend]()


def preferred_device(*, is_image: bool) -> Choice:
    """Small dense networks are fastest where no transfer is needed; "auto" is an accelerator where there is one."""
    if is_image:
        return Choice("auto", "an accelerator where there is one: convolutions over images")
    return Choice("cpu", "small dense networks are fastest there")


def accelerators() -> list[str]:
    """What the installed frameworks can compute on besides the CPU; imports them."""
    return [f"{name} ({backend})" for backend in installed_backends()
            for name in networks_module(backend).accelerators()]  # fmt: skip


def _torch() -> ModuleType:
    from tensor_optix.algorithms import torch_networks

    return torch_networks


def _jax() -> ModuleType:
    from tensor_optix.algorithms import flax_networks

    return flax_networks


def _tf() -> ModuleType:
    from tensor_optix.algorithms import tf_networks

    return tf_networks


_MODULES: dict[str, Callable[[], ModuleType]] = {"torch": _torch, "jax": _jax, "tf": _tf}
