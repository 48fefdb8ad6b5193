"""RLOptimizer: keywords in, a loop out. It checks and assembles; it decides nothing."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent, given_object
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.callbacks import CallbackList, LoopCallback, ToleratedErrors
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.convergence_choice import rule_for, validation_rule_for
from tensor_optix.core.cooling import can_be_cooled
from tensor_optix.core.evaluators import ReturnEvaluator
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.outside_scores import ScoreFn
from tensor_optix.core.policy.callback import PolicyManagerCallback
from tensor_optix.core.reporting import LineReporter, LogFileReporter, Reporter, Reporters
from tensor_optix.core.resume import fingerprint, resumable_run, resume_level
from tensor_optix.core.rng import RandomStreams, checked_seed, fresh_seed
from tensor_optix.core.run_files import RunFiles
from tensor_optix.core.types import HyperparamSet, LoopState, PolicySnapshot, RunResult
from tensor_optix.errors import ConfigError
from tensor_optix.factory_mode import AgentFactory, Factories, PipelineFactory, Search, SearchStopped
from tensor_optix.optimizers.default import default_tuner
from tensor_optix.population.agent import PopulationAgent
from tensor_optix.population.settings import Population, as_population
from tensor_optix.storage import FileSystem, RunDirectory, new_run_id

logger = logging.getLogger(__name__)


class RLOptimizer:
    """Trains an agent until nothing more is to be gained, and leaves the best policy in it.

    agent: a BaseAgent, or any object with its six methods. Or, to search hyperparameters first:
    agent_factory, pipeline_factory: hyperparameters -> a new agent, () -> a new pipeline. With ``param_space`` (see
        TrialOrchestrator) ``run`` begins with ``n_trials`` short runs, each ``trial_steps_fraction`` of the budget,
        and goes on with the winner's hyperparameters; without it, the factory gets {}. trial_agent_factory: for the
        trials only. val_pipeline_factory: () -> held-out data, for the trials and the final run. warm_start: begin
        the final run with the best trial's best policy.
    population: with the two factories: so many agents (or a ``Population``) learn side by side, on processes; the
        worst take over from the best now and then. A window of the loop is then an interval of all of them.
    pipeline: where experience comes from; the agent is attached to it.
    evaluator: scores policies (default: mean return of finished env episodes).
    optimizer: tunes hyperparameters while training goes on (default: SPSAOptimizer; for agents that learn from a
        replay NoTuning(), which leaves them alone, because there probes cost more than they bring).
    val_pipeline: held-out data: the agent acts there and never learns; what policies are chosen by from then on.
    checkpoint_score_fn: (agent) -> score; policies are chosen by it instead of by any score of the loop's own.
    callbacks: LoopCallback objects; more with ``add_callback``. tolerate_callback_errors: log and count their errors
        instead of ending the run; a hook that fails three times in a row is not called again.
    checkpoint_dir: parent directory; this run writes to ``<checkpoint_dir>/<run_id>/``, other runs are never read.
    max_snapshots: how many of the best policies to keep on disk.
    registry: where snapshots go, if not into the run's own directory; what it holds takes part in the choice of the
        best.
    resume: True continues the newest unfinished run below checkpoint_dir that was made with the same parts; a path
        continues that run. It goes on where its last commit was, bit for bit where every part gives its state.
    seed: root of all randomness of the run (default: drawn, and recorded in the result).
    verbose: print a line at every evaluation point. verbose_log_file: add these lines to a file.
    reporters: other ways to be told what happens.
    details: JSON values to record with the run (for example how to build its networks again).
    settings: the fields of LoopConfig (max_episodes, max_steps, max_time, dormant_threshold, ...).

    Raises ConfigError for settings or parts that cannot work.
    """

    def __init__(
        self,
        agent: Any = None,
        pipeline: BasePipeline | None = None,
        evaluator: BaseEvaluator | None = None,
        optimizer: BaseOptimizer | None = None,
        *,
        val_pipeline: BasePipeline | None = None,
        checkpoint_score_fn: ScoreFn | None = None,
        callbacks: Iterable[LoopCallback] | None = None,
        tolerate_callback_errors: bool = False,
        checkpoint_dir: str | Path = "./checkpoints",
        max_snapshots: int = 10,
        registry: CheckpointRegistry | None = None,
        seed: int | None = None,
        resume: bool | str | Path = False,
        verbose: bool = False,
        verbose_log_file: str | Path | None = None,
        reporters: Iterable[Reporter] = (),
        details: dict[str, Any] | None = None,
        agent_factory: AgentFactory | None = None,
        pipeline_factory: PipelineFactory | None = None,
        param_space: Mapping[str, tuple[Any, ...]] | None = None,
        n_trials: int = 20,
        trial_steps_fraction: float = 0.15,
        val_pipeline_factory: PipelineFactory | None = None,
        trial_agent_factory: AgentFactory | None = None,
        population: int | Population | None = None,
        warm_start: bool = False,
        **settings: Any,
    ) -> None:
        callbacks = tuple(callbacks or ())
        _check_part("evaluator", evaluator, BaseEvaluator)
        _check_part("optimizer", optimizer, BaseOptimizer)
        self._search: Search | None = None
        self._loop: LoopController | None = None
        self._late_callbacks: list[LoopCallback] = []
        self._is_stopped = False
        self._given: dict[str, Any] = {
            "evaluator": evaluator, "optimizer": optimizer, "val_pipeline": val_pipeline,
            "checkpoint_score_fn": checkpoint_score_fn, "callbacks": callbacks,
            "tolerate_callback_errors": tolerate_callback_errors, "checkpoint_dir": checkpoint_dir,
            "max_snapshots": max_snapshots, "registry": registry, "seed": seed, "resume": resume, "verbose": verbose,
            "verbose_log_file": verbose_log_file,
            "reporters": reporters, "details": details, "settings": settings,
        }  # fmt: skip
        if agent_factory is None:
            if pipeline_factory is not None or param_space is not None or population is not None:
                raise ConfigError("pipeline_factory, param_space and population need an agent_factory")
            self._assemble(agent, pipeline, **self._given)
            return
        if agent is not None or (pipeline_factory is None) == (pipeline is None):
            raise ConfigError(
                "with an agent_factory give no agent, and either a pipeline_factory or, where nothing is searched, "
                "a pipeline"
            )
        if (param_space is not None or population is not None) and pipeline_factory is None:
            name, who = ("param_space", "trial") if population is None else ("population", "member")
            raise ConfigError(f"{name} needs a pipeline_factory: every {who} has a pipeline of its own")
        if population is not None and optimizer is not None:
            raise ConfigError("a population tunes by itself: give population without optimizer")
        if population is not None:
            _require_no_policy_manager(callbacks)
        LoopConfig.from_settings(settings)  # a mistake is told now
        self._factories = Factories(
            agent_factory, pipeline_factory or (lambda: _given_pipeline(pipeline)), param_space, n_trials,
            trial_steps_fraction, val_pipeline_factory, trial_agent_factory,
            None if population is None else as_population(population), warm_start,
        )  # fmt: skip
        self._search = Search(self._factories)

    def _assemble(
        self,
        agent: Any,
        pipeline: BasePipeline | None,
        *,
        evaluator: BaseEvaluator | None,
        optimizer: BaseOptimizer | None,
        val_pipeline: BasePipeline | None,
        checkpoint_score_fn: ScoreFn | None,
        callbacks: Iterable[LoopCallback] | None,
        tolerate_callback_errors: bool,
        checkpoint_dir: str | Path,
        max_snapshots: int,
        registry: CheckpointRegistry | None,
        seed: int | None,
        resume: bool | str | Path,
        verbose: bool,
        verbose_log_file: str | Path | None,
        reporters: Iterable[Reporter],
        details: dict[str, Any] | None,
        settings: dict[str, Any],
    ) -> None:
        if agent is None or pipeline is None:
            raise ConfigError(f"RLOptimizer needs {'an agent' if agent is None else 'a pipeline'}")
        if not isinstance(pipeline, BasePipeline):
            raise ConfigError(f"pipeline must be a BasePipeline, got {type(pipeline).__name__}")
        if val_pipeline is not None and (val_pipeline is pipeline or not isinstance(val_pipeline, BasePipeline)):
            raise ConfigError("val_pipeline must be a BasePipeline of its own, not the one that is trained on")
        if val_pipeline is not None:
            _require_separate(pipeline, val_pipeline)
        if checkpoint_score_fn is not None and not callable(checkpoint_score_fn):
            raise ConfigError(f"checkpoint_score_fn must be a function of the agent, got {checkpoint_score_fn!r}")
        adopted = as_agent(agent)
        _check_hyperparams(adopted)
        wanted = LoopConfig.from_settings(settings)
        config, self._wanted = wanted.adapted_to(adopted), wanted
        if val_pipeline is not None and config.val_episodes == 0:
            raise ConfigError("val_episodes=0 leaves a val_pipeline nothing to do: leave the pipeline out")
        evaluator, tuner = evaluator or ReturnEvaluator(), optimizer or default_tuner(adopted)
        rule = rule_for(config, is_patient=wanted.chooses_patience, cools_down=can_be_cooled(adopted))
        pipeline.set_agent(adopted)
        _warn_of_small_windows(adopted, pipeline)
        kinds = {"agent": adopted, "evaluator": evaluator, "tuner": tuner, "rule": rule}
        self._fingerprint = fingerprint(kinds, adopted, pipeline)
        if resume:
            where = Path(checkpoint_dir if resume is True else resume)
            run = resumable_run(where, self._fingerprint, is_run=resume is not True)
            files, seed = RunFiles.existing(run), _seed_of(run, seed)
        else:
            files = RunFiles(checkpoint_dir, new_run_id(datetime.now(), secrets.token_hex(2)), lambda: self.plan)
        streams = RandomStreams(fresh_seed() if seed is None else checked_seed(seed))
        self.registry = registry or CheckpointRegistry(files.path, max_snapshots, run_id=files.run_id)
        self.run_dir = files.path
        self._details = details or {}
        self._config = config
        given = tuple(callbacks or ())
        self._reporting = Reporters(callback for callback in given if isinstance(callback, Reporter))
        self._parts = LoopParts(
            agent=adopted,
            pipeline=pipeline,
            evaluator=evaluator,
            tuner=tuner,
            rule=rule,
            registry=self.registry,
            streams=streams,
            files=files,
            callbacks=CallbackList(given, errors=ToleratedErrors() if tolerate_callback_errors else None),
            reporters=(*_lines(verbose, verbose_log_file), *reporters, self._reporting),
            is_resuming=bool(resume),
            val_pipeline=val_pipeline,
            val_rule=validation_rule_for(config, is_patient=wanted.chooses_patience) if val_pipeline else None,
            checkpoint_score_fn=checkpoint_score_fn,
        )
        self._loop = LoopController(self._parts, config)

    def run(self) -> None:
        """Train until the evidence, a budget or ``stop()`` ends it; ``result`` says which, and how good it is.

        A second call goes on with a fresh budget, the same history and the same best policy.
        """
        if self.build():
            self._controller.run()

    def build(self) -> bool:
        """With an agent_factory: do now what ``run`` would begin with: search, then make the parts of the final run.

        False when ``stop()`` came in between. Does nothing where the parts are there already.
        """
        return self._loop is not None or self._build()

    def _build(self) -> bool:
        factories, given, search = self._factories, self._given, self._search
        assert search is not None, "without a search the loop is there from the beginning"
        if self._is_stopped:
            self._is_stopped = False
            return False
        pipeline, params = factories.pipeline(), {}
        if factories.param_space is not None:
            steps = factories.trial_steps(LoopConfig.from_settings(given["settings"]), pipeline)
            shared = {k: v for k, v in given["settings"].items() if k not in _BUDGETS}
            shared |= {"evaluator": given["evaluator"], "checkpoint_dir": given["checkpoint_dir"]}
            try:
                params = search.best_params(
                    steps, settings=shared, checkpoint_score_fn=given["checkpoint_score_fn"], seed=given["seed"]
                )
            except SearchStopped:
                return False
        made = factories.parts(pipeline, params, given)
        if factories.warm_start:
            search.warm_start(made["agent"])
        self._assemble(**{**made, "callbacks": [*(given["callbacks"] or ()), *self._late_callbacks]})
        return True

    @property
    def agent(self) -> Any:
        """The agent that holds the best policy after ``run()``; with an agent_factory None before, and with a
        population a plain agent, as the factory makes them."""
        agent = self._parts.agent if self._loop else None
        return agent.lead if isinstance(agent, PopulationAgent) else agent and given_object(agent)

    @property
    def _controller(self) -> LoopController:
        if self._loop is None:
            raise ConfigError("with an agent_factory the loop exists only once run() has built it")
        return self._loop

    def stop(self) -> None:
        """End the run after the current window; from any thread or callback."""
        if self._loop is not None:
            self._loop.stop()
        elif self._search is not None and self._search.is_running:
            self._search.stop()
        else:
            self._is_stopped = True

    def add_callback(self, cb: LoopCallback) -> None:
        """Append a callback (which, if it is a Reporter as well, is told what those are told).

        While a trial's factory is running it belongs to that trial. A callback that is there already stays there once.
        """
        if self._search is not None and self._factories.population is not None:
            _require_no_policy_manager([cb])
        if self._loop is not None:
            if isinstance(cb, Reporter):
                self._reporting.add(cb)
            self._loop.add_callback(cb)
        elif self._search is None or not self._search.takes(cb):
            self._late_callbacks += [] if any(cb is known for known in self._late_callbacks) else [cb]

    @property
    def result(self) -> RunResult | None:
        """How the last run ended; None before, and after a run that failed."""
        return self._loop.result if self._loop else None

    @property
    def state(self) -> LoopState:
        """ACTIVE, COOLING or DORMANT, now or when the last run ended."""
        return self._loop.state if self._loop else LoopState.ACTIVE

    @property
    def best_snapshot(self) -> PolicySnapshot | None:
        """The best policy committed so far; None before the first score."""
        return self._loop.best_snapshot if self._loop else None

    @property
    def plan(self) -> dict[str, Any]:
        """What this run is: seed, parts, settings and hyperparameters, as JSON values."""
        parts = self._parts
        return {
            "seed": parts.streams.seed,
            "agent": type(parts.agent).__name__,
            "environment": parts.pipeline.description,
            "rule": type(parts.rule).__name__,
            "cools_down": can_be_cooled(parts.agent),
            "settings": _settings_of(self._wanted),
            "adapted_settings": _settings_of(self._config),  # with the agent's own defaults: what the rule goes by
            "hyperparams": dict(parts.agent.get_hyperparams().params),
            "details": self._details,
            "fingerprint": self._fingerprint,
            "resume": dataclasses.asdict(resume_level(parts.agent, parts.pipeline)),
        }


def _settings_of(config: LoopConfig) -> dict[str, Any]:
    """As JSON values; a rule of the user's own is none."""
    named = config.convergence if isinstance(config.convergence, str) else None
    return {**dataclasses.asdict(dataclasses.replace(config, convergence=None)), "convergence": named}


