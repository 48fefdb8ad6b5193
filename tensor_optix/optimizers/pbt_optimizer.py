"""PBTOptimizer: exploit and explore, with the run's own past as the population (Jaderberg et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from tensor_optix.core.statistics import MAD_TO_SD
from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.coordinates import checked_bounds, checked_names
from tensor_optix.optimizers.tuner import AnchoredTuner, Design, Move, Offsets, Standing

HOLD = 2
"""Ticks for which a member, and the anchor before and after it, stay in force."""

MIN_TRIALS = 3
SIGNIFICANT = 2.5


@dataclass(frozen=True)
class Member:
    """A configuration tried in this run: where it lies from the anchor, and its advantage over it at each trial."""

    offsets: Offsets
    advantages: tuple[float, ...] = field(default=())

    @property
    def fitness(self) -> float:
        return sum(self.advantages) / len(self.advantages) if self.advantages else 0.0


class VirtualPopulation(Design):
    """Members take turns with the anchor: anchor, member, anchor, other member, ...

    A member's advantage is its mean gain per tick less that of the anchor just before and after it, so that a policy
    which improves anyway favours nobody. Promising members are tried again; one becomes the anchor when its mean
    advantage is significant against the spread of all trials.
    """

    def __init__(
        self, history_size: int, exploit_share: float, top_share: float, *, explore_scale: float, exploit_scale: float
    ) -> None:
        self._history_size, self._exploit_share, self._top_share = history_size, exploit_share, top_share
        self._explore_scale, self._exploit_scale = explore_scale, exploit_scale
        self._members: list[Member] = []
        self._on_trial = -1  # index of the member whose trial is running
        self._ticks = 0

    def after(self, standing: Standing) -> Move:
        commit: Offsets = {}
        if self._ticks == 3 * HOLD:
            commit = self._concluded(standing)
            self._ticks = HOLD if not commit else 0  # the anchor's turn after one member is that before the next
        if self._ticks == HOLD:
            self._on_trial = self._chosen(standing)
        self._ticks += 1
        is_member = HOLD < self._ticks <= 2 * HOLD
        return Move(commit, probe=self._members[self._on_trial].offsets if is_member else {})

    def interrupted(self) -> None:
        self._members, self._ticks = [], 0

    def on_plateau(self) -> None:
        self.interrupted()

    def state_dict(self) -> dict[str, Any]:
        return {
            "members": [asdict(member) for member in self._members], "on_trial": self._on_trial, "ticks": self._ticks,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._members = [Member(m["offsets"], tuple(m["advantages"])) for m in state["members"]]
        self._on_trial, self._ticks = state["on_trial"], state["ticks"]

    def _concluded(self, standing: Standing) -> Offsets:
        """Book the trial; the winner's offsets if there is one."""
        before, member, after = np.diff(standing.scores[-3 * HOLD - 1 :]).reshape(3, HOLD).mean(axis=1)
        tried = self._members[self._on_trial]
        tried = replace(tried, advantages=(*tried.advantages, float(member - (before + after) / 2)))
        self._members[self._on_trial] = tried
        if len(tried.advantages) < MIN_TRIALS or tried.fitness <= SIGNIFICANT * self._noise() / len(
            tried.advantages
        ) ** 0.5:
            return {}
        self._members = []  # their advantages were measured against another anchor
        return tried.offsets

    def _noise(self) -> float:
        """Spread of single advantages; most members are no better than the anchor, so the middle tells."""
        every = np.array([advantage for member in self._members for advantage in member.advantages])
        return float(MAD_TO_SD * np.median(np.abs(every - np.median(every))))

    def _chosen(self, standing: Standing) -> int:
        """Index of the member to try next: a promising one again, or a new one."""
        rng = standing.rng
        promising = [i for i, member in enumerate(self._members) if member.fitness > 0]
        if promising and rng.random() < 0.5:
            return max(promising, key=lambda i: self._members[i].fitness)
        self._members = [*self._members, Member(self._new_offsets(standing))][-self._history_size :]
        return len(self._members) - 1

    def _new_offsets(self, standing: Standing) -> Offsets:
        """Near one of the best members where the anchor is among the worst; else near the anchor."""
        rng, names = standing.rng, list(standing.box)
        ranked = sorted(self._members, key=lambda member: member.fitness, reverse=True)
        n_better = sum(member.fitness > 0 for member in ranked)
        if ranked and n_better >= (1 - self._exploit_share) * len(ranked):
            centre = ranked[int(rng.integers(max(1, round(self._top_share * len(ranked)))))].offsets
            scale = self._exploit_scale
        else:
            centre, scale = {}, self._explore_scale
        return {name: centre.get(name, 0.0) + float(rng.uniform(-scale, scale)) for name in names}


class PBTOptimizer(AnchoredTuner):
    """Population-based training within one run.

    New members lie within ``explore_scale`` of the settled hyperparameters; where at least ``1 - exploit_percentile``
    of the remembered members are better than these, within ``exploit_scale`` of one of the best ``top_percentile``.
    On a logarithmic scale that is θ' = θ exp(U(-δ, δ)) with δ = scale · ln(high / low).

    param_bounds: what to tune (see ``AnchoredTuner``). history_size: how many members are remembered.
    log_scale_params: names on a logarithmic scale, besides those that the agent declares so.
    """

    _DEFAULT_LOG_SCALE_PARAMS: ClassVar[set[str]] = {"learning_rate", "lr", "alpha", "epsilon", "weight_decay"}

    def __init__(
        self,
        param_bounds: Mapping[str, tuple[float, float]] | None = None,
        history_size: int = 50,
        exploit_percentile: float = 0.2,
        top_percentile: float = 0.2,
        explore_scale: float = 0.1,
        exploit_scale: float = 0.05,
        log_scale_params: set[str] | None = None,
    ) -> None:
        for name, share in (("exploit_percentile", exploit_percentile), ("top_percentile", top_percentile)):
            if not 0 < share < 1:
                raise ConfigError(f"{name} must be between 0 and 1, got {share}")
        is_size = isinstance(history_size, int) and history_size >= 2
        if not (is_size and 0 < explore_scale <= 0.5 and 0 < exploit_scale <= 0.5):
            raise ConfigError(
                "history_size must be a whole number of at least 2, explore_scale and exploit_scale in (0, 0.5]; got "
                f"{history_size}, {explore_scale}, {exploit_scale}"
            )
        names = self._DEFAULT_LOG_SCALE_PARAMS if log_scale_params is None else log_scale_params
        logs, bounds = checked_names("log_scale_params", names), checked_bounds(param_bounds)
        positive = [name for name in logs if name not in bounds or bounds[name][0] > 0]
        design = VirtualPopulation(
            history_size, exploit_percentile, top_percentile, explore_scale=explore_scale, exploit_scale=exploit_scale
        )
        super().__init__(design, bounds, positive)
