"""What does a run consist of that builds its parts itself: a search first, one agent then, or a population?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.no_tuning import NoTuning
from tensor_optix.population.settings import Population

WINDOWS_WITHOUT_BUDGET = 30  # of a trial, where the long run has no budget to take a share of
USUAL_WINDOW = 200  # env steps, where a pipeline does not say

AgentFactory = Callable[[dict[str, Any]], Any]
PipelineFactory = Callable[[], BasePipeline]


class SearchStopped(Exception):
    """``stop()`` was called from outside while trials were running."""


@dataclass(frozen=True)
class Factories:
    """What builds the parts of the trials and of the final run.

    Raises ConfigError for a combination that cannot work.
    """

    agent: AgentFactory
    pipeline: PipelineFactory
    param_space: Mapping[str, tuple[Any, ...]] | None = None
    n_trials: int = 20
    trial_steps_fraction: float = 0.15
    val_pipeline: PipelineFactory | None = None
    trial_agent: AgentFactory | None = None
    population: Population | None = None
    warm_start: bool = False

    def __post_init__(self) -> None:
        required = {"agent_factory": self.agent, "pipeline_factory": self.pipeline}
        optional = {"val_pipeline_factory": self.val_pipeline, "trial_agent_factory": self.trial_agent}
        for name, factory in (required | optional).items():
            if not callable(factory) and (name in required or factory is not None):
                raise ConfigError(f"{name} must be a function, got {factory!r}")
        if not isinstance(self.param_space, Mapping | None):
            raise ConfigError(f"param_space must be a dict, name: (kind, low, high), got {self.param_space!r}")
        if self.warm_start and (self.population is not None or self.param_space is None):
            raise ConfigError("warm_start=True needs a param_space, for a search to start from, and no population")
        fraction = self.trial_steps_fraction
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise ConfigError(f"trial_steps_fraction must be above 0 and at most 1, got {self.trial_steps_fraction!r}")

    def parts(self, pipeline: BasePipeline, params: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """What the final run is made of, by the names of RLOptimizer's keywords, over what was ``given`` for it."""
        given = dict(given)
        if given["val_pipeline"] is None and self.val_pipeline is not None:
            given["val_pipeline"] = self.val_pipeline()
        if self.population is None:
            return {**given, "agent": self.agent(params), "pipeline": pipeline}
        from tensor_optix.population.parts import population_parts  # which needs RLOptimizer itself

        made = population_parts(
            self.population, lambda: self.agent(dict(params)), self.pipeline, pipeline,
            evaluator=given["evaluator"], checkpoint_score_fn=given["checkpoint_score_fn"],
            max_steps=LoopConfig.from_settings(given["settings"]).max_steps,
        )  # fmt: skip
        return {**given, "agent": made.agent, "pipeline": made.pipeline, "evaluator": made.evaluator,
                "optimizer": NoTuning(), "checkpoint_score_fn": made.checkpoint_score_fn}  # fmt: skip

    def trial_steps(self, config: LoopConfig, pipeline: BasePipeline) -> int:
        """Env steps of one trial: a share of the final run's budget."""
        window = pipeline.window_steps or USUAL_WINDOW
        if config.max_steps is not None:
            return max(1, int(self.trial_steps_fraction * config.max_steps))
        if config.max_episodes is not None:
            return max(1, int(self.trial_steps_fraction * config.max_episodes * window))
        return WINDOWS_WITHOUT_BUDGET * window


class Search(LoopCallback):
    """The trials of one RLOptimizer: which callbacks belong to the running one, and what ends it."""

    def __init__(self, factories: Factories) -> None:
        self._factories = factories
        self._callbacks: list[LoopCallback] = []
        self._is_building = False
        self._thread: int | None = None
        self._is_stopped = False
        self._stop_trial: Callable[[], None] = lambda: None
        self._warm_start: Callable[[Any], None] = lambda agent: None

    def attached(self, registry: CheckpointRegistry, stop: Callable[[], None]) -> None:
        self._stop_trial = stop

    def takes(self, callback: LoopCallback) -> bool:
        """True when a trial's factory is running: the callback belongs to that trial."""
        if self._is_building and not any(callback is known for known in self._callbacks):
            self._callbacks.append(callback)
        return self._is_building

    def stop(self) -> None:
        """From the trial's own thread (a callback of its): that trial ends. From another one: the search does."""
        self._is_stopped = self._is_stopped or threading.get_ident() != self._thread
        self._stop_trial()

    @property
    def is_running(self) -> bool:
        """True while trials are."""
        return self._thread is not None

    def best_params(self, trial_steps: int, **keywords: Any) -> dict[str, Any]:
        """Search, and return the winner's hyperparameters. Raises SearchStopped."""
        from tensor_optix.orchestrator import TrialOrchestrator  # which needs RLOptimizer itself

        factories = self._factories
        settings = {**keywords.pop("settings"), "callbacks": self._callbacks}
        self._thread = threading.get_ident()
        try:
            orchestrator = TrialOrchestrator(
                self._trial_agent, factories.pipeline, dict(factories.param_space or {}), factories.n_trials,
                trial_steps, rloptimizer_kwargs=settings, val_pipeline_factory=factories.val_pipeline, **keywords,
            )  # fmt: skip
            best, _ = orchestrator.run()
            self._warm_start = orchestrator.warm_start
        finally:
            self._thread = None
        return best

    def warm_start(self, agent: Any) -> None:
        """Give ``agent`` the weights of the best trial's best policy; nothing where nothing was searched."""
        self._warm_start(agent)

    def _trial_agent(self, params: dict[str, Any]) -> Any:
        if self._is_stopped:
            raise SearchStopped
        self._callbacks[:] = [self]
        self._is_building = True
        try:
            return (self._factories.trial_agent or self._factories.agent)(params)
        finally:
            self._is_building = False