_BUDGETS = ("max_episodes", "max_steps", "max_time", "evaluation_episodes")


def _lines(verbose: bool, log_file: str | Path | None) -> list[Reporter]:
    """Who tells the evaluation points, as lines."""
    told: list[Reporter] = [LineReporter(sys.stdout)] if verbose else []
    return [*told, *([LogFileReporter(Path(log_file), FileSystem())] if log_file is not None else [])]


def _check_part(name: str, part: Any, kind: type) -> None:
    """Now: with a search the part would be used only after all trials."""
    if part is not None and not isinstance(part, kind):
        hint = f": write {part.__name__}()" if isinstance(part, type) and issubclass(part, kind) else ""
        raise ConfigError(f"{name} must be a {kind.__name__} or None, got {part!r}{hint}")


def _require_no_policy_manager(callbacks: Iterable[LoopCallback]) -> None:
    """A variant of the best member's policy would go nowhere: the members go on with their own."""
    if any(isinstance(callback, PolicyManagerCallback) for callback in callbacks):
        raise ConfigError("a population evolves by itself: give population without the callback of a PolicyManager")


def _given_pipeline(pipeline: BasePipeline | None) -> BasePipeline:
    assert pipeline is not None
    return pipeline


def _seed_of(run: RunDirectory, given: int | None) -> int:
    """A continued run keeps its seed. Raises ConfigError when another one was asked for."""
    seed = checked_seed(run.identity.get("seed"))
    if given not in (None, seed):
        raise ConfigError(f"{run.path} was begun with seed {seed}: it cannot be continued with seed {given}")
    return seed


