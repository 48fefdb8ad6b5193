"""Networks and agents that fit an environment, for users who bring none (PyTorch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from tensor_optix._lazy import missing

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise missing("torch") from error

from tensor_optix.algorithms.designs import PIXEL_SCALE, AgentDesign, Conv, Dense, ImageLayout, NetworkDesign
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.algorithms.torch_dqn import TorchDQNAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.algorithms.torch_ppo_continuous import TorchGaussianPPOAgent
from tensor_optix.algorithms.torch_sac import TorchSACAgent

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)
PPO_ADAM_EPSILON = 1e-5  # Huang et al. 2022, "The 37 implementation details of PPO", detail 3


def agent_of(design: AgentDesign) -> NetworkAgent:
    """The agent, with networks and optimizers of its own."""
    return {"ppo": _ppo, "gaussian_ppo": _gaussian_ppo, "dqn": _dqn, "sac": _sac}[design.kind](design)


def use_one_thread() -> None:
    """For the whole process: more threads only slow small networks down, and one gives the same bits everywhere."""
    torch.set_num_threads(1)


def accelerators() -> list[str]:
    """What there is besides the CPU, by name."""
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def network(design: NetworkDesign) -> nn.Sequential:
    """The module, with its initial weights."""
    weights = iter(design.weights())
    layers: list[nn.Module] = [] if design.layout is None else [Pixels(design.layout)]
    for conv in design.convs:
        layers += [_conv(conv, next(weights)), nn.ReLU()]
    if design.convs:
        layers.append(nn.Flatten())
    if design.image_shape is not None:
        layers = [ImageAndNumbers(nn.Sequential(*layers), design.image_shape, design.n_beside)]
    for dense in design.denses:
        layers += _dense(dense, next(weights))
    return nn.Sequential(*layers)


class Pixels(nn.Module):
    """Images of bytes, in any layout, as [N, C, H, W] within 0 to 1."""

    def __init__(self, layout: ImageLayout) -> None:
        super().__init__()
        self._axes = layout.axes

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * PIXEL_SCALE
        if self._axes == "HW":
            return scaled[:, None]
        return scaled.permute(0, 3, 1, 2).contiguous() if self._axes == "HWC" else scaled


class ImageAndNumbers(nn.Module):
    """Rows [image ‖ numbers] -> [features of the image ‖ numbers]."""

    def __init__(self, features: nn.Module, image_shape: tuple[int, ...], n_numbers: int) -> None:
        super().__init__()
        self.features, self._shape, self._n = features, image_shape, n_numbers

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.features(x[:, : -self._n].reshape(-1, *self._shape)), x[:, -self._n :]], -1)


def _conv(conv: Conv, weights: np.ndarray) -> nn.Conv2d:
    layer = nn.Conv2d(conv.n_inputs, conv.n_outputs, conv.kernel, conv.stride, device="meta")
    return _filled(layer, weights.transpose(3, 2, 0, 1))


def _dense(dense: Dense, weights: np.ndarray) -> Iterator[nn.Module]:
    yield _filled(nn.Linear(dense.n_inputs, dense.n_outputs, device="meta"), weights.T)
    if dense.has_layer_norm:
        yield nn.LayerNorm(dense.n_outputs)
    if dense.activation is not None:
        yield ACTIVATIONS[dense.activation]()


def _filled(layer: Layer, weights: np.ndarray) -> Layer:
    """A layer that was made on "meta", where nothing is drawn from PyTorch's own random state."""
    filled = layer.to_empty(device="cpu")
    with torch.no_grad():
        filled.weight.copy_(torch.from_numpy(weights.copy()))
        filled.bias.zero_()  # type: ignore[union-attr]
    return filled


def _adam(design: AgentDesign, *modules: nn.Module, **keywords: Any) -> torch.optim.Adam:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return torch.optim.Adam(parameters, lr=design.learning_rate, **keywords)


def _options(design: AgentDesign) -> dict[str, Any]:
    """What every constructor takes alike."""
    return {"device": design.device, "compile": design.compile, **design.normalizers}


def _ppo(design: AgentDesign) -> NetworkAgent:
    actor, critic = network(design.networks["actor"]), network(design.networks["critic"])
    optimizer = _adam(design, actor, critic, eps=PPO_ADAM_EPSILON)
    return TorchPPOAgent(actor, critic, optimizer, design.hyperparams, **_options(design))


def _gaussian_ppo(design: AgentDesign) -> NetworkAgent:
    actor, critic = network(design.networks["actor"]), network(design.networks["critic"])
    optimizer = _adam(design, actor, critic, eps=PPO_ADAM_EPSILON)
    return TorchGaussianPPOAgent(
        actor, critic, optimizer, design.n_actions, design.hyperparams, **_options(design)
    )


def _dqn(design: AgentDesign) -> NetworkAgent:
    q = network(design.networks["q_network"])
    return TorchDQNAgent(q, design.n_actions, _adam(design, q), design.hyperparams, **_options(design))


def _sac(design: AgentDesign) -> NetworkAgent:
    actor, critic1, critic2 = (network(design.networks[name]) for name in ("actor", "critic1", "critic2"))
    return TorchSACAgent(
        actor, critic1, critic2, design.n_actions, _adam(design, actor), _adam(design, critic1, critic2),
        _adam(design, actor), design.hyperparams, **_options(design),
    )  # fmt: skip
