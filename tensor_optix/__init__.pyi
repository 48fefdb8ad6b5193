"""The public names and their modules: the one table. Type checkers and editors read it, and so does ``_lazy``."""

from tensor_optix.core.types import (
    EpisodeData as EpisodeData,
    EvalMetrics as EvalMetrics,
    FinalScore as FinalScore,
    HyperparamSet as HyperparamSet,
    LoopState as LoopState,
    PolicySnapshot as PolicySnapshot,
    RunResult as RunResult,
    StopReason as StopReason,
    TuningEvidence as TuningEvidence,
    Verdict as Verdict,
)
from tensor_optix.core.backoff_scheduler import BackoffScheduler as BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent as BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator as BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer as BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline as BasePipeline
from tensor_optix.core.callbacks import Continuation as Continuation, LoopCallback as LoopCallback, RunView as RunView
from tensor_optix.core.checkpoint_registry import CheckpointRegistry as CheckpointRegistry
from tensor_optix.core.ensemble_agent import EnsembleAgent as EnsembleAgent
from tensor_optix.core.meta_controller import MetaAction as MetaAction, MetaController as MetaController
from tensor_optix.core.policy_manager import (
    PolicyManager as PolicyManager,
    PolicyManagerCallback as PolicyManagerCallback,
)
from tensor_optix.core.regime_detector import RegimeDetector as RegimeDetector
from tensor_optix.core.convergence import ConvergenceRule as ConvergenceRule, Judgement as Judgement, Tick as Tick
from tensor_optix.core.evidence import EvidenceRule as EvidenceRule
from tensor_optix.core.patience import PatienceRule as PatienceRule
from tensor_optix.core.diagnostic_controller import DiagnosticController as DiagnosticController
from tensor_optix.core.evaluators import ReturnEvaluator as ReturnEvaluator
from tensor_optix.core.hyperparams import LinearSchedule as LinearSchedule, Param as Param, Space as Space
from tensor_optix.core.loop_config import LoopConfig as LoopConfig
from tensor_optix.core.loop_controller import LoopController as LoopController
from tensor_optix.core.normalizers import (
    ObsNormalizer as ObsNormalizer,
    RewardNormalizer as RewardNormalizer,
    RunningMeanStd as RunningMeanStd,
)
from tensor_optix.core.replay_buffer import (
    PrioritizedReplayBuffer as PrioritizedReplayBuffer,
    ReplayBuffer as ReplayBuffer,
)
from tensor_optix.core.trajectory_buffer import compute_gae as compute_gae, make_minibatches as make_minibatches
from tensor_optix.exploration.rnd import RNDPipeline as RNDPipeline
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent as TorchPPOAgent
from tensor_optix.algorithms.torch_ppo_continuous import TorchGaussianPPOAgent as TorchGaussianPPOAgent
from tensor_optix.algorithms.torch_dqn import TorchDQNAgent as TorchDQNAgent
from tensor_optix.algorithms.torch_sac import TorchSACAgent as TorchSACAgent
from tensor_optix.adapters.pytorch.torch_agent import TorchAgent as TorchAgent
from tensor_optix.adapters.pytorch.torch_evaluator import TorchEvaluator as TorchEvaluator
from tensor_optix.algorithms.tf_ppo import TFPPOAgent as TFPPOAgent
from tensor_optix.algorithms.tf_ppo_continuous import TFGaussianPPOAgent as TFGaussianPPOAgent
from tensor_optix.algorithms.tf_dqn import TFDQNAgent as TFDQNAgent
from tensor_optix.algorithms.tf_sac import TFSACAgent as TFSACAgent
from tensor_optix.adapters.tensorflow.tf_agent import TFAgent as TFAgent
from tensor_optix.adapters.tensorflow.tf_evaluator import TFEvaluator as TFEvaluator
from tensor_optix.algorithms.flax_ppo import FlaxPPOAgent as FlaxPPOAgent
from tensor_optix.algorithms.flax_ppo_continuous import FlaxGaussianPPOAgent as FlaxGaussianPPOAgent
from tensor_optix.algorithms.flax_dqn import FlaxDQNAgent as FlaxDQNAgent
from tensor_optix.algorithms.flax_sac import FlaxSACAgent as FlaxSACAgent
from tensor_optix.adapters.jax.flax_agent import FlaxAgent as FlaxAgent
from tensor_optix.adapters.jax.flax_evaluator import FlaxEvaluator as FlaxEvaluator
from tensor_optix.callbacks.report import ReportWriter as ReportWriter
from tensor_optix.callbacks.tensorboard import TensorBoardLogger as TensorBoardLogger
from tensor_optix.callbacks.wandb import WandbLogger as WandbLogger
from tensor_optix.callbacks.mlflow import MLflowLogger as MLflowLogger
from tensor_optix.callbacks.progress import ProgressBar as ProgressBar
from tensor_optix.callbacks.video import VideoRecorder as VideoRecorder
from tensor_optix.pipeline.episode_film import EpisodeFilm as EpisodeFilm
from tensor_optix.export.exporting import export_policy as export_policy
from tensor_optix.export.numpy_policy import NumpyPolicy as NumpyPolicy
from tensor_optix.optimizer import RLOptimizer as RLOptimizer
from tensor_optix.orchestrator import TrialOrchestrator as TrialOrchestrator
from tensor_optix.population.settings import Population as Population
from tensor_optix.optimizers.no_tuning import NoTuning as NoTuning
from tensor_optix.optimizers.spsa_optimizer import SPSAOptimizer as SPSAOptimizer
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer as BackoffOptimizer
from tensor_optix.optimizers.momentum_optimizer import MomentumOptimizer as MomentumOptimizer
from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer as PBTOptimizer
from tensor_optix.pipeline.batch_pipeline import BatchPipeline as BatchPipeline
from tensor_optix.pipeline.live_pipeline import LivePipeline as LivePipeline
from tensor_optix.pipeline.live import (
    CsvLines as CsvLines,
    FileSource as FileSource,
    JsonLines as JsonLines,
    LiveSource as LiveSource,
    StdinSource as StdinSource,
    TcpSource as TcpSource,
    WebSocketSource as WebSocketSource,
)
from tensor_optix.pipeline.walk_forward import Fold as Fold, walk_forward as walk_forward
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline as VectorBatchPipeline
from tensor_optix.quick import (
    Experiment as Experiment,
    Plan as Plan,
    Policy as Policy,
    Run as Run,
    load as load,
    make_agent as make_agent,
    plan as plan,
    train as train,
)
from tensor_optix.testing.check_agent import check_agent as check_agent
from tensor_optix.testing.check_env_pipeline import check_env_pipeline as check_env_pipeline
from tensor_optix.errors import (
    AgentError as AgentError,
    ArchitectureMismatch as ArchitectureMismatch,
    CheckpointError as CheckpointError,
    ConfigError as ConfigError,
    EnvError as EnvError,
    EnvHangs as EnvHangs,
    EnvWorkerDied as EnvWorkerDied,
    EnvWorkerHung as EnvWorkerHung,
    EnvWorkerRaised as EnvWorkerRaised,
    LiveFeedError as LiveFeedError,
    MissingDependency as MissingDependency,
    NonFiniteError as NonFiniteError,
    TensorOptixError as TensorOptixError,
    TrialError as TrialError,
)

__version__: str
__all__: list[str]
