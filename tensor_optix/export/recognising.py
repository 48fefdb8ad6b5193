"""What do the recognisers of PyTorch, Keras and Flax networks share?"""

from __future__ import annotations

from collections.abc import Iterator

from tensor_optix.algorithms.designs import PIXEL_SCALE
from tensor_optix.export.layers import AddAxis, Layer, Permute, Scale


class Unsupported(Exception):
    """Names a part of a network that has no description, in a few words."""


def pixels(axes: str) -> Iterator[Layer]:
    """How built-in networks see images of bytes ("HW", "HWC" or "CHW"): within 0 to 1, as [H, W, C]."""
    yield Scale(PIXEL_SCALE)
    if axes == "HW":
        yield AddAxis()
    elif axes == "CHW":
        yield Permute((1, 2, 0))
