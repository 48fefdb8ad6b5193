"""Hooks of the loop for user code, and the list that calls them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.mid_run_evaluation import MidRunEvaluation
from tensor_optix.core.types import EvalMetrics, LoopState, PolicySnapshot, RunResult

MAX_FAILURES_IN_A_ROW = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Continuation:
    """What a callback gives to go on after DORMANT: an agent, and the env steps it may use (None: no limit)."""

    agent: BaseAgent
    max_steps: int | None = None


@dataclass(frozen=True)
class RunView:
    """The run as a callback sees it when the loop has become DORMANT, or a continuation has used up its budget.

    env_steps, windows: so far. evaluation: scores policies on complete env episodes; rng: a random stream for
    callbacks; tell(kind, text, evidence): writes a decision into the run's log.
    """

    agent: BaseAgent
    best_snapshot: PolicySnapshot | None
    history: Sequence[EvalMetrics]
    env_steps: int
    windows: int
    registry: CheckpointRegistry
    evaluation: MidRunEvaluation
    rng: np.random.Generator
    tell: Callable[[str, str, Mapping[str, Any]], None]


class LoopCallback:
    """Override any hook; all do nothing. Arguments are positional. ``episode_id`` is the number of the window."""

    def attached(self, registry: CheckpointRegistry, stop: Callable[[], None]) -> None:
        """The callback belongs to a run from now on: where its policies are kept, and what ends it."""

    def on_loop_start(self) -> None:
        """Before the first window of a ``run()``."""

    def on_loop_stop(self) -> None:
        """When ``run()`` ends, however it ends; the best policy is in the agent again."""

    def on_episode_end(self, episode_id: int, eval_metrics: EvalMetrics | None) -> None:
        """After every window; None when it carried no score."""

    def on_improvement(self, snapshot: PolicySnapshot) -> None:
        """A new best policy has been committed (not for the very first score)."""

    def on_plateau(self, episode_id: int, state: LoopState) -> None:
        """A tick without improvement while COOLING."""

    def on_dormant(self, episode_id: int) -> None:
        """The loop found that nothing more is to be gained."""

    def on_degradation(self, episode_id: int, eval_metrics: EvalMetrics) -> None:
        """The policy has become worse, on confirmed evidence; once per fall."""

    def on_hyperparam_update(self, old_params: dict[str, Any], new_params: dict[str, Any]) -> None:
        """The tuner was asked; the two may be equal."""

    def on_checkpoint(self, snapshot: PolicySnapshot) -> None:
        """A policy has been committed (the best one or one of the best few)."""

    def on_rollback(self, snapshot: PolicySnapshot) -> None:
        """The agent has been put back to this policy in mid-run."""

    def after_dormant(self, run: RunView) -> Continuation | None:
        """Return a continuation to go on after DORMANT with a fresh clock. Default: the run ends."""
        return None

    def resumed_agent(self) -> BaseAgent | None:
        """After ``load_state_dict``: an agent of its kind, where a continuation's agent was acting. Default: none."""
        return None

    def on_stop(self, result: RunResult) -> None:
        """The run's result is known; before ``on_loop_stop``."""

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation of this callback needs, as JSON values and arrays. Default: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""


class CallbackErrors(ABC):
    """What becomes of an error in a hook. KeyboardInterrupt and the like never get here."""

    @property
    def health(self) -> Mapping[str, int]:
        """What was left out, counted. Default: nothing is."""
        return {}

    def is_disabled(self, callback: LoopCallback, hook: str) -> bool:
        """True when this hook is not called any more. Default: each one is."""
        return False

    def succeeded(self, callback: LoopCallback, hook: str) -> None:
        """The hook returned."""

    @abstractmethod
    def failed(self, callback: LoopCallback, hook: str, error: Exception) -> bool:
        """The hook raised; True when the error is to surface."""


class SurfacingErrors(CallbackErrors):
    """The error ends the run."""

    def failed(self, callback: LoopCallback, hook: str, error: Exception) -> bool:
        return True


