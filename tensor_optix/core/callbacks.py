"""Hooks of the loop for user code, and the list that calls them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import EvalMetrics, LoopState, PolicySnapshot, RunResult


@dataclass(frozen=True)
class Continuation:
    """What a callback gives to go on after DORMANT: an agent, and the env steps it may use (None: no limit)."""

    agent: BaseAgent
    max_steps: int | None = None


@dataclass(frozen=True)
class RunView:
    """The run as a callback sees it when the loop has become DORMANT."""

    agent: BaseAgent
    best_snapshot: PolicySnapshot | None
    history: Sequence[EvalMetrics]
    env_steps: int
    windows: int


class LoopCallback:
    """Override any hook; all do nothing. Arguments are positional. ``episode_id`` is the number of the window."""

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

    def on_stop(self, result: RunResult) -> None:
        """The run's result is known; before ``on_loop_stop``."""


    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation of this callback needs, as JSON values and arrays. Default: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""


class CallbackList:
    """Calls every callback in the order in which they were added. An error surfaces with the hook's name."""

    def __init__(self, callbacks: Iterable[LoopCallback] = ()) -> None:
        self._callbacks = list(callbacks)

    def add(self, callback: LoopCallback) -> None:
        """Append a callback; it is called from the next hook on."""
        self._callbacks.append(callback)

    def state_dict(self) -> dict[str, Any]:
        """The state of every callback, in their order."""
        return {"callbacks": [callback.state_dict() for callback in self._callbacks]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue every callback; those added since have nothing to load."""
        for callback, own in zip(self._callbacks, state["callbacks"], strict=False):
            callback.load_state_dict(own)

    def call(self, hook: str, *arguments: Any) -> list[Any]:
        """Call ``hook`` of each callback; returns what they returned."""
        return [self._call_one(callback, hook, arguments) for callback in tuple(self._callbacks)]

    @staticmethod
    def _call_one(callback: LoopCallback, hook: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return getattr(callback, hook)(*arguments)
        except Exception as error:
            error.add_note(f"raised by the callback {type(callback).__name__}.{hook}")
            raise
