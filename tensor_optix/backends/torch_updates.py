"""How does one minibatch update come about: whole, or not at all?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from tensor_optix.backends.base import Batch, Ops, Scalars, Step, Update
from tensor_optix.backends.torch_compile import CompiledAttempt
from tensor_optix.backends.torch_modules import named_tensors, parameters_of
from tensor_optix.backends.torch_steps import FlatAdamStep, OptimizerStep, PlainStep, is_watched
from tensor_optix.errors import ConfigError, NonFiniteError

MAX_SKIPPED_IN_A_ROW = 5
"""So many updates in a row whose loss or gradient is not finite are no accident."""


Metrics = dict[str, Tensor | float]
"""Numbers by name."""


class Roles:
    """Which tensors an update trains, leaves constant, moves and restores.

    Finding that out costs as much as a small update, so ``fitting`` makes it anew only where something changed: a
    module, parameter or buffer that is another one, or a parameter that is frozen or held by another optimizer now.
    """

    def __init__(
        self,
        update: Update,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        ops: Ops,
        *,
        is_compiled: bool = False,
    ) -> None:
        self._update, self._identity = update, _Identity(networks, optimizers)
        self.compiled = CompiledAttempt(update.steps, networks, ops) if is_compiled else None
        self.parts = [_Part(step, optimizers[step.optimizer], networks) for step in update.steps]
        self.targets = [_Target(networks[name], networks[source]) for name, source in update.targets.items()]
        self.buffers = list(dict.fromkeys(buffer for module in networks.values() for buffer in module.buffers()))
        trained = {name for step in update.steps for name in step.trains}
        self._constants = [module for name, module in networks.items() if name not in trained]
        self._constant_parts = [part for module in self._constants for part in module.modules()]

    @property
    def to_evaluate(self) -> list[nn.Module]:
        """The networks that the update leaves constant, where a part of them is not in evaluation mode."""
        return self._constants if any(part.training for part in self._constant_parts) else []

    @classmethod
    def fitting(
        cls,
        known: Roles | None,
        update: Update,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        ops: Ops,
        *,
        is_compiled: bool = False,
    ) -> Roles:
        """``known``, if that is what it would be anew."""
        if known is not None and known._update is update and known._identity.fits(optimizers):
            return known
        return cls(update, networks, optimizers, ops, is_compiled=is_compiled)


class Updates:
    """The updates of one run of minibatches.

    One whose loss or gradient is not finite is skipped: weights, buffers, moments and step counts stay as they are,
    bit by bit (what random generators drew is drawn). skipped_before: how many were skipped in a row just before.
    """

    def __init__(
        self, roles: Roles, networks: Mapping[str, nn.Module], ops: Ops, *, skipped_before: int = 0
    ) -> None:
        self._networks, self._ops = networks, ops
        self._parts, self._targets, self._buffers = roles.parts, roles.targets, roles.buffers
        self._compiled = roles.compiled
        self._focused: _Part | None = None
        for part in self._parts:
            part.start()
        self.n_made, self.n_skipped, self.skipped_in_a_row = 0, 0, skipped_before

    def attempt(self, batch: Batch, scalars: Scalars, max_grad_norm: float) -> Metrics:
        """Make one update and return its metrics; an empty dict when it was skipped.

        Raises NonFiniteError where too many have been skipped in a row.
        """
        if self.n_made == 1:  # now there are moments to bind
            self._focus(None)
            for part in self._parts:
                part.bind()
        before = [buffer.clone() for buffer in self._buffers]
        if (made := self._attempt_compiled(batch, scalars, max_grad_norm)) is not None:
            return made
        metrics: Metrics = {}
        for part in self._parts:
            metrics |= self._gradients(part, batch, scalars, max_grad_norm)
        if not self._is_finite():
            self._skip(before)
            return {}
        for part in self._parts:
            part.stepper.apply()
        return self._made(metrics, scalars)

    def _attempt_compiled(self, batch: Batch, scalars: Scalars, max_grad_norm: float) -> Metrics | None:
        """The same by the compiled program; None where there is none, or a step is not made on flat buffers yet."""
        steppers = [part.stepper for part in self._parts]
        flat = [stepper for stepper in steppers if isinstance(stepper, FlatAdamStep)]
        if self._compiled is None or not self._compiled.is_usable or len(flat) < len(steppers):
            return None
        self._focus(None)
        outcome = self._compiled(flat, batch, scalars, max_grad_norm)
        if outcome is None:
            return None
        judged, metrics, make = outcome
        numbers = judged.tolist()
        for part, loss, norm in zip(self._parts, numbers, numbers[len(self._parts) :], strict=False):
            part.loss_value, part.norm = loss, norm
        if not self._is_finite():
            self._skip([])
            return {}
        make()
        return self._made({**metrics, **{self._norm_name(part): part.norm for part in self._parts}}, scalars)

    def _is_finite(self) -> bool:
        return all(math.isfinite(part.loss_value) and math.isfinite(part.norm) for part in self._parts)

    def _norm_name(self, part: _Part) -> str:
        return "grad_norm" if len(self._parts) == 1 else f"{part.step.optimizer}_grad_norm"

    def _made(self, metrics: Metrics, scalars: Scalars) -> Metrics:
        for target in self._targets:
            target.follow(float(scalars["tau"]))
        self.n_made, self.skipped_in_a_row = self.n_made + 1, 0
        return metrics

    def finish(self) -> None:
        """Give the user's tensors and optimizers back."""
        self._focus(None)
        for part in self._parts:
            part.stepper.finish()

    def _gradients(self, part: _Part, batch: Batch, scalars: Scalars, max_grad_norm: float) -> Metrics:
        """Leave the clipped gradient of one step where its optimizer looks for it; returns the step's metrics."""
        self._focus(part)
        part.stepper.zero_grad()
        loss, metrics = part.step.loss(self._ops, self._networks, batch, scalars)
        loss.backward()
        part.norm, part.loss_value = part.stepper.clip(max_grad_norm), loss.item()
        return {**{key: metric.detach() for key, metric in metrics.items()}, self._norm_name(part): part.norm}

    def _focus(self, part: _Part | None) -> None:
        """Only what ``part`` trains gets gradients now: none are computed for the weights of other networks."""
        if part is self._focused:
            return
        for parameter in self._focused.others if self._focused else ():
            parameter.requires_grad_(True)
        for parameter in part.others if part else ():
            parameter.requires_grad_(False)
        self._focused = part

    @torch.no_grad()
    def _skip(self, buffers: list[Tensor]) -> None:
        for buffer, value in zip(self._buffers, buffers, strict=False):
            buffer.copy_(value)
        self.n_skipped, self.skipped_in_a_row = self.n_skipped + 1, self.skipped_in_a_row + 1
        if self.skipped_in_a_row == MAX_SKIPPED_IN_A_ROW:
            self.skipped_in_a_row = 0  # whoever goes on after this error has done something about it
            worst = next((p for p in self._parts if not math.isfinite(p.loss_value + p.norm)), self._parts[0])
            raise NonFiniteError(
                f"{MAX_SKIPPED_IN_A_ROW} updates in a row were not finite and have been skipped; in the last one the "
                f"loss is {worst.loss_value} and the gradient's norm {worst.norm}: look for extreme rewards or "
                "observations, or lower learning_rate"
            )


