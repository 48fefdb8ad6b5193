"""Where do the weights of Keras models lie, and where is computed with them?

TensorFlow places a weight where it is made. To have another device, the weights move there, and everything that
touches them runs in its scope.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from tensor_optix.backends.tf_import import tf
from tensor_optix.errors import ConfigError

_PLATFORMS = {"cpu": "CPU", "gpu": "GPU", "cuda": "GPU"}


def chosen_device(name: str) -> str | None:
    """TensorFlow's name for "cpu", "cuda" (or "gpu"), "cuda:1", ...; None for "auto", which leaves it to TensorFlow.

    Raises ConfigError for a device that TensorFlow does not have here.
    """
    if name == "auto":
        return None
    platform, _, number = name.partition(":")
    known = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    wanted = f"{_PLATFORMS.get(platform, platform)}:{number or 0}"
    if platform not in _PLATFORMS or wanted not in known:
        raise ConfigError(
            f"device must be 'auto', 'cpu' or 'cuda' and one that TensorFlow has here ({', '.join(known)}), "
            f"got {name!r}"
        )
    return f"/device:{wanted}"


def move(variables: Iterable[Any], device: str | None) -> None:
    """Put the values of ``keras.Variable``s on ``device``; the variables stay the same objects."""
    for variable in variables:
        if device is not None and not variable.value.device.endswith(device):
            with tf.device(device):
                variable._initialize(  # what Keras itself calls; there is no public way to place a value anew
                    tf.Variable(
                        variable.numpy(), dtype=variable.value.dtype, trainable=variable.trainable, name=variable.name
                    )
                )


class Placed(Protocol):
    """Whatever runs on a device of its own."""

    @property
    def device(self) -> str | None: ...


Self = TypeVar("Self", bound=Placed)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_its_device(
    method: Callable[Concatenate[Self, Arguments], Result],
) -> Callable[Concatenate[Self, Arguments], Result]:
    """The method, in the scope of its object's device (entering a scope takes longer than a small network)."""

    @functools.wraps(method)
    def placed(self: Self, /, *arguments: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        if self.device is None:
            return method(self, *arguments, **keywords)
        with tf.device(self.device):
            return method(self, *arguments, **keywords)

    return placed
