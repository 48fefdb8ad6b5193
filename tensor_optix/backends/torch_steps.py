"""How a user's PyTorch optimizer makes one step: as it is, or faster on flat buffers with the same result."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.optim.optimizer as torch_optimizer
from torch import Tensor, nn


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


class FusedAdamStep:
    """Adam or AdamW by PyTorch's fused kernel over the user's own tensors: for a run's first update, before flat
    buffers pay (runs of a single update are made of nothing else). It needs the moments of an earlier run.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]

    @classmethod
    def over(cls, optimizer: torch.optim.Optimizer) -> FusedAdamStep | None:
        """None where it would not be the optimizer's own step."""
        is_watched = "step" in vars(optimizer)  # a scheduler counts the calls
        if is_watched or not (_is_plain_adam(optimizer) and _fused_adam_works()):
            return None
        step = cls(optimizer)
        return step if all("exp_avg" in optimizer.state.get(p, ()) for p in step._parameters) else None

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def clip(self, max_norm: float) -> float:
        """Clip all gradients to ``max_norm``; returns their global norm before."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))) if gradients else 0.0
        if norm > max_norm:
            torch._foreach_mul_(gradients, max_norm / (norm + 1e-6))
        return norm

    @torch.no_grad()
    def apply(self) -> None:
        for group in self._optimizer.param_groups:
            reached = [p for p in group["params"] if p.grad is not None]
            if not reached:
                continue
            states = [self._optimizer.state[p] for p in reached]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            _fused_update(group)(
                reached, [p.grad for p in reached], [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states], [], steps,
            )  # fmt: skip

    def finish(self) -> None:
        self.zero_grad()


class FlatAdamStep:
    """Adam or AdamW on flat buffers: one kernel for all parameters of a group instead of a dozen for each.

    Between ``bound_to`` and ``finish`` parameters, gradients and the user's own moments are views of the buffers;
    afterwards they are the tensors that they were, with the new values. Bound after the run's first update, which the
    optimizer made itself: by then every parameter has a gradient and moments. (Where the loss does not reach all of
    them, the plain step goes on; one that only a later minibatch does not reach is stepped with a zero gradient.)
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        members = _by_group_and_step(optimizer)
        sizes = [sum(p.numel() for p in parameters) for _, parameters in members]
        self._gradient = torch.zeros(sum(sizes), dtype=torch.float32)
        self._segments = [
            _FlatSegment(optimizer, group, parameters, gradient)
            for (group, parameters), gradient in zip(members, torch.split(self._gradient, sizes), strict=True)
        ]

    @classmethod
    def bound_to(cls, optimizer: torch.optim.Optimizer) -> FlatAdamStep | None:
        """None where the flat step would not be the optimizer's own step."""
        reached = all(p.grad is not None for group in optimizer.param_groups for p in group["params"]
                      if p.requires_grad)  # fmt: skip
        return cls(optimizer) if reached and _is_plain_adam(optimizer) and _fused_adam_works() else None

    def zero_grad(self) -> None:
        self._gradient.zero_()

    def clip(self, max_norm: float) -> float:
        norm = float(torch.linalg.vector_norm(self._gradient))
        if norm > max_norm:
            self._gradient.mul_(max_norm / (norm + 1e-6))
        return norm

    def apply(self) -> None:
        for segment in self._segments:
            segment.apply()

    def finish(self) -> None:
        for segment in self._segments:
            segment.release()


OptimizerStep = PlainStep | FusedAdamStep | FlatAdamStep


class _FlatSegment:
    """Parameters of one group that have made equally many steps."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, group: dict[str, Any], parameters: list[nn.Parameter], gradient: Tensor
    ) -> None:
        self._parameters = parameters
        self._states = [optimizer.state[p] for p in parameters]
        self._own = [(p.data, s["exp_avg"], s["exp_avg_sq"]) for p, s in zip(parameters, self._states, strict=True)]
        self._step = self._states[0]["step"].to(torch.float32, copy=True)
        flats = [torch.cat([tensor.reshape(-1) for tensor in column]) for column in zip(*self._own, strict=True)]
        self._views = list(zip(*(_views(flat, parameters) for flat in flats), strict=True))
        for parameter, (data, _, _), grad in zip(parameters, self._views, _views(gradient, parameters), strict=True):
            parameter.data, parameter.grad = data, grad
        weight, mean, square = flats
        self._update = partial(_fused_update(group), [weight], [gradient], [mean], [square], [], [self._step])

    @torch.no_grad()
    def apply(self) -> None:
        self._step += 1
        self._update()

    @torch.no_grad()
    def release(self) -> None:
        for parameter, state, own, views in zip(
            self._parameters, self._states, self._own, self._views, strict=True
        ):
            for tensor, view in zip(own, views, strict=True):
                tensor.copy_(view)
            parameter.data, parameter.grad = own[0], None
            state["step"].copy_(self._step)


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


def _views(flat: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    parts = torch.split(flat, [p.numel() for p in parameters])
    return [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]


def _by_group_and_step(optimizer: torch.optim.Optimizer) -> list[tuple[dict[str, Any], list[nn.Parameter]]]:
    members = []
    for group in optimizer.param_groups:
        by_step: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_step.setdefault(float(optimizer.state[parameter]["step"]), []).append(parameter)
        members += [(group, parameters) for parameters in by_step.values()]
    return members


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
