"""The table of public names: each is imported from its module when it is first asked for.

``import tensor_optix`` therefore loads no framework, and every name can be imported without its framework; what
needs a missing one says so, with the line that installs it, when it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

from tensor_optix._about import install_hint
from tensor_optix.errors import MissingDependency

PUBLIC_NAMES: dict[str, str] = {
    name: module
    for module, names in {
        "tensor_optix.core.types": (
            "EpisodeData EvalMetrics FinalScore HyperparamSet LoopState PolicySnapshot RunResult StopReason "
            "TuningEvidence Verdict"
        ),
        "tensor_optix.core.base_agent": "BaseAgent",
        "tensor_optix.core.base_evaluator": "BaseEvaluator",
        "tensor_optix.core.base_optimizer": "BaseOptimizer",
        "tensor_optix.core.base_pipeline": "BasePipeline",
        "tensor_optix.core.callbacks": "Continuation LoopCallback RunView",
        "tensor_optix.core.checkpoint_registry": "CheckpointRegistry",
        "tensor_optix.core.convergence": "ConvergenceRule Judgement PatienceRule Tick",
        "tensor_optix.core.evaluators": "ReturnEvaluator",
        "tensor_optix.core.hyperparams": "Param Space",
        "tensor_optix.core.loop_config": "LoopConfig",
        "tensor_optix.core.loop_controller": "LoopController",
        "tensor_optix.core.trajectory_buffer": "compute_gae make_minibatches",
        "tensor_optix.algorithms.torch_ppo": "TorchPPOAgent",
        "tensor_optix.callbacks.report": "ReportWriter",
        "tensor_optix.optimizer": "RLOptimizer",
        "tensor_optix.optimizers.no_tuning": "NoTuning",
        "tensor_optix.pipeline.batch_pipeline": "BatchPipeline",
        "tensor_optix.quick": "make_agent",
        "tensor_optix.errors": (
            "AgentError ArchitectureMismatch CheckpointError ConfigError EnvError MissingDependency NonFiniteError "
            "TensorOptixError"
        ),
    }.items()
    for name in names.split()
}

_FRAMEWORK_OF_PREFIX = {"torch_": ("torch", "torch"), "tf_": ("tensorflow", "tf"), "flax_": ("flax", "jax")}


def load(name: str) -> Any:
    """The object behind a public name; for a missing framework, a stand-in that says so when it is used."""
    module = PUBLIC_NAMES[name]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        library, extra = _framework_of(module)
        if library is None or error.name is None or error.name.split(".")[0] != library:
            raise
        return _unavailable(name, f"{name} needs {library}, which is not installed: {install_hint(extra)}")


def _framework_of(module: str) -> tuple[str | None, str]:
    file = module.rsplit(".", 1)[-1]
    return next((entry for prefix, entry in _FRAMEWORK_OF_PREFIX.items() if file.startswith(prefix)), (None, ""))


def _unavailable(name: str, message: str) -> type:
    def refuse(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise MissingDependency(message)

    return type(name, (), {"__new__": refuse, "__doc__": message})
