"""TrialOrchestrator: many short, independent runs find the hyperparameters for the long one (by Optuna)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.rng import checked_seed, fresh_seed
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import CheckpointError, ConfigError
from tensor_optix.search.param_space import ParamSpace, SearchSpace, require_functions
from tensor_optix.search.study import OnTrial, StudyPlan, best_trial, n_finished, optuna_module, queue_first, work
from tensor_optix.search.trial import TrialPlan
from tensor_optix.search.workers import InThisProcess, Processes, Workers
from tensor_optix.storage import FileSystem

if TYPE_CHECKING:
    import optuna

OWN_KEYWORDS = (
    "agent", "pipeline", "val_pipeline", "max_steps", "seed", "resume", "checkpoint_score_fn", "registry",
    "agent_factory", "pipeline_factory", "val_pipeline_factory", "param_space", "population",
)  # fmt: skip


class TrialOrchestrator:
    """Searches hyperparameters over ``n_trials`` independent runs of ``trial_steps`` env steps each.

    agent_factory: hyperparameters -> a new agent. pipeline_factory: () -> a new pipeline.
    param_space: name -> ("float" | "log_float" | "int" | "log_int", low, high) or ("categorical", value, ...), taken
        literally; None: what the agent declares as tunable, discounts by their distance from 1.
    direction: "maximize" or "minimize". The agent's own values are tried first, then what it declares as its
        ``default_portfolio``: in all at most half of the trials.
    n_startup_trials: random trials before TPE takes over. pruner_warmup_steps: windows before a trial may be pruned
        for lying below the median; pruner_interval: windows between two looks.
    rloptimizer_kwargs: further keywords of every trial's RLOptimizer; ``checkpoint_dir`` is the parent of the
        trials' own directories. val_pipeline_factory, checkpoint_score_fn: as in RLOptimizer.
    study_name, storage: of the Optuna study; default: SQLite in ``<checkpoint_dir>/search/study.db``. A study that
        exists is continued: ``n_trials`` counts all its finished trials.
    n_jobs: worker processes (1: this process). workers: another way to run the trials.
    seed: root of all randomness; every trial trains with a seed of its own.
    on_trial: told how each trial has ended (a ``TrialNews``), in the process that ran it.

    Raises MissingDependency without Optuna, ConfigError for arguments that cannot work. Errors of the factories
    surface at once.
    """

    def __init__(
        self,
        agent_factory: Callable[[dict[str, Any]], Any],
        pipeline_factory: Callable[[], BasePipeline],
        param_space: ParamSpace | None = None,
        n_trials: int = 20,
        trial_steps: int = 50_000,
        direction: str = "maximize",
        n_startup_trials: int = 10,
        pruner_warmup_steps: int = 5,
        pruner_interval: int = 1,
        optuna_verbosity: int | None = None,
        rloptimizer_kwargs: dict[str, Any] | None = None,
        val_pipeline_factory: Callable[[], BasePipeline] | None = None,
        checkpoint_score_fn: Callable[[BaseAgent], float] | None = None,
        study_name: str | None = None,
        storage: str | None = None,
        *,
        n_jobs: int = 1,
        workers: Workers | None = None,
        seed: int | None = None,
        on_trial: OnTrial | None = None,
    ) -> None:
        optuna = optuna_module()
        optuna.logging.set_verbosity(optuna.logging.WARNING if optuna_verbosity is None else optuna_verbosity)
        require_functions(agent_factory=agent_factory, pipeline_factory=pipeline_factory)
        optional = {"val_pipeline_factory": val_pipeline_factory, "checkpoint_score_fn": checkpoint_score_fn}
        require_functions(**{name: function for name, function in optional.items() if function is not None})
        _check(n_trials=n_trials, trial_steps=trial_steps, n_startup_trials=n_startup_trials, n_jobs=n_jobs,
               pruner_interval=pruner_interval)  # fmt: skip
        _check(at_least=0, pruner_warmup_steps=pruner_warmup_steps)
        if direction not in ("maximize", "minimize"):
            raise ConfigError(f"direction must be 'maximize' or 'minimize', got {direction!r}")
        settings = dict(rloptimizer_kwargs or {})
        if taken := [name for name in OWN_KEYWORDS if name in settings]:
            raise ConfigError(f"rloptimizer_kwargs cannot set {', '.join(taken)}: every trial gets its own")
        parent = str(Path(settings.pop("checkpoint_dir", "./checkpoints")) / "search")
        self._space = SearchSpace.given(param_space) if param_space is not None else None
        self._trials = TrialPlan(
            agent_factory, pipeline_factory, trial_steps, parent, val_pipeline_factory, checkpoint_score_fn, settings
        )
        FileSystem().ensure_directory(Path(parent))
        if storage is None:
            storage = f"sqlite:///{parent}/study.db"
        self._plan = StudyPlan(
            study_name or "tensor-optix", storage, direction, n_trials, n_startup_trials, pruner_warmup_steps,
            pruner_interval, fresh_seed() if seed is None else checked_seed(seed),
        )  # fmt: skip
        self._workers = workers or (InThisProcess() if n_jobs == 1 else Processes(n_jobs))
        self._on_trial = on_trial
        self._study = self._plan.opened()

    def run(self) -> tuple[dict[str, Any], float]:
        """Search until ``n_trials`` are finished; the best hyperparameters and their score.

        Raises ConfigError when no trial had a score.
        """
        space = self._searched()
        self._workers.run(partial(work, self._plan, self._trials, space, self._on_trial))
        if self.best_params is None or self.best_score is None:
            raise ConfigError(
                f"none of {n_finished(self._study)} trials gave a score: let trials be longer "
                f"(trial_steps={self._trials.max_steps} now), or look at the evaluator"
            )
        return self.best_params, self.best_score

    @property
    def study(self) -> optuna.Study:
        """The Optuna study, for its plots and its dashboard."""
        return self._study

    @property
    def best_params(self) -> dict[str, Any] | None:
        """Hyperparameters of the best completed trial; None before there is one."""
        best = best_trial(self._study)
        return dict(best.user_attrs["params"]) if best else None

    @property
    def best_score(self) -> float | None:
        """Mean score over the last fifth of the best trial, in the evaluator's unit; None before there is one.

        Trials are ranked by ``study.best_value``: 0.7 of this and 0.3 of the mean over the whole trial.
        """
        best = best_trial(self._study)
        return float(best.user_attrs["score"]) if best else None

    @property
    def best_run_dir(self) -> Path | None:
        """The run directory of the best completed trial; None before there is one."""
        best = best_trial(self._study)
        return Path(best.user_attrs["run_dir"]) if best else None

    def warm_start(self, agent: Any) -> None:
        """Load the weights of the best trial's best policy into ``agent``. Raises ConfigError before there is one."""
        if (run_dir := self.best_run_dir) is None:
            raise ConfigError("no trial has been completed yet: there is nothing to start from")
        adopted = as_agent(agent)
        hyperparams = HyperparamSet(dict(adopted.get_hyperparams().params))
        if CheckpointRegistry(run_dir).load_best(adopted, with_hyperparams=False) is None:
            raise CheckpointError(run_dir, "holds no policy to start from")
        adopted.set_hyperparams(hyperparams)

    def trials_dataframe(self) -> Any:
        """All trials as a pandas DataFrame."""
        return self._study.trials_dataframe()

    def _searched(self) -> SearchSpace:
        """The space; what the agent declares also says what is tried first, in the order of queueing."""
        probe = as_agent(self._trials.agent_factory(self._space.middle if self._space else {}))
        own = dict(probe.get_hyperparams().params)  # with the middle of a given space in it, which is nobody's choice
        defaults = (probe.param_space.defaults if probe.param_space else {}) if self._space else own
        space = self._space or SearchSpace.declared(probe.param_space).holding(own)
        self._plan.claim(self._study, space)
        for params in (defaults, *probe.default_portfolio)[: max(1, self._plan.n_trials // 2)]:
            queue_first(self._study, space, params)
        probe.teardown()
        return space


def _check(at_least: int = 1, **counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise ConfigError(f"{name} must be a whole number of at least {at_least}, got {value!r}")