def _require_separate(pipeline: BasePipeline, val_pipeline: BasePipeline) -> None:
    """Raise ConfigError when both step one and the same environment object."""
    if {id(env) for env in pipeline.handed_over} & {id(env) for env in val_pipeline.handed_over}:
        raise ConfigError(
            "pipeline and val_pipeline step one and the same environment object, and would disturb each other: give "
            "each an environment of its own, or env_id=... or a factory instead"
        )


def _warn_of_small_windows(agent: BaseAgent, pipeline: BasePipeline) -> None:
    """An on-policy agent learns from a window alone: a minibatch that is larger is never filled."""
    size, steps = agent.get_hyperparams().params.get("minibatch_size"), pipeline.window_steps
    if agent.is_on_policy and isinstance(size, int) and steps is not None and steps < size:
        logger.warning("a window has %d steps, fewer than minibatch_size=%d: each epoch is one step over the whole "
                       "window; give a larger window_size or a smaller minibatch_size", steps, size)  # fmt: skip


def _check_hyperparams(agent: BaseAgent) -> None:
    """Hyperparameters are recorded with every snapshot: they must be plain values."""
    hyperparams = agent.get_hyperparams()
    if not isinstance(hyperparams, HyperparamSet):
        raise ConfigError(f"get_hyperparams must return a HyperparamSet, got {type(hyperparams).__name__}")
    for name, value in hyperparams.params.items():
        if not isinstance(value, bool | int | float | str | np.number | np.bool_ | None):
            raise ConfigError(
                f"the hyperparameter {name!r} must be a number, True, False, text or None, got {type(value).__name__}"
            )