class _Identity:
    """The very tensors of networks and optimizers, and which parameters are trained. (It keeps them, so that no
    other object can get the identity of one that is gone.)
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        modules = [part for module in networks.values() for part in module.modules()]
        self._tables = [
            (table, list(table.values()))
            for part in modules for table in (part._modules, part._parameters, part._buffers) if table
        ]  # fmt: skip
        self._empty = [
            table for part in modules for table in (part._modules, part._parameters, part._buffers) if not table
        ]
        self._trained = [(p, p.requires_grad) for p in parameters_of(networks.values())]
        self._held = _held(optimizers)

    def fits(self, optimizers: Mapping[str, torch.optim.Optimizer]) -> bool:
        """True where they are the same ones."""
        held = _held(optimizers)
        return (
            not any(self._empty)
            and all(len(table) == len(known) and all(map(is_, table.values(), known)) for table, known in self._tables)
            and all(p.requires_grad is is_trained for p, is_trained in self._trained)
            and len(held) == len(self._held) and all(map(is_, held, self._held))
        )  # fmt: skip


class _Part:
    """One step of the update, with its optimizer, and what its last loss and gradient were."""

    def __init__(
        self, step: Step, optimizer: torch.optim.Optimizer, networks: Mapping[str, nn.Module]
    ) -> None:
        held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        for name in step.trains:
            own = [parameter for parameter in networks[name].parameters() if parameter.requires_grad]
            if own and held.isdisjoint(own):
                raise ConfigError(
                    f"{step.optimizer} holds no parameter of {name}, which it should train: "
                    f"construct it with list({name}.parameters()) among its parameters"
                )
        trained = {p for p in parameters_of(networks[name] for name in step.trains) if p in held}
        self.step, self.optimizer = step, optimizer
        self.others = [p for p in parameters_of(networks.values()) if p.requires_grad and p not in trained]
        self.stepper: OptimizerStep = PlainStep(optimizer)
        self.loss_value = self.norm = 0.0
        self._is_alone = held <= trained  # else what other steps train would be stepped here with a zero gradient
        self._flat: FlatAdamStep | None = None

    def start(self) -> None:
        """Another run begins."""
        self.stepper = PlainStep(self.optimizer)
        if not is_watched(self.optimizer):
            self.bind()

    def bind(self) -> None:
        """Step on flat buffers from now on, where that gives the same."""
        if isinstance(self.stepper, FlatAdamStep) or not self._is_alone:
            return
        if self._flat is None or not self._flat.is_intact():
            self._flat = FlatAdamStep.bound_to(self.optimizer)
        if self._flat is not None:
            self._flat.start()
            self.stepper = self._flat


class _Target:
    """A network that follows another: θ_target ← τ θ_source + (1 - τ) θ_target."""

    def __init__(self, target: nn.Module, source: nn.Module) -> None:
        sources = named_tensors(source)
        pairs = [(tensor, sources[key]) for key, tensor in named_tensors(target).items()]
        real = [pair for pair in pairs if pair[0].is_floating_point()]
        self._moved, self._sources = [target for target, _ in real], [source for _, source in real]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def follow(self, tau: float) -> None:
        if tau == 0.0:
            return
        if tau == 1.0:
            torch._foreach_copy_(self._moved, self._sources)
        else:
            torch._foreach_lerp_(self._moved, self._sources, tau)
        for target, source in self._counts:
            target.copy_(source)


def _held(optimizers: Mapping[str, torch.optim.Optimizer]) -> list[Any]:
    """The parameters of all groups in order."""
    return [p for optimizer in optimizers.values() for group in optimizer.param_groups for p in group["params"]]
