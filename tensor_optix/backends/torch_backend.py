"""PyTorch: networks are modules, trained with the user's own optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tensor_optix.backends.base import Estimate, Learner, Loss, NetworkState, differences, summary
from tensor_optix.backends.numpy_backend import HostMLP
from tensor_optix.backends.torch_host import dense_layers, host_mlp
from tensor_optix.backends.torch_updates import Updates
from tensor_optix.errors import ArchitectureMismatch, ConfigError


class TorchOps:
    """``Ops`` in PyTorch."""

    def exp(self, x: Any) -> Any:
        return torch.exp(x)

    def tanh(self, x: Any) -> Any:
        return torch.tanh(x)

    def softplus(self, x: Any) -> Any:
        return nn.functional.softplus(x)

    def abs(self, x: Any) -> Any:
        return torch.abs(x)

    def square(self, x: Any) -> Any:
        return torch.square(x)

    def clip(self, x: Any, low: Any, high: Any) -> Any:
        return torch.clamp(x, low, high)

    def minimum(self, x: Any, y: Any) -> Any:
        return torch.minimum(x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        return torch.maximum(x, y)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return torch.where(condition, x, y)

    def mean(self, x: Any) -> Any:
        return torch.mean(x)

    def sum_last(self, x: Any) -> Any:
        return torch.sum(x, -1)

    def log_softmax(self, x: Any) -> Any:
        return torch.log_softmax(x, -1)

    def take_last(self, x: Any, index: Any) -> Any:
        return x.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def squeeze_last(self, x: Any) -> Any:
        return x.squeeze(-1)

    def concat_last(self, parts: Sequence[Any]) -> Any:
        return torch.cat(tuple(parts), -1)

    def stop_gradient(self, x: Any) -> Any:
        return x.detach()


OPS = TorchOps()

TRAINABLE_DTYPES = (torch.float32, torch.float64)

_SHAPED_LIKE_THE_PARAMETER = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "sum")


def chosen_device(name: str) -> torch.device:
    """The device called ``name``; "auto" is CUDA where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def move_networks(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    """Put all of them on ``device``. Raises ConfigError where a parameter has no data to move."""
    if any(tensor.is_meta for module in networks.values() for tensor in _named_tensors(module).values()):
        raise ConfigError(
            f"networks with parameters on meta cannot be moved to {device} ({_parameters_by(networks, 'device')}): "
            "give those their weights first (module.to_empty, then load_state_dict)"
        )
    for module in networks.values():
        module.to(device)


class TorchLearner(Learner):
    """Trains modules. An exact Adam or AdamW on the CPU is stepped on flat buffers, any other optimizer as it is.

    networks: modules by name, on ``device`` already (a trunk may be shared between them); all in float32 or all in
    float64.
    Raises ConfigError for a recurrent network, for parameters on another device or of other types, and when the
    optimizer holds no parameter of a network that has some to train.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, device: torch.device | str = "cpu"
    ) -> None:
        self.networks = dict(networks)
        self.optimizer = optimizer
        self.device = torch.device(device)
        self._hosts: dict[str, tuple[tuple[int, ...], HostMLP]] = {}
        self._skipped_in_a_row = 0
        _require_device(self.networks, self.device)
        self._dtype = _common_dtype(self.networks)
        trained = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        for name, module in self.networks.items():
            _refuse_recurrent(name, module)
            own = [parameter for parameter in module.parameters() if parameter.requires_grad]
            if own and trained.isdisjoint(own):
                raise ConfigError(
                    f"the optimizer holds no parameter of {name}, which would never learn: "
                    f"construct it with list({name}.parameters()) among its parameters"
                )
        first = self.learning_rate
        self._rate_ratios = [float(group["lr"]) / first if first else 1.0 for group in optimizer.param_groups]

    # -- forward ------------------------------------------------------------------------------------------------

    def forward(self, name: str, inputs: np.ndarray) -> np.ndarray:
        module = self.networks[name]
        with _evaluation_mode([module]), torch.no_grad():
            outputs: np.ndarray = module(self._tensor(inputs)).cpu().numpy()
        return outputs

    def acting_forward(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """On the host for a plain dense stack, seeing every update in place; else ``forward``."""
        module = self.networks[name]
        layers = dense_layers(module)
        if layers is None:
            return partial(self.forward, name)
        pointers = tuple(parameter.data_ptr() for parameter in module.parameters())
        known, host = self._hosts.get(name, ((), None))
        if host is None or known != pointers:
            host = host_mlp(layers)
            if not self._agrees(name, host):
                return partial(self.forward, name)
            self._hosts[name] = (pointers, host)
        return host

    def _agrees(self, name: str, host: HostMLP) -> bool:
        n_inputs = host.layers[0].weight.shape[0]
        x = np.random.default_rng(0).standard_normal((3, n_inputs), dtype=np.float32)
        return np.allclose(host(x), self.forward(name, x), rtol=1e-4, atol=1e-5)

    def evaluate(self, estimate: Estimate, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with _evaluation_mode(self.networks.values()), torch.no_grad():
            outputs = estimate(OPS, self.networks, self._tensors(data))
        return {name: column.cpu().numpy() for name, column in outputs.items()}

    # -- training -----------------------------------------------------------------------------------------------

    def run(
        self,
        loss: Loss,
        data: Mapping[str, np.ndarray],
        rows: np.ndarray,
        scalars: Mapping[str, float],
        *,
        max_grad_norm: float,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        n_epochs, n_minibatches, _ = rows.shape
        first_of_last_epoch = (n_epochs - 1) * n_minibatches
        last_epoch: list[dict[str, Any]] = []
        updates = Updates(self.optimizer, self.networks.values(), skipped_before=self._skipped_in_a_row)
        with self._module_randomness(int(rng.integers(2**63))):
            try:
                for number, batch in enumerate(_minibatches(self._tensors(data), torch.from_numpy(rows))):
                    metrics = updates.attempt(partial(loss, OPS, self.networks, batch, scalars), max_grad_norm)
                    if metrics and number >= first_of_last_epoch:
                        last_epoch.append(metrics)
            finally:
                updates.finish()
                self._skipped_in_a_row = updates.skipped_in_a_row
        names = last_epoch[0] if last_epoch else {}
        means = {name: float(torch.stack([metrics[name] for metrics in last_epoch]).mean()) for name in names}
        return {**means, "n_updates": updates.n_made, "skipped_updates": updates.n_skipped}

    def loss_and_gradients(
        self, loss: Loss, data: Mapping[str, np.ndarray], scalars: Mapping[str, float]
    ) -> tuple[float, NetworkState]:
        named = [(name, key, p) for name, module in self.networks.items() for key, p in module.named_parameters()]
        value, _ = loss(OPS, self.networks, self._tensors(data), scalars)
        found = torch.autograd.grad(value, [p for *_, p in named], allow_unused=True)
        gradients: NetworkState = {name: {} for name in self.networks}
        for (name, key, parameter), gradient in zip(named, found, strict=True):
            gradients[name][key] = _array(torch.zeros_like(parameter) if gradient is None else gradient)
        return float(value.detach()), gradients

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        for group, ratio in zip(self.optimizer.param_groups, self._rate_ratios, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value * ratio)
            else:
                group["lr"] = value * ratio

    # -- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        moments = {
            name: _to_tree(self.optimizer.state[parameter])
            for name, parameter in self._named_optimized()
            if parameter in self.optimizer.state
        }
        optimizer = {
            "type": self._optimizer_type, "moments": moments, "skipped_in_a_row": self._skipped_in_a_row,
        }  # fmt: skip
        return {"networks": self._network_state(), "optimizer": optimizer}

    def load_state_dict(self, state: Mapping[str, Any], *, source: str = "the given state") -> None:
        if wrong := differences(self._network_state(), state["networks"]):
            raise ArchitectureMismatch(source, f"weights of other networks: {summary(wrong)}")
        moments = self._checked_moments(state["optimizer"], source) if "optimizer" in state else None
        with torch.no_grad():
            for name, module in self.networks.items():
                for key, tensor in _named_tensors(module).items():
                    tensor.copy_(torch.tensor(state["networks"][name][key]))
        if moments is not None:
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
            self._skipped_in_a_row = int(state["optimizer"].get("skipped_in_a_row", 0))

    def perturb(self, noise_scale: float, rng: np.random.Generator) -> None:
        unique = dict.fromkeys(p for module in self.networks.values() for p in module.parameters())
        with torch.no_grad():
            for parameter in unique:
                factor = 1.0 + noise_scale * rng.standard_normal(tuple(parameter.shape))
                parameter.mul_(torch.as_tensor(factor, dtype=parameter.dtype, device=parameter.device))

    def release(self) -> None:
        self._hosts.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _optimizer_type(self) -> str:
        return type(self.optimizer).__name__

    def _network_state(self) -> NetworkState:
        return {
            name: {key: _array(tensor) for key, tensor in _named_tensors(module).items()}
            for name, module in self.networks.items()
        }

    def _named_optimized(self) -> list[tuple[str, nn.Parameter]]:
        """The optimizer's parameters in its own order, each under the first name that it has in a network."""
        names: dict[nn.Parameter, str] = {}
        for network, module in self.networks.items():
            for key, parameter in module.named_parameters():
                names.setdefault(parameter, f"{network}.{key}")
        optimized = [p for group in self.optimizer.param_groups for p in group["params"]]
        return [(names.get(p, f"optimizer.{index}"), p) for index, p in enumerate(optimized)]

    def _checked_moments(self, state: Mapping[str, Any], source: str) -> dict[int, Any]:
        """Moments by the optimizer's own numbering."""
        if state["type"] != self._optimizer_type:
            raise ArchitectureMismatch(source, f"moments of {state['type']}, but here is {self._optimizer_type}")
        named = self._named_optimized()
        moments = state["moments"]
        unknown = [f"{name} is not optimized here" for name in moments if name not in dict(named)]
        wrong = [
            f"{kind} of {name} is {np.shape(moment)} there and {tuple(parameter.shape)} here"
            for name, parameter in named
            for kind, moment in moments.get(name, {}).items()
            if kind in _SHAPED_LIKE_THE_PARAMETER and np.shape(moment) != tuple(parameter.shape)
        ]
        if unknown or wrong:
            raise ArchitectureMismatch(source, f"moments of other networks: {summary([*unknown, *wrong])}")
        return {index: _from_tree(moments[name]) for index, (name, _) in enumerate(named) if name in moments}

    # -- data and randomness ------------------------------------------------------------------------------------

    def _tensors(self, data: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: self._tensor(column) for name, column in data.items()}

    def _tensor(self, array: np.ndarray) -> Tensor:
        shared = torch.from_numpy(array) if array.flags.writeable else torch.tensor(array)
        return shared.to(self.device, self._dtype if shared.is_floating_point() else None)

    @contextmanager
    def _module_randomness(self, seed: int) -> Iterator[None]:
        """What modules draw comes from ``seed``, and the user's generators go on as if nothing had been drawn."""
        on_cuda = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if on_cuda else []):
            torch.default_generator.manual_seed(seed)
            if on_cuda:
                with torch.cuda.device(self.device):
                    torch.cuda.manual_seed(seed)
            yield


