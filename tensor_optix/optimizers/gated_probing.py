"""Probing that costs next to nothing: only where it can show something, and moving only on what it has shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tensor_optix.core.statistics import noise_sd
from tensor_optix.optimizers.coordinates import Box, NumberAxis
from tensor_optix.optimizers.effects import effect_of, pattern, speed_error
from tensor_optix.optimizers.tuner import Design, Move, Offsets, Standing

WARM_UP = 10
"""Ticks before the first probe."""

ARM_LENGTHS = (2, 3, 4, 6)
"""Ticks of each arm of + - - +; the shortest that promises an answer is taken."""

SPEED_ERRORS = {arm: speed_error(pattern(arm)) for arm in ARM_LENGTHS}

RECENT = 12
"""Ticks over which the present speed of learning is measured."""

SIGNIFICANT = 2.4
"""|t| at which a move is made: 5 % of experiments without any effect at 5 degrees of freedom, 2.5 % at 20."""

MAX_SHARE = 0.3
"""Of all ticks, at most so many are spent probing while the score is rising."""

TRUST = 0.5
"""The anchor stays within this distance of where the user put it, in units of the range."""

MIN_DECADES = 0.4
"""A parameter on a logarithmic scale is probed this far at least: less is lost in the noise."""


@dataclass(frozen=True)
class Probe:
    """One running experiment: along ``direction`` with these signs, ``done`` of them already in force."""

    direction: Offsets
    signs: tuple[int, ...]
    done: int = 0

    @property
    def offsets(self) -> Offsets:
        """What is in force now."""
        sign = self.signs[self.done - 1]
        return {name: sign * step for name, step in self.direction.items()}


class GatedProbing(Design):
    """+ - - + around the anchor, one parameter at a time (``blockwise``) or all at once in a random direction.

    perturbation: half the distance between the arms, in units of the range.

    While the score rises, a probe begins only if it could see a doubling of the speed:
    2 σ̂ se < |gain per tick|, se being that of the design for a noise of 1. While it is flat, effects on the level are
    looked for; each probe that finds nothing doubles the pause before the next.
    """

    def __init__(self, perturbation: float = 0.15, *, blockwise: bool = True) -> None:
        self._perturbation = perturbation
        self._blockwise = blockwise
        self._probe: Probe | None = None
        self._pause, self._next_pause, self._turn = WARM_UP, 1, 0

    def after(self, standing: Standing) -> Move:
        commit: Offsets = {}
        if self._probe is not None:
            if self._probe.done < len(self._probe.signs):
                return self._step()
            commit = self._conclusion(self._probe, standing)
            self._probe = None
        elif self._pause > 0:
            self._pause -= 1
        if self._pause > 0 or (arm := _arm_length(standing.scores)) is None:
            return Move(commit=commit)
        sign = 1 if standing.rng.random() < 0.5 else -1
        signs = tuple(sign * s for s in pattern(arm))
        self._probe = Probe(self._direction(standing), signs)
        return replace(self._step(), commit=commit)

    def interrupted(self) -> None:
        self._probe = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "probe": asdict(self._probe) if self._probe else None,
            "pause": self._pause, "next_pause": self._next_pause, "turn": self._turn,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        probe = state["probe"]
        self._probe = Probe(probe["direction"], tuple(probe["signs"]), probe["done"]) if probe else None
        self._pause, self._next_pause, self._turn = state["pause"], state["next_pause"], state["turn"]

    def _step(self) -> Move:
        assert self._probe is not None
        self._probe = replace(self._probe, done=self._probe.done + 1)
        return Move(probe=self._probe.offsets)

    def _direction(self, standing: Standing) -> Offsets:
        names = list(standing.box)
        if self._blockwise:
            name = names[self._turn % len(names)]
            self._turn += 1
            return {name: self._width(standing.box, name)}
        return {name: self._width(standing.box, name) * float(standing.rng.choice((-1.0, 1.0))) for name in names}

    def _width(self, box: Box, name: str) -> float:
        axis = box[name]
        is_log = isinstance(axis, NumberAxis) and axis.is_log
        return max(self._perturbation, MIN_DECADES / axis.decades) if is_log else self._perturbation  # type: ignore

    def _conclusion(self, probe: Probe, standing: Standing) -> Offsets:
        """Where to move the anchor, and how long to pause."""
        n = len(probe.signs)
        effect = effect_of(probe.signs, standing.scores[-n - 1 :])
        if abs(effect.t) < SIGNIFICANT:
            self._pause = max(round(n * (1 / MAX_SHARE - 1)), self._next_pause)
            self._next_pause = 2 * self._pause
            return {}
        self._pause, self._next_pause = round(n * (1 / MAX_SHARE - 1)), 1
        step = 1 if effect.t > 0 else -1
        return {name: _trusted(step * width, standing.displacement[name]) for name, width in probe.direction.items()}


def _trusted(step: float, displacement: float) -> float:
    """``step``, ended where the trust region ends."""
    low, high = min(-TRUST - displacement, 0.0), max(TRUST - displacement, 0.0)
    return min(max(step, low), high)


def _arm_length(scores: Sequence[float]) -> int | None:
    """Ticks of each arm of a probe worth beginning now; None for no probe."""
    if len(scores) < WARM_UP:
        return None
    noise, gain = noise_sd(scores), _recent_gain(scores)
    for arm in ARM_LENGTHS:
        if 2 * noise * SPEED_ERRORS[arm] < abs(gain):
            return arm
    is_flat = abs(gain) < 2 * noise * _slope_error(min(len(scores), RECENT))
    return ARM_LENGTHS[-1] if is_flat else (ARM_LENGTHS[0] if noise == 0.0 else None)


def _recent_gain(scores: Sequence[float]) -> float:
    y = np.asarray(scores[-RECENT:], dtype=float)
    t = np.arange(len(y)) - (len(y) - 1) / 2
    return float(t @ y / (t @ t))


def _slope_error(n: int) -> float:
    t = np.arange(n) - (n - 1) / 2
    return float(1 / np.sqrt(t @ t))
