"""PyTorch: networks are modules, trained with the user's own optimizer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tensor_optix.backends.base import (
    EpochStop,
    Estimate,
    InOrder,
    Learner,
    NetworkState,
    Step,
    Update,
    require_alike,
    summary,
)
from tensor_optix.backends.numpy_backend import HostMLP
from tensor_optix.backends.torch_host import HostStack
from tensor_optix.backends.torch_modules import (
    array,
    common_dtype,
    evaluation_mode,
    named_tensors,
    network_state,
    parameters_of,
    refuse_recurrent,
    require_device,
)
from tensor_optix.backends.torch_steps import require_optimizer
from tensor_optix.backends.torch_updates import Metrics, Roles, Updates
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

    def argmax_last(self, x: Any) -> Any:
        return torch.argmax(x, -1)

    def squeeze_last(self, x: Any) -> Any:
        return x.squeeze(-1)

    def concat_last(self, parts: Sequence[Any]) -> Any:
        return torch.cat(tuple(parts), -1)

    def flat_rows(self, x: Any) -> Any:
        return x.flatten(1)

    def stop_gradient(self, x: Any) -> Any:
        return x.detach()


OPS = TorchOps()

logger = logging.getLogger(__name__)

_SHAPED_LIKE_THE_PARAMETER = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "sum")


class TorchLearner(Learner):
    """Trains modules. An exact Adam or AdamW on the CPU is stepped on flat buffers, any other optimizer as it is.

    networks: modules by name, on ``device`` already (a trunk may be shared between them); all in float32 or all in
    float64. A target network is a copy with ``requires_grad_(False)``. compile: updates on flat buffers become one
    compiled program each (see ``torch_compile.py``).
    Raises ConfigError for what is no optimizer, for a recurrent network, for parameters on another device or of other
    types, and where a network has parameters to train of which no optimizer holds any.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        device: torch.device | str = "cpu",
        *,
        compile: bool = False,
    ) -> None:
        self._is_compiled = compile
        self.networks = dict(networks)
        self.optimizers = dict(optimizers)
        self.device = torch.device(device)
        self._hosts: dict[str, HostStack] = {}
        self._skipped_in_a_row = 0
        self._roles: Roles | None = None
        for name, optimizer in self.optimizers.items():
            require_optimizer(name, optimizer)
        require_device(self.networks, self.device)
        self._dtype = common_dtype(self.networks)
        self._require_trained()
        first = self.learning_rate
        self._rate_ratios = [float(group["lr"]) / first if first else 1.0 for group in self._groups]
        self._rates_left = self._rates
        self._has_refused_rate = False

    def _require_trained(self) -> None:
        trained = {parameter for group in self._groups for parameter in group["params"]}
        for name, module in self.networks.items():
            refuse_recurrent(name, module)
            own = [parameter for parameter in module.parameters() if parameter.requires_grad]
            if own and trained.isdisjoint(own):
                raise ConfigError(
                    f"the optimizer holds no parameter of {name}, which would never learn: "
                    f"construct it with list({name}.parameters()) among its parameters"
                )

    @property
    def _groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        return [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]

    # -- forward ------------------------------------------------------------------------------------------------

    def forward(self, name: str, inputs: np.ndarray) -> np.ndarray:
        module = self.networks[name]
        with evaluation_mode([module]), torch.no_grad():
            outputs: np.ndarray = module(self._tensor(inputs)).cpu().numpy()
        return outputs

    def acting_forward(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """On the host for a plain dense stack, seeing every update in place; else ``forward``."""
        known = self._hosts.get(name)
        if known is not None and known.fits():
            return known.host
        stack = HostStack.of(self.networks[name])
        if stack is None or not self._agrees(name, stack.host):
            return partial(self.forward, name)
        self._hosts[name] = stack
        return stack.host

    def _agrees(self, name: str, host: HostMLP) -> bool:
        n_inputs = host.layers[0].weight.shape[0]
        x = np.random.default_rng(0).standard_normal((3, n_inputs), dtype=np.float32)
        return np.allclose(host(x), self.forward(name, x), rtol=1e-4, atol=1e-5)

    def evaluate(self, estimate: Estimate, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with evaluation_mode(self.networks.values()), torch.no_grad():
            outputs = estimate(OPS, self.networks, self._tensors(data))
        return {name: column.cpu().numpy() for name, column in outputs.items()}

    # -- training -----------------------------------------------------------------------------------------------

    def run(
        self,
        update: Update,
        data: Mapping[str, np.ndarray],
        rows: np.ndarray | InOrder,
        scalars: Mapping[str, float | np.ndarray],
        *,
        max_grad_norm: float,
        rng: np.random.Generator,
        stop: EpochStop | None = None,
    ) -> dict[str, float]:
        self._roles = Roles.fitting(
            self._roles, update, self.networks, self.optimizers, OPS, is_compiled=self._is_compiled
        )
        updates = Updates(self._roles, self.networks, OPS, skipped_before=self._skipped_in_a_row)
        n_epochs, n_minibatches, _ = rows.shape
        means: dict[str, float] = {}
        with self._module_randomness(int(rng.integers(2**63))), evaluation_mode(self._roles.to_evaluate):
            try:
                for number, epoch in enumerate(self._epochs(data, rows)):
                    batches = zip(epoch, _scalars_by_update(scalars, number, n_minibatches), strict=True)
                    attempts = [updates.attempt(batch, values, max_grad_norm) for batch, values in batches]
                    made = [metrics for metrics in attempts if metrics]
                    if stop is None and number < n_epochs - 1:
                        continue  # nobody asks how this epoch went
                    means = _means(made)
                    if stop is not None and means.get(stop.metric, 0.0) > stop.limit:
                        break
            finally:
                updates.finish()
                self._skipped_in_a_row = updates.skipped_in_a_row
        return {**means, "n_updates": updates.n_made, "skipped_updates": updates.n_skipped}

    def loss_and_gradients(
        self, step: Step, data: Mapping[str, np.ndarray], scalars: Mapping[str, float]
    ) -> tuple[float, NetworkState]:
        named = [
            (name, key, parameter)
            for name in step.trains
            for key, parameter in self.networks[name].named_parameters()
            if parameter.requires_grad
        ]
        value, _ = step.loss(OPS, self.networks, self._tensors(data), scalars)
        found = torch.autograd.grad(value, [p for *_, p in named], allow_unused=True)
        gradients: NetworkState = {name: {} for name in step.trains}
        for (name, key, parameter), gradient in zip(named, found, strict=True):
            gradients[name][key] = array(torch.zeros_like(parameter) if gradient is None else gradient)
        return float(value.detach()), gradients

    @property
    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self._groups]

    @property
    def scheduled(self) -> tuple[str, ...]:
        """A scheduler marks the groups of its optimizer; ReduceLROnPlateau does not, but it changes what we left."""
        is_marked = any("initial_lr" in group for group in self._groups)
        return ("learning_rate",) if is_marked or self._rates != self._rates_left else ()

    @property
    def keeps_schedules(self) -> bool:
        """A scheduler is an object of the user's that steps the optimizer's rate from outside."""
        return not self.scheduled

    @property
    def learning_rate(self) -> float:
        return float(self._groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        """What a scheduler of the user's decides stays as it is; that is said once."""
        if self.scheduled:
            if not self._has_refused_rate:
                self._has_refused_rate = True
                logger.warning(
                    "the optimizer follows a learning rate schedule of its own: learning_rate = %g is not applied to "
                    "it (leave the scheduler out to have the learning rate set and tuned)", value,
                )  # fmt: skip
            return
        for group, ratio in zip(self._groups, self._rate_ratios, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value * ratio)
            else:
                group["lr"] = value * ratio
        self._rates_left = self._rates

    # -- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        optimizers = {
            name: {"type": type(optimizer).__name__, "moments": self._moments(name)}
            for name, optimizer in self.optimizers.items()
        }
        return {
            "networks": network_state(self.networks),
            "optimizers": optimizers,
            "skipped_in_a_row": self._skipped_in_a_row,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, source: str = "the given state") -> None:
        require_alike(network_state(self.networks), state["networks"], source)
        moments = self._checked_optimizers(state["optimizers"], source) if "optimizers" in state else {}
        with torch.no_grad():
            for name, module in self.networks.items():
                for key, tensor in named_tensors(module).items():
                    tensor.copy_(torch.tensor(state["networks"][name][key]))
        for name, by_index in moments.items():
            groups = self.optimizers[name].state_dict()["param_groups"]
            self.optimizers[name].load_state_dict({"state": by_index, "param_groups": groups})
        self._skipped_in_a_row = int(state.get("skipped_in_a_row", self._skipped_in_a_row))

    def perturb(self, noise_scale: float, rng: np.random.Generator) -> None:
        trained = {parameter for group in self._groups for parameter in group["params"]}
        with torch.no_grad():
            for parameter in parameters_of(self.networks.values()):
                if parameter in trained and parameter.requires_grad:
                    factor = 1.0 + noise_scale * rng.standard_normal(tuple(parameter.shape))
                    parameter.mul_(torch.as_tensor(factor, dtype=parameter.dtype, device=parameter.device))

    def release(self) -> None:
        """From CUDA everything moves to the CPU, where it still works."""
        self._hosts.clear()
        self._roles = None
        if self.device.type != "cuda":
            return
        self.device = torch.device("cpu")
        for module in self.networks.values():
            module.to(self.device)
        for optimizer in self.optimizers.values():
            for state in optimizer.state.values():
                state.update({key: x.cpu() for key, x in state.items() if isinstance(x, Tensor)})
        torch.cuda.empty_cache()

    def _moments(self, name: str) -> dict[str, Any]:
        """The state of each parameter in one optimizer, by the parameter's name."""
        state = self.optimizers[name].state
        return {key: _to_tree(state[p]) for key, p in self._named_optimized(name) if p in state}

    def _named_optimized(self, name: str) -> list[tuple[str, nn.Parameter]]:
        """An optimizer's parameters in its own order, each under the first name that it has in a network."""
        names: dict[nn.Parameter, str] = {}
        for network, module in self.networks.items():
            for key, parameter in module.named_parameters():
                names.setdefault(parameter, f"{network}.{key}")
        optimized = [p for group in self.optimizers[name].param_groups for p in group["params"]]
        return [(names.get(p, f"{name}.{index}"), p) for index, p in enumerate(optimized)]

    def _checked_optimizers(self, state: Mapping[str, Any], source: str) -> dict[str, dict[int, Any]]:
        """Moments by optimizer, and by its own numbering."""
        if set(state) != set(self.optimizers):
            there, here = ", ".join(sorted(state)), ", ".join(sorted(self.optimizers))
            raise ArchitectureMismatch(source, f"moments of the optimizers {there}, but here are {here}")
        return {name: self._checked_moments(name, state[name], source) for name in self.optimizers}

    def _checked_moments(self, name: str, state: Mapping[str, Any], source: str) -> dict[int, Any]:
        here = type(self.optimizers[name]).__name__
        if state["type"] != here:
            raise ArchitectureMismatch(source, f"{name} holds moments of {state['type']}, but here is {here}")
        named = self._named_optimized(name)
        moments = state["moments"]
        unknown = [f"{key} is not optimized here" for key in moments if key not in dict(named)]
        wrong = [
            f"{kind} of {key} is {np.shape(moment)} there and {tuple(parameter.shape)} here"
            for key, parameter in named
            for kind, moment in moments.get(key, {}).items()
            if kind in _SHAPED_LIKE_THE_PARAMETER and np.shape(moment) != tuple(parameter.shape)
        ]
        if unknown or wrong:
            raise ArchitectureMismatch(source, f"moments of other networks: {summary([*unknown, *wrong])}")
        return {index: _from_tree(moments[key]) for index, (key, _) in enumerate(named) if key in moments}

    # -- data and randomness ------------------------------------------------------------------------------------

    def _epochs(self, data: Mapping[str, np.ndarray], rows: np.ndarray | InOrder) -> Iterator[_Minibatches]:
        """The minibatches of each epoch; one gather for all of them, because each of its own costs as much again."""
        if isinstance(rows, InOrder):
            yield _unbound(self._tensors(rows.batches(data)))
            return
        tensors = self._tensors(data)
        for epoch in rows:
            index = torch.from_numpy(epoch).to(self.device)
            yield _unbound({name: column[index] for name, column in tensors.items()})

    def _tensors(self, data: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: self._tensor(column) for name, column in data.items()}

    def _tensor(self, array: np.ndarray) -> Tensor:
        shared = torch.from_numpy(array) if array.flags.writeable else torch.tensor(array)
        return shared.to(self.device, self._dtype if shared.is_floating_point() else None)

    @contextmanager
    def _module_randomness(self, seed: int) -> Iterator[None]:
        """What modules draw comes from ``seed``, and the user's generators go on as if nothing had been drawn."""
        before = torch.default_generator.get_state()
        on_cuda = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device]) if on_cuda else nullcontext():
            torch.default_generator.manual_seed(seed)
            if on_cuda:
                with torch.cuda.device(self.device):
                    torch.cuda.manual_seed(seed)
            try:
                yield
            finally:
                torch.default_generator.set_state(before)


_Minibatches = Iterator[dict[str, Tensor]]


def _unbound(data: Mapping[str, Tensor]) -> _Minibatches:
    """Columns [M, B, ...] as M batches."""
    for columns in zip(*(column.unbind() for column in data.values()), strict=True):
        yield dict(zip(data, columns, strict=True))


def _scalars_by_update(
    scalars: Mapping[str, float | np.ndarray], epoch: int, n_minibatches: int
) -> Iterator[dict[str, float]]:
    """The scalars of each update of an epoch, where some are arrays [E, M]."""
    columns = {
        name: value[epoch].tolist() if isinstance(value, np.ndarray) and value.ndim == 2 else float(value)
        for name, value in scalars.items()
    }
    for index in range(n_minibatches):
        yield {name: column[index] if isinstance(column, list) else column for name, column in columns.items()}


def _means(updates: Sequence[Metrics]) -> dict[str, float]:
    """The mean of each metric over updates."""
    names = updates[0] if updates else ()
    return {name: sum(float(metrics[name]) for metrics in updates) / len(updates) for name in names}


def _to_tree(node: Any) -> Any:
    """An optimizer's state of one parameter as arrays and JSON values."""
    if isinstance(node, Tensor):
        return array(node)
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
