"""Is the learning itself ill? Watches what ``learn`` returns, names the trouble, and applies a bounded remedy.

Each remedy is a factor on one hyperparameter's base value. A factor goes one step while its symptom lasts, never
beyond its bound, and one step back after ``RECOVERY`` healthy windows, so that nothing stays changed for a spell of
trouble. A value that someone else changes in the meantime is taken as the new base.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.cooling import can_be_cooled
from tensor_optix.core.types import HyperparamSet

_log = logging.getLogger(__name__)

TREATED = ("learning_rate", "entropy_coef")
RECOVERY = 10  # healthy windows in a row until a remedy goes one step back
MAX_STEPS = 3

VALUE_EXPLOSION_FACTOR = 20.0  # a value loss grows with the returns: only far more than that is ill
SATURATED_SHARE = 0.98  # of all components of all actions; a policy may have reason to act at its bounds often

LOSS_KEYS = ("loss", "actor_loss", "loss/policy")
VALUE_LOSS_KEYS = ("value_loss", "critic_loss", "loss/value")
ENTROPY_KEYS = ("entropy", "policy/entropy")
KL_KEYS = ("approx_kl", "kl_div", "policy/approx_kl")


@dataclass(frozen=True)
class Remedy:
    """steps: how often the remedy is in force now; healthy: windows since its symptom was last seen."""

    parameter: str
    factor: float
    steps: int = 0
    healthy: int = 0

    def after(self, is_ill: bool) -> Remedy:
        """The state after one more window."""
        if is_ill:
            return Remedy(self.parameter, self.factor, min(self.steps + 1, MAX_STEPS))
        if self.steps and self.healthy + 1 >= RECOVERY:
            return Remedy(self.parameter, self.factor, self.steps - 1)
        return Remedy(self.parameter, self.factor, self.steps, self.healthy + 1)

    @property
    def total(self) -> float:
        """What the base value is multiplied by."""
        return self.factor**self.steps


@dataclass(frozen=True)
class Thresholds:
    """What counts as ill; None switches a symptom off."""

    loss_spike_factor: float = 5.0
    entropy_floor: float | None = 0.05
    target_kl: float | None = 0.02


def is_loss_spike(loss: float | None, earlier: Sequence[float], factor: float) -> bool:
    """|loss| > factor · mean |earlier losses|. A loss of no sign has no level but its size."""
    if loss is None or not earlier:
        return False
    level = sum(abs(value) for value in earlier) / len(earlier)
    return level > 0 and abs(loss) > factor * level


def is_entropy_collapse(diagnostics: Mapping[str, Any], floor: float | None) -> bool:
    """The entropy of a discrete policy below the floor."""
    entropy = number(diagnostics, ENTROPY_KEYS)
    return floor is not None and entropy is not None and entropy < floor


def has_discrete_entropy(agent: BaseAgent, diagnostics: Mapping[str, Any]) -> bool:
    """True where an agent says that its actions have probabilities, by ``action_probs`` or by ``entropy_kind``.

    A differential entropy is below any floor as a matter of course, and means nothing by itself: when in doubt, no.
    """
    kind = diagnostics.get("entropy_kind")
    if kind is not None:
        return bool(kind == "discrete")
    return type(agent).action_probs is not BaseAgent.action_probs or "action_probs" in vars(agent)


def is_kl_runaway(diagnostics: Mapping[str, Any], target: float | None) -> bool:
    """KL(old ‖ new) of one learn call more than twice its target."""
    kl = number(diagnostics, KL_KEYS)
    return target is not None and kl is not None and kl > 2 * target


def is_saturated(diagnostics: Mapping[str, Any]) -> bool:
    """Nearly all actions at their bounds, where tanh passes no gradient. ``saturated_share``: of action components."""
    share = number(diagnostics, ("saturated_share",))
    return share is not None and share > SATURATED_SHARE


def number(diagnostics: Mapping[str, Any], names: Sequence[str]) -> float | None:
    """The first of ``names`` that holds a finite number."""
    for name in names:
        value = diagnostics.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


@dataclass
class _Managed:
    """A parameter under treatment: base as the others see it, and the value that we put in force."""

    base: float
    in_force: float


class DiagnosticController:
    """Call ``step`` after every learn call; it returns what it did, as (rule, text), and keeps it in ``firings``.

    loss_spike_factor, loss_window: a loss this many times the mean size of the last ones halves the learning rate.
    So does a value loss 20 times as large as the last ones, and so do actions that are nearly all at their bounds.
    entropy_floor: below it the entropy coefficient is doubled (discrete policies only; None: never).
    target_kl: a KL beyond twice this halves the learning rate (None: never).
    epsilon_patience, epsilon_reset_value, epsilon_score_threshold: after so many windows at the exploration floor
    with a return below the threshold, ``epsilon`` is raised to the value, at most three times.
    min_episodes: nothing fires before this many windows. verbose: log every firing.
    """

    def __init__(
        self,
        loss_spike_factor: float = 5.0,
        loss_window: int = 10,
        entropy_floor: float | None = 0.05,
        target_kl: float | None = 0.02,
        epsilon_patience: int = 20,
        epsilon_reset_value: float = 0.3,
        epsilon_score_threshold: float = 20.0,
        min_episodes: int = 5,
        verbose: bool = False,
    ) -> None:
        self._thresholds = Thresholds(loss_spike_factor, entropy_floor, target_kl)
        self._epsilon = (epsilon_patience, epsilon_reset_value, epsilon_score_threshold)
        self._min_episodes = min_episodes
        self._verbose = verbose
        self._losses: deque[float] = deque(maxlen=loss_window)
        self._value_losses: deque[float] = deque(maxlen=loss_window)
        self._remedies = {
            "LOSS_SPIKE": Remedy("learning_rate", 0.5),
            "KL_TOO_HIGH": Remedy("learning_rate", 0.5),
            "VALUE_EXPLOSION": Remedy("learning_rate", 0.5),
            "SATURATED_ACTIONS": Remedy("learning_rate", 0.5),
            "ENTROPY_COLLAPSE": Remedy("entropy_coef", 2.0),
        }
        self._managed: dict[str, _Managed] = {}
        self._floor_windows = 0
        self._resets = 0
        self._seen = 0
        self.firings: list[tuple[str, str]] = []

    def step(self, episode_id: int, agent: BaseAgent, train_diagnostics: dict[str, Any]) -> list[tuple[str, str]]:
        """Judge one learn call and treat what is ill."""
        self._seen += 1
        ill = self._symptoms(agent, train_diagnostics)
        params = dict(agent.get_hyperparams().params)
        self._adopt_changes(params)
        before = {rule: remedy.steps for rule, remedy in self._remedies.items()}
        factors = {name: self.factor(name) for name in TREATED}
        self._remedies = {rule: remedy.after(rule in ill) for rule, remedy in self._remedies.items()}
        changes = self._treated(agent, params)
        fired = [
            (rule, f"window {episode_id}: {_says(rule, train_diagnostics) if rule in ill else 'healthy again'}; "
             f"{remedy.parameter} is now {self._managed[remedy.parameter].in_force:g}")
            for rule, remedy in self._remedies.items()
            if remedy.steps != before[rule]
            and remedy.parameter in self._managed
            and self.factor(remedy.parameter) != factors[remedy.parameter]
        ]  # fmt: skip
        fired += self._explore_again(episode_id, params, train_diagnostics, changes)
        if changes:
            agent.set_hyperparams(HyperparamSet({**params, **changes}, episode_id))
        self.firings += fired
        for rule, text in fired if self._verbose else ():
            _log.info("%s: %s", rule, text)
        return fired

    def factor(self, name: str) -> float:
        """What the base value of a hyperparameter is multiplied by; the bound holds for all remedies together."""
        total = math.prod(remedy.total for remedy in self._remedies.values() if remedy.parameter == name)
        return max(total, 0.5**MAX_STEPS)

    def withdraw(self, agent: BaseAgent) -> None:
        """Put the base values back: for whoever puts them in force by ``factor``, and only while learning."""
        params = agent.get_hyperparams()
        base = {name: managed.base for name, managed in self._managed.items() if name in params.params}
        for managed in self._managed.values():
            managed.in_force = managed.base
        if any(params.params[name] != value for name, value in base.items()):
            agent.set_hyperparams(HyperparamSet({**params.params, **base}, params.episode_id))

    def _symptoms(self, agent: BaseAgent, diagnostics: Mapping[str, Any]) -> set[str]:
        loss, limits = number(diagnostics, LOSS_KEYS), self._thresholds
        value_loss = number(diagnostics, VALUE_LOSS_KEYS)
        found = {
            "LOSS_SPIKE": is_loss_spike(loss, self._losses, limits.loss_spike_factor),
            "ENTROPY_COLLAPSE": has_discrete_entropy(agent, diagnostics)
            and is_entropy_collapse(diagnostics, limits.entropy_floor),
            "KL_TOO_HIGH": is_kl_runaway(diagnostics, limits.target_kl),
            "VALUE_EXPLOSION": is_loss_spike(value_loss, self._value_losses, VALUE_EXPLOSION_FACTOR),
            "SATURATED_ACTIONS": is_saturated(diagnostics),
        }
        if loss is not None and not found["LOSS_SPIKE"]:
            self._losses.append(loss)  # a spike is not what the next one is compared with
        if value_loss is not None and not found["VALUE_EXPLOSION"]:
            self._value_losses.append(value_loss)
        return {rule for rule, is_ill in found.items() if is_ill} if self._seen > self._min_episodes else set()

    def _adopt_changes(self, params: Mapping[str, Any]) -> None:
        """A value that is not the one we put in force is somebody's new base."""
        for name, managed in self._managed.items():
            if name in params and params[name] != managed.in_force:
                managed.base = float(params[name])

    def _treated(self, agent: BaseAgent, params: Mapping[str, Any]) -> dict[str, float]:
        """The parameters whose value must change so that base times factors is in force; none under a schedule."""
        changes = {}
        for name in TREATED:
            value = params.get(name)
            if name == "learning_rate" and not can_be_cooled(agent):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            managed = self._managed.setdefault(name, _Managed(float(value), float(value)))
            wanted = managed.base * self.factor(name)
            if wanted != value:
                changes[name] = wanted
            managed.in_force = wanted
        return changes

    def _explore_again(
        self, episode_id: int, params: Mapping[str, Any], diagnostics: Mapping[str, Any], changes: dict[str, float]
    ) -> list[tuple[str, str]]:
        patience, value, threshold = self._epsilon
        epsilon, floor = params.get("epsilon"), params.get("epsilon_min")
        score = number(diagnostics, ("episode_reward",))
        if epsilon is None or floor is None or score is None:
            return []
        is_low = epsilon <= floor and score < threshold
        self._floor_windows = self._floor_windows + 1 if is_low else 0
        if self._floor_windows < patience or self._resets >= MAX_STEPS or value <= epsilon:
            return []
        self._floor_windows, self._resets = 0, self._resets + 1
        changes["epsilon"] = value
        return [("EPSILON_RESET", f"window {episode_id}: no progress at the exploration floor; epsilon is {value:g}")]

    # -- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs."""
        return {
            "losses": list(self._losses), "value_losses": list(self._value_losses),
            "remedies": {rule: asdict(r) for rule, r in self._remedies.items()},
            "managed": {name: asdict(m) for name, m in self._managed.items()}, "seen": self._seen,
            "floor_windows": self._floor_windows, "resets": self._resets,
            "firings": [list(firing) for firing in self.firings],
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._losses.clear()
        self._losses.extend(state["losses"])
        self._value_losses.clear()
        self._value_losses.extend(state["value_losses"])
        self._remedies = {rule: Remedy(**remedy) for rule, remedy in state["remedies"].items()}
        self._managed = {name: _Managed(**managed) for name, managed in state["managed"].items()}
        self._seen, self._floor_windows, self._resets = state["seen"], state["floor_windows"], state["resets"]
        self.firings = [(rule, text) for rule, text in state["firings"]]


_SAYS = {
    "LOSS_SPIKE": ("the loss spiked", "loss", LOSS_KEYS),
    "KL_TOO_HIGH": ("the policy moved too far in one update", "KL", KL_KEYS),
    "ENTROPY_COLLAPSE": ("the policy has all but stopped exploring", "entropy", ENTROPY_KEYS),
    "VALUE_EXPLOSION": ("the value estimates have exploded", "value loss", VALUE_LOSS_KEYS),
    "SATURATED_ACTIONS": ("nearly all actions are at their bounds", "share", ("saturated_share",)),
}


def _says(rule: str, diagnostics: Mapping[str, Any]) -> str:
    """The symptom with the number that showed it."""
    text, label, names = _SAYS[rule]
    return f"{text} ({label} {number(diagnostics, names):.3g})"
