"""A tuner that experiments around an anchor: the settled hyperparameters, which move only on evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.hyperparams import Space
from tensor_optix.core.types import EvalMetrics, HyperparamSet, TuningEvidence
from tensor_optix.errors import ConfigError, nearest
from tensor_optix.optimizers.coordinates import Box, checked_bounds, checked_names

REMEMBERED_SCORES = 200

Offsets = Mapping[str, float]


@dataclass(frozen=True)
class Move:
    """What a design wants: the anchor moved by ``commit``, and ``probe`` tried around it until the next tick.

    Both in units of each hyperparameter's range. Nothing named is nothing moved.
    """

    commit: Offsets = field(default_factory=dict)
    probe: Offsets = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """What a design may know at a tick.

    scores: oldest first; the last one is that of the policy trained under the last move.
    box: the axes; displacement: how far the anchor has moved since the start.
    """

    scores: Sequence[float]
    box: Box
    displacement: Offsets
    rng: np.random.Generator


class Design(ABC):
    """Which experiments are made, and when their outcome moves the anchor."""

    @abstractmethod
    def after(self, standing: Standing) -> Move:
        """The move after one more tick."""

    @abstractmethod
    def interrupted(self) -> None:
        """Somebody else changed the hyperparameters: what was running proves nothing."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""

    def on_improvement(self) -> None:
        """A tick counted as an improvement."""

    def on_plateau(self) -> None:
        """Nothing more is being gained."""


class AnchoredTuner(BaseOptimizer):
    """Carries out what its design asks for, and always knows the way back.

    param_bounds: name -> (low, high), for what is to be tuned; empty: what the agent declares as tunable.
    log_params: names on a logarithmic scale, besides those that the agent declares so.
    A value of the user's outside the bounds widens them. Whoever else changes the hyperparameters is right: their
    values are the new anchor.
    """

    def __init__(
        self, design: Design, param_bounds: Mapping[str, tuple[float, float]] | None, log_params: Sequence[str] = ()
    ) -> None:
        self._design = design
        self._bounds = checked_bounds(param_bounds)
        self._log_params = checked_names("log_params", log_params)
        self._declared = Box.declared(self._bounds, self._log_params, None)
        self._rng = np.random.default_rng(0)
        self._scores: list[float] = []
        self._start: dict[str, Any] = {}
        self._anchor: dict[str, Any] = {}
        self._in_force: dict[str, Any] = {}

    def expect(self, space: Space | None) -> None:
        self._declared = Box.declared(self._bounds, self._log_params, space)

    def seed(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def observe(self, evidence: TuningEvidence) -> None:
        if self._scores and evidence.previous_score != self._scores[-1]:
            self._design.interrupted()  # a rollback, a cool-down or another agent lies in between
        self._scores = [*self._scores, float(evidence.score)][-REMEMBERED_SCORES:]

    def suggest(
        self, current_hyperparams: HyperparamSet, metrics_history: list[EvalMetrics]
    ) -> HyperparamSet:
        """The anchor with the design's next experiment around it. Raises ConfigError for a name that is not there."""
        current = _plain(current_hyperparams.params)
        for name in self._bounds:
            if name not in current:
                hint = nearest(name, current) or f" The agent has: {', '.join(current)}."
                raise ConfigError(f"param_bounds names {name!r}, which is no hyperparameter of the agent.{hint}")
        box = self._declared.holding(current)
        self._follow({name: current[name] for name in box})
        box = box.holding(self._anchor)
        if not box or not self._scores:
            return current_hyperparams
        displacement = {name: box[name].distance(self._start[name], self._anchor[name]) for name in box}
        move = self._design.after(Standing(self._scores, box, displacement, self._rng))
        self._anchor = box.moved(self._anchor, move.commit)
        self._in_force = box.moved(self._anchor, move.probe)
        return HyperparamSet({**current_hyperparams.params, **self._in_force}, current_hyperparams.episode_id)

    def settled(self, hyperparams: HyperparamSet) -> HyperparamSet:
        return HyperparamSet({**hyperparams.params, **self._anchor}, hyperparams.episode_id)

    @property
    def is_probing(self) -> bool:
        return self._in_force != self._anchor

    def on_improvement(self, metrics: EvalMetrics) -> None:
        self._design.on_improvement()

    def on_plateau(self, metrics_history: list[EvalMetrics]) -> None:
        self._design.on_plateau()

    def state_dict(self) -> dict[str, Any]:
        return {
            "scores": np.array(self._scores, dtype=float), "start": self._start, "anchor": self._anchor,
            "in_force": self._in_force, "design": self._design.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scores = state["scores"].tolist()
        self._start, self._anchor = dict(state["start"]), dict(state["anchor"])
        self._in_force = dict(state["in_force"])
        self._design.load_state_dict(state["design"])

    def _follow(self, current: dict[str, Any]) -> None:
        if current == self._in_force:
            return
        if self._in_force:
            self._design.interrupted()
        self._anchor, self._in_force = dict(current), dict(current)
        if not self._start:
            self._start = dict(current)


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy's numbers as Python's."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}
