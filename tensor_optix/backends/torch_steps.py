"""How a user's PyTorch optimizer makes one step: as it is, or faster on flat buffers with the same result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
import torch.optim.optimizer as torch_optimizer
from torch import Tensor, nn

from tensor_optix.errors import ConfigError

ALIGNMENT = 16
"""Floats of 64 bytes, where PyTorch lets a tensor begin. Sums of matrix products depend on where their operands lie:
parameters that lay elsewhere in a buffer would compute other last bits than before they were bound, or after a resume.
"""


class PlainStep:
    """Any optimizer, as its user would step it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        self._optimizer.zero_grad()

    def clip(self, max_norm: float) -> float:
        """Clip all gradients to ``max_norm``; returns their global norm before."""
        return float(nn.utils.clip_grad_norm_(self._parameters, max_norm))

    def apply(self) -> None:
        self._optimizer.step()

    def finish(self) -> None:
        self._optimizer.zero_grad()


class FlatAdamStep:
    """Adam or AdamW on flat buffers: one kernel for all parameters of a group instead of a dozen for each.

    Bound after the first update, which the optimizer made itself: by then every parameter has moments. Parameters and
    the user's own moments are views of the buffers from then on, from one run to the next, until somebody gives them
    other tensors (``is_intact``). Where the loss does not reach all of them, the plain step goes on; one that only a
    later minibatch does not reach is stepped with a zero gradient.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        members = _by_group_and_step(optimizer)
        sizes = [sum(_slots(parameters)) for _, parameters in members]
        self._optimizer, self._settings = optimizer, _settings(optimizer)
        self._gradient = torch.zeros(sum(sizes), dtype=torch.float32)
        self.segments = [
            FlatSegment(optimizer, group, parameters, gradient)
            for (group, parameters), gradient in zip(members, torch.split(self._gradient, sizes), strict=True)
        ]

    @classmethod
    def bound_to(cls, optimizer: torch.optim.Optimizer) -> FlatAdamStep | None:
        """None where the flat step would not be the optimizer's own step."""
        reached = all("exp_avg" in optimizer.state.get(p, ()) for group in optimizer.param_groups
                      for p in group["params"] if p.requires_grad)  # fmt: skip
        return cls(optimizer) if reached and _is_plain_adam(optimizer) and _fused_adam_works() else None

    def is_intact(self) -> bool:
        """True while optimizer, parameters and moments are what they were left as, but for their values."""
        return (
            not _is_hooked(self._optimizer)
            and _settings(self._optimizer) == self._settings
            and all(segment.is_intact() for segment in self.segments)
        )

    def start(self) -> None:
        """Another run begins: with the learning rates of now."""
        for segment in self.segments:
            segment.start()

    def zero_grad(self) -> None:
        self._gradient.zero_()

    def clip(self, max_norm: float) -> float:
        norm = float(torch.linalg.vector_norm(self._gradient))
        if norm > max_norm:
            self._gradient.mul_(max_norm / (norm + 1e-6))
        return norm

    def apply(self) -> None:
        for segment in self.segments:
            segment.apply()

    def finish(self) -> None:
        for segment in self.segments:
            segment.finish()


OptimizerStep = PlainStep | FlatAdamStep


class FlatSegment:
    """Parameters of one group that have made equally many steps."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, group: dict[str, Any], parameters: list[nn.Parameter], gradient: Tensor
    ) -> None:
        self._optimizer, self._group, self._parameters = optimizer, group, parameters
        self._states = [optimizer.state[p] for p in parameters]
        own = [(p.data, s["exp_avg"], s["exp_avg_sq"]) for p, s in zip(parameters, self._states, strict=True)]
        self.flats = [torch.zeros_like(gradient) for _ in range(3)]
        self._gradient, self._gradients = gradient, _views(gradient, parameters)
        weights, self._means, self._squares = columns = [_views(flat, parameters) for flat in self.flats]
        for views, tensors in zip(columns, zip(*own, strict=True), strict=True):
            torch._foreach_copy_(views, list(tensors))
        self._layout: tuple[Any, ...] | None = None
        self._pointers = [weight.data_ptr() for weight in weights]
        for parameter, state, weight, mean, square in zip(
            parameters, self._states, weights, self._means, self._squares, strict=True
        ):
            parameter.data, state["exp_avg"], state["exp_avg_sq"] = weight, mean, square
        self.step = torch.zeros(())

    def is_intact(self) -> bool:
        state = self._optimizer.state
        return all(
            p.data_ptr() == pointer and own["exp_avg"] is mean and own["exp_avg_sq"] is square and state.get(p) is own
            for p, pointer, own, mean, square in zip(
                self._parameters, self._pointers, self._states, self._means, self._squares, strict=True
            )
        ) and len({own["step"].item() for own in self._states}) == 1

    @property
    def learning_rate(self) -> float:
        return float(self._group["lr"])

    @property
    def settings(self) -> tuple[float, float, float, float, bool]:
        """β₁, β₂, ε, weight decay, and whether that is decoupled."""
        group = self._group
        return (*group["betas"], group["eps"], group["weight_decay"], group["decoupled_weight_decay"])

    def layout(self, networks: Mapping[str, nn.Module]) -> tuple[Any, ...]:
        """((network, key) of every use, shape, floats in the buffer) of each parameter in its order; asked once."""
        if self._layout is None:
            owners: dict[nn.Parameter, list[tuple[str, str]]] = {}
            for name, module in networks.items():
                for key, parameter in module.named_parameters(remove_duplicate=False):
                    owners.setdefault(parameter, []).append((name, key))
            shapes = [tuple(p.shape) for p in self._parameters]
            uses = [tuple(owners[p]) for p in self._parameters]
            self._layout = tuple(zip(uses, shapes, _slots(self._parameters), strict=True))
        return self._layout

    def start(self) -> None:
        self.step.copy_(self._states[0]["step"])
        weight, mean, square = self.flats
        self._update = partial(
            _fused_update(self._group), [weight], [self._gradient], [mean], [square], [], [self.step]
        )
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

    @torch.no_grad()
    def apply(self) -> None:
        self.step += 1
        self._update()

    def finish(self) -> None:
        torch._foreach_copy_([own["step"] for own in self._states], [self.step] * len(self._states))
        for parameter in self._parameters:
            parameter.grad = None


def require_optimizer(name: str, optimizer: Any) -> None:
    """Raise ConfigError unless ``optimizer`` is one, made already, that steps without a closure."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(f"{name} must be a torch.optim.Optimizer over the networks' parameters, got {optimizer!r}")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(f"{name} is LBFGS, which asks for the loss again and again: give one that steps once")


