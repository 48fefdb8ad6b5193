"""What does a learner need to know of a PyTorch module: its tensors, its device and type, its mode."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tensor_optix.backends.base import NetworkState, summary
from tensor_optix.errors import ConfigError

TRAINABLE_DTYPES = (torch.float32, torch.float64)


class ScalarParameter(nn.Module):
    """A network that is one number: called with anything, it gives its value (SAC's log α)."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(float(value)))

    def forward(self, x: Any = None) -> Tensor:
        return self.value


def chosen_device(name: str) -> torch.device:
    """The device called ``name``; "auto" is CUDA where there is one, else the CPU.

    Raises ConfigError for one that is not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device must be 'auto' or one that PyTorch knows ('cpu', 'cuda'), got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {name!r}, but PyTorch finds no CUDA device here: give device='auto' or 'cpu'")
    return device


def move_networks(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    """Put all of them on ``device``. Raises ConfigError for what is no module, or has no data to move."""
    for name, module in networks.items():
        if not isinstance(module, nn.Module):
            raise ConfigError(f"{name} must be a torch.nn.Module, got {module!r}")
    if any(tensor.is_meta for module in networks.values() for tensor in named_tensors(module).values()):
        raise ConfigError(
            f"networks with parameters on meta cannot be moved to {device} ({_parameters_by(networks, 'device')}): "
            "give those their weights first (module.to_empty, then load_state_dict)"
        )
    for module in networks.values():
        module.to(device)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, themselves."""
    return {key: node for key, node in module.state_dict(keep_vars=True).items() if isinstance(node, Tensor)}


def parameters_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """All parameters, each once: a trunk may be shared."""
    return list(dict.fromkeys(parameter for module in modules for parameter in module.parameters()))


def network_state(networks: Mapping[str, nn.Module]) -> NetworkState:
    """Copies of all parameters and persistent buffers."""
    return {
        name: {key: array(tensor) for key, tensor in named_tensors(module).items()}
        for name, module in networks.items()
    }


def array(tensor: Tensor) -> np.ndarray:
    """A copy on the host, in float32 where NumPy lacks the type."""
    host = tensor.detach().cpu()
    copied: np.ndarray = (host.float() if host.dtype == torch.bfloat16 else host).numpy().copy()
    return copied


@contextmanager
def evaluation_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Evaluation mode inside; afterwards every submodule has the flag that the user gave it."""
    roots = list(modules)
    training = [module for root in roots for module in root.modules() if module.training]
    if training:
        for root in roots:
            root.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def require_device(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    """Raise ConfigError unless every tensor lies on ``device``."""
    for module in networks.values():
        for tensor in named_tensors(module).values():
            if tensor.device.type != device.type or device.index not in (None, tensor.device.index):
                raise ConfigError(
                    f"all networks must be on {device} ({_parameters_by(networks, 'device')}): "
                    f"move them with module.to({str(device)!r})"
                )


def common_dtype(networks: Mapping[str, nn.Module]) -> torch.dtype:
    """What the networks compute in. Raises ConfigError unless it is one of ``TRAINABLE_DTYPES``."""
    parameters = parameters_of(networks.values())
    dtypes = {p.dtype for p in parameters if p.is_floating_point() or p.is_complex()} or {torch.float32}
    if len(dtypes) > 1 or not dtypes <= set(TRAINABLE_DTYPES):
        raise ConfigError(
            f"the networks must be all in float32 or all in float64 ({_parameters_by(networks, 'dtype')}): "
            "convert them with module.float()"
        )
    return dtypes.pop()


def refuse_recurrent(name: str, module: nn.Module) -> None:
    """Raise ConfigError where ``module`` holds a recurrent layer."""
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
            raise ConfigError(
                f"{name} contains a recurrent layer ({type(layer).__name__}); built-in agents are feed-forward: "
                f"stack past observations instead, or write an agent of your own"
            )


def _parameters_by(networks: Mapping[str, nn.Module], attribute: str) -> str:
    """The parameters and buffers on each device, or of each type: ``"cpu: actor.weight; meta: critic.weight"``."""
    names: dict[str, list[str]] = {}
    for network, module in networks.items():
        for key, tensor in named_tensors(module).items():
            names.setdefault(str(getattr(tensor, attribute)), []).append(f"{network}.{key}")
    return "; ".join(f"{where}: {summary(found).replace(';', ',')}" for where, found in names.items())


def target_of(module: nn.Module) -> nn.Module:
    """A copy that nobody trains: it follows ``module`` as the target of an update, and computes as when evaluated."""
    target: nn.Module = copy.deepcopy(module)
    return target.requires_grad_(False).eval()
