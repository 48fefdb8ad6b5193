"""How does a PyTorch module look as layers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.algorithms.torch_networks import Pixels
from tensor_optix.export.layers import FLATTEN, Activation, Conv, Dense, Layer, LayerNorm, Permute
from tensor_optix.export.recognising import Unsupported, pixels

CHANNELS_LAST, CHANNELS_FIRST = Permute((1, 2, 0)), Permute((2, 0, 1))

_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.Tanh: lambda module: Activation("tanh"),
    nn.ReLU: lambda module: Activation("relu"),
    nn.Sigmoid: lambda module: Activation("sigmoid"),
    nn.ELU: lambda module: Activation("elu", float(module.alpha)),
    nn.LeakyReLU: lambda module: Activation("leaky_relu", float(module.negative_slope)),
    nn.SiLU: lambda module: Activation("silu"),
}


def layers_of(module: Any) -> Iterator[Layer]:
    """The layers of a module in evaluation mode. Raises Unsupported for what has no description."""
    kind = type(module)
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        raise Unsupported(f"{kind.__name__} with a hook")
    if kind is nn.Sequential:
        for part in module:
            yield from layers_of(part)
    elif kind in (nn.Identity, nn.Dropout):
        return
    elif kind in _ACTIVATIONS:
        yield _ACTIVATIONS[kind](module)
    elif kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        yield FLATTEN
    else:
        yield from _weighted(module)


def _weighted(module: Any) -> Iterator[Layer]:
    kind = type(module)
    if kind is nn.Linear:
        yield Dense(_array(module.weight).T.copy(), _bias(module, module.out_features))
    elif kind is nn.LayerNorm and len(module.normalized_shape) == 1 and module.weight is not None:
        yield LayerNorm(_array(module.weight), _bias(module, module.normalized_shape[0]), float(module.eps))
    elif kind is nn.Conv2d and module.groups == 1 and set(module.dilation) == {1} and _pads_with_zeros(module):
        kernel = _array(module.weight).transpose(2, 3, 1, 0).copy()
        yield CHANNELS_LAST
        yield Conv(kernel, _bias(module, module.out_channels), tuple(module.stride), tuple(module.padding))
        yield CHANNELS_FIRST
    elif kind is Pixels:
        yield from pixels(module._axes)
        yield CHANNELS_FIRST
    else:
        raise Unsupported(repr(module).partition("\n")[0])


def _pads_with_zeros(module: nn.Conv2d) -> bool:
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _bias(module: Any, size: int) -> np.ndarray:
    return np.zeros(size, np.float32) if module.bias is None else _array(module.bias)


def _array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().to("cpu", torch.float32).numpy().copy()
