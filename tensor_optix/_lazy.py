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
        "tensor_optix.core.backoff_scheduler": "BackoffScheduler",
        "tensor_optix.core.base_agent": "BaseAgent",
        "tensor_optix.core.base_evaluator": "BaseEvaluator",
        "tensor_optix.core.base_optimizer": "BaseOptimizer",
        "tensor_optix.core.base_pipeline": "BasePipeline",
        "tensor_optix.core.callbacks": "Continuation LoopCallback RunView",
        "tensor_optix.core.checkpoint_registry": "CheckpointRegistry",
        "tensor_optix.core.ensemble_agent": "EnsembleAgent",
        "tensor_optix.core.meta_controller": "MetaAction MetaController",
        "tensor_optix.core.policy_manager": "PolicyManager PolicyManagerCallback",
        "tensor_optix.core.regime_detector": "RegimeDetector",
        "tensor_optix.core.convergence": "ConvergenceRule Judgement Tick",
        "tensor_optix.core.evidence": "EvidenceRule",
        "tensor_optix.core.patience": "PatienceRule",
        "tensor_optix.core.diagnostic_controller": "DiagnosticController",
        "tensor_optix.core.evaluators": "ReturnEvaluator",
        "tensor_optix.core.hyperparams": "LinearSchedule Param Space",
        "tensor_optix.core.loop_config": "LoopConfig",
        "tensor_optix.core.loop_controller": "LoopController",
        "tensor_optix.core.normalizers": "ObsNormalizer RewardNormalizer RunningMeanStd",
        "tensor_optix.core.replay_buffer": "PrioritizedReplayBuffer ReplayBuffer",
        "tensor_optix.core.trajectory_buffer": "compute_gae make_minibatches",
        "tensor_optix.exploration.rnd": "RNDPipeline",
        "tensor_optix.algorithms.torch_ppo": "TorchPPOAgent",
        "tensor_optix.algorithms.torch_ppo_continuous": "TorchGaussianPPOAgent",
        "tensor_optix.algorithms.torch_dqn": "TorchDQNAgent",
        "tensor_optix.algorithms.torch_sac": "TorchSACAgent",
        "tensor_optix.adapters.pytorch.torch_agent": "TorchAgent",
        "tensor_optix.adapters.pytorch.torch_evaluator": "TorchEvaluator",
        "tensor_optix.algorithms.tf_ppo": "TFPPOAgent",
        "tensor_optix.algorithms.tf_ppo_continuous": "TFGaussianPPOAgent",
        "tensor_optix.algorithms.tf_dqn": "TFDQNAgent",
        "tensor_optix.algorithms.tf_sac": "TFSACAgent",
        "tensor_optix.adapters.tensorflow.tf_agent": "TFAgent",
        "tensor_optix.adapters.tensorflow.tf_evaluator": "TFEvaluator",
        "tensor_optix.algorithms.flax_ppo": "FlaxPPOAgent",
        "tensor_optix.algorithms.flax_ppo_continuous": "FlaxGaussianPPOAgent",
        "tensor_optix.algorithms.flax_dqn": "FlaxDQNAgent",
        "tensor_optix.algorithms.flax_sac": "FlaxSACAgent",
        "tensor_optix.adapters.jax.flax_agent": "FlaxAgent",
        "tensor_optix.adapters.jax.flax_evaluator": "FlaxEvaluator",
        "tensor_optix.callbacks.report": "ReportWriter",
        "tensor_optix.callbacks.tensorboard": "TensorBoardLogger",
        "tensor_optix.callbacks.wandb": "WandbLogger",
        "tensor_optix.callbacks.mlflow": "MLflowLogger",
        "tensor_optix.callbacks.progress": "ProgressBar",
        "tensor_optix.callbacks.video": "VideoRecorder",
        "tensor_optix.pipeline.episode_film": "EpisodeFilm",
        "tensor_optix.export.exporting": "export_policy",
        "tensor_optix.export.numpy_policy": "NumpyPolicy",
        "tensor_optix.optimizer": "RLOptimizer",
        "tensor_optix.orchestrator": "TrialOrchestrator",
        "tensor_optix.population.settings": "Population",
        "tensor_optix.optimizers.no_tuning": "NoTuning",
        "tensor_optix.optimizers.spsa_optimizer": "SPSAOptimizer",
        "tensor_optix.optimizers.backoff_optimizer": "BackoffOptimizer",
        "tensor_optix.optimizers.momentum_optimizer": "MomentumOptimizer",
        "tensor_optix.optimizers.pbt_optimizer": "PBTOptimizer",
        "tensor_optix.pipeline.batch_pipeline": "BatchPipeline",
        "tensor_optix.pipeline.live_pipeline": "LivePipeline",
        "tensor_optix.pipeline.live": "CsvLines FileSource JsonLines LiveSource StdinSource TcpSource WebSocketSource",
        "tensor_optix.pipeline.walk_forward": "Fold walk_forward",
        "tensor_optix.pipeline.vector_pipeline": "VectorBatchPipeline",
        "tensor_optix.quick": "Experiment Plan Policy Run load make_agent plan train",
        "tensor_optix.testing.check_agent": "check_agent",
        "tensor_optix.testing.check_env_pipeline": "check_env_pipeline",
        "tensor_optix.errors": (
            "AgentError ArchitectureMismatch CheckpointError ConfigError EnvError EnvHangs EnvWorkerDied "
            "EnvWorkerHung EnvWorkerRaised LiveFeedError MissingDependency NonFiniteError TensorOptixError TrialError"
        ),
    }.items()
    for name in names.split()
}

_EXTRA_OF = {
    "torch": "torch", "tensorflow": "tf", "jax": "jax", "flax": "jax", "optax": "jax", "matplotlib": "report",
    "websockets": "live", "optuna": "search", "onnx": "onnx", "tensorboardX": "tensorboard", "wandb": "wandb",
    "mlflow": "mlflow", "PIL": "video",
}  # fmt: skip


def load(name: str) -> Any:
    """The object behind a public name; without its framework, a stand-in that refuses to be used."""
    try:
        return getattr(importlib.import_module(PUBLIC_NAMES[name]), name)
    except MissingDependency as error:
        return _unavailable(name, f"{name}: {error}")


def names_below(package: str) -> list[str]:
    """The public names that live in ``package``."""
    return [name for name, module in PUBLIC_NAMES.items() if module.startswith(f"{package}.")]


def missing(library: str) -> MissingDependency:
    """What to raise when ``library`` cannot be imported."""
    return MissingDependency(
        f"{library} is needed here and is not installed: {install_hint(_EXTRA_OF[library])}", name=library
    )


def _unavailable(name: str, message: str) -> type:
    def refuse(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise MissingDependency(message)

    return type(name, (), {"__new__": refuse, "__doc__": message})
