"""RLOptimizer: keywords in, a loop out. It checks and assembles; it decides nothing."""

from __future__ import annotations

import dataclasses
import secrets
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.callbacks import CallbackList, LoopCallback, ToleratedErrors
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.convergence_choice import rule_for
from tensor_optix.core.cooling import can_be_cooled
from tensor_optix.core.evaluators import ReturnEvaluator
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.reporting import LineReporter, Reporter
from tensor_optix.core.resume import fingerprint, resumable_run, resume_level
from tensor_optix.core.rng import RandomStreams, checked_seed, fresh_seed
from tensor_optix.core.run_files import RunFiles
from tensor_optix.core.types import HyperparamSet, LoopState, PolicySnapshot, RunResult
from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.no_tuning import NoTuning
from tensor_optix.storage import RunDirectory, new_run_id


class RLOptimizer:
    """Trains an agent until nothing more is to be gained, and leaves the best policy in it.

    agent: a BaseAgent, or any object with its six methods.
    pipeline: where experience comes from; the agent is attached to it.
    evaluator: scores policies (default: mean return of finished env episodes).
    optimizer: tunes hyperparameters while training goes on (default: none does).
    callbacks: LoopCallback objects; more with ``add_callback``. tolerate_callback_errors: log and count their errors
        instead of ending the run; a hook that fails three times in a row is not called again.
    checkpoint_dir: parent directory; this run writes to ``<checkpoint_dir>/<run_id>/``, other runs are never read.
    max_snapshots: how many of the best policies to keep on disk.
    registry: where snapshots go, if not into the run's own directory; what it holds takes part in the choice of the
        best.
    resume: True continues the newest unfinished run below checkpoint_dir that was made with the same parts; a path
        continues that run. It goes on where its last commit was, bit for bit where every part gives its state.
    seed: root of all randomness of the run (default: drawn, and recorded in the result).
    verbose: print a line at every evaluation point. reporters: other ways to be told what happens.
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
        callbacks: Iterable[LoopCallback] | None = None,
        tolerate_callback_errors: bool = False,
        checkpoint_dir: str | Path = "./checkpoints",
        max_snapshots: int = 10,
        registry: CheckpointRegistry | None = None,
        seed: int | None = None,
        resume: bool | str | Path = False,
        verbose: bool = False,
        reporters: Iterable[Reporter] = (),
        details: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if agent is None or pipeline is None:
            raise ConfigError(f"RLOptimizer needs {'an agent' if agent is None else 'a pipeline'}")
        if not isinstance(pipeline, BasePipeline):
            raise ConfigError(f"pipeline must be a BasePipeline, got {type(pipeline).__name__}")
        adopted = as_agent(agent)
        _check_hyperparams(adopted)
        wanted = LoopConfig.from_settings(settings)
        config = wanted.adapted_to(adopted)
        evaluator, tuner = evaluator or ReturnEvaluator(), optimizer or NoTuning()
        rule = rule_for(config, is_patient=wanted.chooses_patience, cools_down=can_be_cooled(adopted))
        pipeline.set_agent(adopted)
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
        self._parts = LoopParts(
            agent=adopted,
            pipeline=pipeline,
            evaluator=evaluator,
            tuner=tuner,
            rule=rule,
            registry=self.registry,
            streams=streams,
            files=files,
            callbacks=CallbackList(callbacks or (), errors=ToleratedErrors() if tolerate_callback_errors else None),
            reporters=(*([LineReporter(sys.stdout)] if verbose else ()), *reporters),
            is_resuming=bool(resume),
        )
        self._controller = LoopController(self._parts, config)

    def run(self) -> None:
        """Train until the evidence, a budget or ``stop()`` ends it; ``result`` says which, and how good it is.

        A second call goes on with a fresh budget, the same history and the same best policy.
        """
        self._controller.run()

    def stop(self) -> None:
        """End the run after the current window; from any thread or callback."""
        self._controller.stop()

    def add_callback(self, cb: LoopCallback) -> None:
        """Append a callback."""
        self._controller.add_callback(cb)

    @property
    def result(self) -> RunResult | None:
        """How the last run ended; None before, and after a run that failed."""
        return self._controller.result

    @property
    def state(self) -> LoopState:
        """ACTIVE, COOLING or DORMANT, now or when the last run ended."""
        return self._controller.state

    @property
    def best_snapshot(self) -> PolicySnapshot | None:
        """The best policy committed so far; None before the first score."""
        return self._controller.best_snapshot

    @property
    def plan(self) -> dict[str, Any]:
        """What this run is: seed, parts, settings and hyperparameters, as JSON values."""
        parts, convergence = self._parts, self._config.convergence
        settings = dataclasses.asdict(dataclasses.replace(self._config, convergence=None))
        return {
            "seed": parts.streams.seed,
            "agent": type(parts.agent).__name__,
            "environment": parts.pipeline.description,
            "rule": type(parts.rule).__name__,
            "settings": {**settings, "convergence": convergence if isinstance(convergence, str) else None},
            "hyperparams": dict(parts.agent.get_hyperparams().params),
            "details": self._details,
            "fingerprint": self._fingerprint,
            "resume": dataclasses.asdict(resume_level(parts.agent, parts.pipeline)),
        }


def _seed_of(run: RunDirectory, given: int | None) -> int:
    """A continued run keeps its seed. Raises ConfigError when another one was asked for."""
    seed = checked_seed(run.identity.get("seed"))
    if given not in (None, seed):
        raise ConfigError(f"{run.path} was begun with seed {seed}: it cannot be continued with seed {given}")
    return seed


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
