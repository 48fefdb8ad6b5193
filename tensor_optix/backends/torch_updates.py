"""How does one minibatch update come about: whole, or not at all?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tensor_optix.backends.torch_steps import FlatAdamStep, PlainStep, Step
from tensor_optix.errors import NonFiniteError

MAX_SKIPPED_IN_A_ROW = 5
"""So many updates in a row whose loss or gradient is not finite are no accident."""


class Updates:
    """The updates of one run of minibatches.

    One whose loss or gradient is not finite is skipped: weights, buffers, moments and step counts stay as they are,
    bit by bit (what random generators drew is drawn). skipped_before: how many were skipped in a row just before.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, networks: Iterable[nn.Module], *, skipped_before: int = 0
    ) -> None:
        self._optimizer = optimizer
        self._step: Step = PlainStep(optimizer)
        self._buffers = list(dict.fromkeys(buffer for module in networks for buffer in module.buffers()))
        self.n_made, self.n_skipped, self.skipped_in_a_row = 0, 0, skipped_before

    def attempt(self, loss: Callable[[], tuple[Any, dict[str, Tensor]]], max_grad_norm: float) -> dict[str, Tensor]:
        """Make one update and return its metrics; an empty dict when it was skipped.

        Raises NonFiniteError where too many have been skipped in a row.
        """
        if self.n_made == 1 and isinstance(self._step, PlainStep):  # now there are gradients and moments to bind
            self._step = FlatAdamStep.bound_to(self._optimizer) or self._step
        before = [buffer.clone() for buffer in self._buffers]
        self._step.zero_grad()
        value, metrics = loss()
        value.backward()
        norm, loss_value = self._step.clip(max_grad_norm), float(value.detach())
        if not (math.isfinite(norm) and math.isfinite(loss_value)):
            self._skip(before, loss_value, norm)
            return {}
        self._step.apply()
        self.n_made, self.skipped_in_a_row = self.n_made + 1, 0
        return {**{name: metric.detach() for name, metric in metrics.items()}, "grad_norm": torch.tensor(norm)}

    def finish(self) -> None:
        """Give the user's tensors and optimizer back."""
        self._step.finish()

    @torch.no_grad()
    def _skip(self, buffers: list[Tensor], loss: float, norm: float) -> None:
        for buffer, value in zip(self._buffers, buffers, strict=True):
            buffer.copy_(value)
        self.n_skipped, self.skipped_in_a_row = self.n_skipped + 1, self.skipped_in_a_row + 1
        if self.skipped_in_a_row == MAX_SKIPPED_IN_A_ROW:
            self.skipped_in_a_row = 0  # whoever goes on after this error has done something about it
            raise NonFiniteError(
                f"{MAX_SKIPPED_IN_A_ROW} updates in a row were not finite and have been skipped; in the last one the "
                f"loss is {loss} and the gradient's norm {norm}: look for extreme rewards or observations, or lower "
                "learning_rate"
            )
