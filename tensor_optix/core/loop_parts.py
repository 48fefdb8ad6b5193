"""What a loop is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.callbacks import CallbackList
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.convergence import ConvergenceRule
from tensor_optix.core.outside_scores import ScoreFn
from tensor_optix.core.reporting import Reporter
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.run_files import RunFiles


@dataclass(frozen=True)
class LoopParts:
    """The collaborators of one loop. is_resuming: its run is on disk already and goes on there.

    val_pipeline: held-out data; val_rule: judges the scores on it. checkpoint_score_fn: what policies are chosen by.
    """

    agent: BaseAgent
    pipeline: BasePipeline
    evaluator: BaseEvaluator
    tuner: BaseOptimizer
    rule: ConvergenceRule
    registry: CheckpointRegistry
    streams: RandomStreams
    files: RunFiles
    callbacks: CallbackList = field(default_factory=CallbackList)
    reporters: tuple[Reporter, ...] = ()
    clock: Callable[[], float] = time.monotonic
    is_resuming: bool = False
    val_pipeline: BasePipeline | None = None
    val_rule: ConvergenceRule | None = None
    checkpoint_score_fn: ScoreFn | None = None
