"""How does a whole minibatch update become one compiled program: all gradients, their clipping and Adam's steps?"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from tensor_optix.backends.base import Batch, Ops, Step
from tensor_optix.backends.torch_steps import FlatAdamStep

logger = logging.getLogger(__name__)

Outcome = tuple[list[Tensor], list[Tensor], list[Tensor], Tensor, dict[str, Tensor]]
"""Next weights, means and squares, flat; losses and gradient norms of the steps [2, steps]; metrics by name."""


class CompiledAttempt:
    """The update of ``steps`` as a pure function of flat weights and moments, compiled at its first call.

    Numbers enter as tensors: other hyperparameters and learning rates compile nothing anew, another batch size does.
    Modules with buffers (batch normalisation) change them while they compute, which no pure function does: for those,
    and where there is no compiler, ``is_usable`` turns False, said once.
    """

    def __init__(self, steps: Sequence[Step], networks: Mapping[str, nn.Module], ops: Ops) -> None:
        self._steps, self._networks, self._ops = steps, networks, ops
        self._call: Callable[..., Outcome] = torch.compile(self._outcome, dynamic=False, fullgraph=True)
        self._has_run = False
        self.is_usable = not any(list(module.buffers()) for module in networks.values())
        if not self.is_usable:
            _say("a network has buffers of its own")

    def __call__(
        self, steppers: Sequence[FlatAdamStep], batch: Batch, scalars: Mapping[str, float], max_grad_norm: float
    ) -> tuple[Tensor, dict[str, Tensor], Callable[[], None]] | None:
        """Losses and norms [2, steps], metrics, and what makes the update; None where it cannot be compiled."""
        by_step = [stepper.segments for stepper in steppers]
        segments = [segment for own in by_step for segment in own]
        names = tuple(scalars)
        numbers = torch.tensor([*scalars.values(), max_grad_norm, *(segment.learning_rate for segment in segments)])
        state = [[segment.flats[kind] for segment in segments] for kind in range(3)]
        layout = tuple(tuple(segment.layout(self._networks) for segment in own) for own in by_step)
        settings = tuple(segment.settings for segment in segments)
        try:
            with torch.no_grad():
                weights, means, squares, judged, metrics = self._call(
                    *state, [segment.step for segment in segments], dict(batch), numbers, names, layout, settings
                )
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
            if self._has_run:
                raise
            self.is_usable = False
            _say(str(error).strip().splitlines()[0])
            return None
        self._has_run = True

        def make() -> None:
            torch._foreach_copy_([*state[0], *state[1], *state[2]], [*weights, *means, *squares])
            torch._foreach_add_([segment.step for segment in segments], 1)

        return judged, metrics, make

    def _outcome(
        self, weights: list[Tensor], means: list[Tensor], squares: list[Tensor], steps: list[Tensor], batch: Batch,
        numbers: Tensor, names: tuple[str, ...], layout: Any, settings: Any,
    ) -> Outcome:  # fmt: skip
        scalars = {name: numbers[index] for index, name in enumerate(names)}
        max_norm, rates = numbers[len(names)], numbers[len(names) + 1 :]
        first, all_metrics, losses, norms, gradients = 0, {}, [], [], []
        for step, own_layout in zip(self._steps, layout, strict=True):
            own = weights[first : first + len(own_layout)]
            objective = partial(self._objective, step, own_layout, batch, scalars)
            found, (loss, metrics) = grad_and_value(objective, has_aux=True)(own)
            norm = torch.linalg.vector_norm(torch.cat(found))
            factor = torch.where(norm > max_norm, max_norm / (norm + 1e-6), 1.0)
            gradients += [gradient * factor for gradient in found]
            losses.append(loss)
            norms.append(norm)
            all_metrics.update(metrics)
            first += len(own_layout)
        stepped = [
            _adam(*one)
            for one in zip(weights, gradients, means, squares, steps, rates.unbind(), settings, strict=True)
        ]
        new_weights, new_means, new_squares = ([one[kind] for one in stepped] for kind in range(3))
        return new_weights, new_means, new_squares, torch.stack([*losses, *norms]), all_metrics

    def _objective(
        self, step: Step, layout: Any, batch: Batch, scalars: Mapping[str, Tensor], flats: list[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        trained: dict[str, dict[str, Tensor]] = {}
        for flat, segment in zip(flats, layout, strict=True):
            slots = torch.split(flat, [size for *_, size in segment])
            for slot, (owners, shape, _) in zip(slots, segment, strict=True):
                for network, key in owners:
                    trained.setdefault(network, {})[key] = slot[: math.prod(shape)].view(shape)
        networks = {
            name: partial(functional_call, module, trained[name]) if name in trained else module
            for name, module in self._networks.items()
        }
        return step.loss(self._ops, networks, batch, scalars)


def _adam(
    weight: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: Tensor, rate: Tensor, settings: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Kingma & Ba 2015, algorithm 1; weight decay as PyTorch's Adam has it, or decoupled as in AdamW."""
    beta1, beta2, eps, decay, is_decoupled = settings
    if decay and is_decoupled:
        weight = weight * (1 - rate * decay)
    elif decay:
        gradient = gradient + decay * weight
    mean = mean + (1 - beta1) * (gradient - mean)
    square = beta2 * square + (1 - beta2) * gradient * gradient
    t = step + 1
    denominator = square.sqrt() / (1 - beta2**t).sqrt() + eps
    return weight - rate / (1 - beta1**t) * mean / denominator, mean, square


def _say(reason: str) -> None:
    logger.warning("updates are not compiled (%s): they are made operation by operation, which is slower", reason)