def _minibatches(data: Mapping[str, Tensor], rows: Tensor) -> Iterator[dict[str, Tensor]]:
    """The batch of each update in order; one gather an epoch, because indexing each minibatch costs as much again."""
    for epoch in rows:
        gathered = [
            column[epoch.reshape(-1).to(column.device)].reshape(*epoch.shape, *column.shape[1:]).unbind()
            for column in data.values()
        ]
        for columns in zip(*gathered, strict=True):
            yield dict(zip(data, columns, strict=True))


@contextmanager
def _evaluation_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
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


def _require_device(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    for module in networks.values():
        for tensor in _named_tensors(module).values():
            if tensor.device.type != device.type or device.index not in (None, tensor.device.index):
                raise ConfigError(
                    f"all networks must be on {device} ({_parameters_by(networks, 'device')}): "
                    f"move them with module.to({str(device)!r})"
                )


def _common_dtype(networks: Mapping[str, nn.Module]) -> torch.dtype:
    """What the networks compute in. Raises ConfigError unless it is one of ``TRAINABLE_DTYPES``."""
    parameters = [parameter for module in networks.values() for parameter in module.parameters()]
    dtypes = {p.dtype for p in parameters if p.is_floating_point() or p.is_complex()} or {torch.float32}
    if len(dtypes) > 1 or not dtypes <= set(TRAINABLE_DTYPES):
        raise ConfigError(
            f"the networks must be all in float32 or all in float64 ({_parameters_by(networks, 'dtype')}): "
            "convert them with module.float()"
        )
    return dtypes.pop()


def _parameters_by(networks: Mapping[str, nn.Module], attribute: str) -> str:
    """The parameters and buffers on each device, or of each type: ``"cpu: actor.weight; meta: critic.weight"``."""
    names: dict[str, list[str]] = {}
    for network, module in networks.items():
        for key, tensor in _named_tensors(module).items():
            names.setdefault(str(getattr(tensor, attribute)), []).append(f"{network}.{key}")
    return "; ".join(f"{where}: {summary(found).replace(';', ',')}" for where, found in names.items())


def _refuse_recurrent(name: str, module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
            raise ConfigError(
                f"{name} contains a recurrent layer ({type(layer).__name__}); built-in agents are feed-forward: "
                f"stack past observations instead, or write an agent of your own"
            )


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, themselves."""
    return {key: node for key, node in module.state_dict(keep_vars=True).items() if isinstance(node, Tensor)}


def _array(tensor: Tensor) -> np.ndarray:
    """A copy on the host, in float32 where NumPy lacks the type."""
    host = tensor.detach().cpu()
    array: np.ndarray = (host.float() if host.dtype == torch.bfloat16 else host).numpy().copy()
    return array


def _to_tree(node: Any) -> Any:
    """An optimizer's state of one parameter as arrays and JSON values."""
    if isinstance(node, Tensor):
        return _array(node)
    if isinstance(node, dict):
        return {key: _to_tree(child) for key, child in node.items()}
    if isinstance(node, list | tuple):
        return [_to_tree(child) for child in node]
    return node


def _from_tree(node: Any) -> Any:
    if isinstance(node, np.ndarray):
        return torch.tensor(node)
    if isinstance(node, dict):
        return {key: _from_tree(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_from_tree(child) for child in node]
    return node