class ToleratedErrors(CallbackErrors):
    """The run goes on. The first error of a hook is logged with its traceback, all are counted in ``health``.

    A hook that has failed three times in a row is not called any more, except ``on_loop_stop``.
    """

    def __init__(self) -> None:
        self._health: Counter[str] = Counter()
        self._in_a_row: Counter[tuple[int, str]] = Counter()
        self._told: set[tuple[int, str]] = set()

    @property
    def health(self) -> Mapping[str, int]:
        """``callback_errors`` and ``callback_hooks_disabled``."""
        return self._health

    def is_disabled(self, callback: LoopCallback, hook: str) -> bool:
        return hook != "on_loop_stop" and self._in_a_row[id(callback), hook] >= MAX_FAILURES_IN_A_ROW

    def succeeded(self, callback: LoopCallback, hook: str) -> None:
        self._in_a_row.pop((id(callback), hook), None)

    def failed(self, callback: LoopCallback, hook: str, error: Exception) -> bool:
        key, name = (id(callback), hook), f"{type(callback).__name__}.{hook}"
        self._health["callback_errors"] += 1
        self._in_a_row[key] += 1
        if key not in self._told:
            self._told.add(key)
            _log.error("the callback %s failed, the run goes on", name, exc_info=error)
        if self._in_a_row[key] == MAX_FAILURES_IN_A_ROW and hook != "on_loop_stop":
            self._health["callback_hooks_disabled"] += 1
            _log.error("the callback %s failed %d times in a row and is not called any more", name,
                       MAX_FAILURES_IN_A_ROW)  # fmt: skip
        return False


class CallbackList:
    """Calls every callback in the order in which they were added.

    errors: whether an error ends the run. One that does surfaces with the hook's name, after the other callbacks have
    been called.
    """

    def __init__(self, callbacks: Iterable[LoopCallback] = (), *, errors: CallbackErrors | None = None) -> None:
        self._callbacks = list(callbacks)
        self._errors = errors if errors is not None else SurfacingErrors()

    @property
    def health(self) -> Mapping[str, int]:
        """Errors that were tolerated, counted."""
        return self._errors.health

    def add(self, callback: LoopCallback) -> None:
        """Append a callback; it is called from the next hook on."""
        self._callbacks.append(callback)

    def holds(self, callback: LoopCallback) -> bool:
        """True when this very callback is one of them."""
        return any(callback is known for known in self._callbacks)

    def state_dict(self) -> dict[str, Any]:
        """The state of every callback, in their order."""
        return {"callbacks": [state or {} for state in self.call("state_dict")]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue every callback; those added since have nothing to load."""
        for callback, own in zip(self._callbacks, state["callbacks"], strict=False):
            callback.load_state_dict(own)

    def call(self, hook: str, *arguments: Any) -> list[Any]:
        """Call ``hook`` of each callback; returns what they returned, None for one that failed.

        Errors that surface: the first one, with a note of the others.
        """
        surfacing: list[Exception] = []
        returned = [self._call_one(callback, hook, arguments, surfacing) for callback in tuple(self._callbacks)]
        if surfacing:
            first, *others = surfacing
            for other in others:
                first.add_note(f"and {type(other).__name__}: {other}, {other.__notes__[-1]}")
            raise first
        return returned

    def _call_one(
        self, callback: LoopCallback, hook: str, arguments: tuple[Any, ...], surfacing: list[Exception]
    ) -> Any:
        if self._errors.is_disabled(callback, hook):
            return None
        try:
            returned = getattr(callback, hook)(*arguments)
        except Exception as error:  # noqa: BLE001 - user code may raise anything; it is counted or raised by ``call``
            error.add_note(f"raised by the callback {type(callback).__name__}.{hook}")
            if self._errors.failed(callback, hook, error):
                surfacing.append(error)
            return None
        self._errors.succeeded(callback, hook)
        return returned