def optimizer_over(
    name: str, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *, is_shared: bool
) -> torch.optim.Optimizer:
    """``optimizer`` itself over other ``parameters``, where a scheduler steps its rate; else a fresh one like it.

    (A scheduler knows no other object than the one that it was made with.) is_shared: others are stepped by it too.
    """
    require_optimizer(name, optimizer)
    if is_shared or not any("initial_lr" in group for group in optimizer.param_groups):
        return optimizer_like(optimizer, parameters)
    del optimizer.param_groups[1:]
    optimizer.param_groups[0]["params"] = parameters
    optimizer.state.clear()
    return optimizer


def optimizer_like(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """A fresh optimizer of the same class and settings over other parameters (without hooks and moments)."""
    settings = {**optimizer.defaults, **optimizer.param_groups[0]}
    signature = inspect.signature(type(optimizer)).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.values())
    known = optimizer.defaults if takes_all else signature  # AdamW keeps defaults that it does not take
    chosen = {name: settings[name] for name in optimizer.defaults if name in known}
    return type(optimizer)(parameters, **chosen)


def _fused_update(group: dict[str, Any]) -> Callable[..., None]:
    """The kernel with the settings of a group: (weights, gradients, means, squares, [], steps)."""
    return partial(
        torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_,
        lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1],
        weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
    )  # fmt: skip


def _slots(parameters: list[nn.Parameter]) -> list[int]:
    """Floats that each takes of a buffer."""
    return [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]


def _views(flat: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    slots = torch.split(flat, _slots(parameters))
    return [slot[: p.numel()].view(p.shape) for slot, p in zip(slots, parameters, strict=True)]


def _by_group_and_step(optimizer: torch.optim.Optimizer) -> list[tuple[dict[str, Any], list[nn.Parameter]]]:
    members = []
    for group in optimizer.param_groups:
        by_step: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            if parameter.requires_grad:
                by_step.setdefault(float(optimizer.state[parameter]["step"]), []).append(parameter)
        members += [(group, parameters) for parameters in by_step.values()]
    return members


def _settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Of every group, but for the learning rate, which may change at any time."""
    return [
        {name: value for name, value in group.items() if name not in ("params", "lr")}
        for group in optimizer.param_groups
    ]


def _is_plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW) or _is_hooked(optimizer):
        return False
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    special = any(
        group["amsgrad"] or group["maximize"] or group["capturable"] or group["differentiable"]
        or not isinstance(group["lr"], float) or not all(isinstance(beta, float) for beta in group["betas"])
        for group in optimizer.param_groups
    )  # fmt: skip
    dense = all(
        p.device.type == "cpu" and p.dtype == torch.float32 and p.layout == torch.strided and p.numel()
        and (p.grad is None or p.grad.layout == torch.strided)
        for p in parameters
    )  # fmt: skip
    without_aliases = len({p.data_ptr() for p in parameters}) == len(parameters)
    return not special and dense and without_aliases


def is_watched(optimizer: torch.optim.Optimizer) -> bool:
    """True where a scheduler counts the calls of ``step``."""
    return "step" in vars(optimizer)


def _is_hooked(optimizer: torch.optim.Optimizer) -> bool:
    """True when something expects to see each call of ``step`` (a scheduler's counter is content with the first)."""
    patched = vars(optimizer).get("step")
    return bool(
        (patched is not None and not hasattr(patched, "_wrapped_by_lr_sched"))
        or optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
        or torch_optimizer._global_optimizer_pre_hooks or torch_optimizer._global_optimizer_post_hooks
    )  # fmt: skip


@cache
def _fused_adam_works() -> bool:
    """PyTorch's fused kernels are private: used only where they exist, take our call and do what they should."""
    for name in ("_fused_adam_", "_fused_adamw_"):
        weight, step = torch.zeros(3), torch.ones(())
        try:
            getattr(torch, name)(
                [weight], [torch.ones(3)], [torch.zeros(3)], [torch.zeros(3)], [], [step],
                lr=0.5, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
            )  # fmt: skip
        except (AttributeError, TypeError, RuntimeError):
            return False
        if not torch.allclose(weight, torch.full((3,), -0.5)):
            return False
    return True
