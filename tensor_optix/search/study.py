"""Optuna's study: opened or continued, its sampler and pruner, and trials until there are enough."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensor_optix._lazy import missing
from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import ConfigError
from tensor_optix.search.param_space import SearchSpace
from tensor_optix.search.trial import TrialPlan, run_trial
from tensor_optix.storage import FileSystem

if TYPE_CHECKING:
    import optuna

HEARTBEAT_SECONDS = 2
"""How often a running trial says that it is alive; one that has been silent for five times as long is tried again."""

MAX_RETRIES = 3

BEGAN = "began"
"""The attribute under which a trial that has given its first sign of life keeps its number. (A trial that is tried
again takes over the attributes of the one that died: its number tells them apart.)"""

SPACE = "space"
"""The attribute of a study that says what is searched: the kind of each hyperparameter by name."""

WORTHLESS = "worthless"
"""The attribute of a trial that has come to its end without a value. It counts and is not tried again, even if its
process dies before Optuna has booked it; a score alone says nothing: it is there just before a trial is booked."""


@dataclass(frozen=True)
class TrialNews:
    """How a trial has ended. state: "complete", "pruned" or "fail"; score and best_score: None where there is none."""

    number: int
    state: str
    score: float | None
    params: dict[str, Any]
    n_finished: int
    n_trials: int
    best_score: float | None

    @classmethod
    def of(cls, study: optuna.Study, number: int, n_trials: int) -> TrialNews:
        """Of the trial with this number."""
        trial = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
        score, best = trial.user_attrs.get("score", math.nan), best_trial(study)
        return cls(
            number, trial.state.name.lower(), score if math.isfinite(score) else None,
            dict(trial.user_attrs.get("params", {})), n_finished(study), n_trials,
            float(best.user_attrs["score"]) if best else None,
        )  # fmt: skip


OnTrial = Callable[[TrialNews], None]


@dataclass(frozen=True)
class StudyPlan:
    """How a study is opened; the same plan in every process that works on it.

    storage: an Optuna URL (every process opens it for itself).
    """

    name: str
    storage: str
    direction: str
    n_trials: int
    n_startup_trials: int
    pruner_warmup_steps: int
    pruner_interval: int
    seed: int

    def opened(self) -> optuna.Study:
        """The study, with a sampler whose seed depends on how many trials there are: a resumed search goes on."""
        library = optuna_module()
        from sqlalchemy.exc import SQLAlchemyError  # which comes with Optuna

        try:
            with quiet():
                storage = library.storages.RDBStorage(
                    self.storage, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=5 * HEARTBEAT_SECONDS,
                    **{_stale_keyword(library): _retry(library)},
                )  # fmt: skip
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(
                f"the study's storage must be a URL that can be opened, for example sqlite:///study.db, got "
                f"{self.storage!r}: {error}"
            ) from error
        study: optuna.Study = library.create_study(
            study_name=self.name, storage=storage, direction=self.direction, load_if_exists=True,
            pruner=library.pruners.MedianPruner(
                n_startup_trials=min(5, self.n_startup_trials), n_warmup_steps=self.pruner_warmup_steps,
                interval_steps=self.pruner_interval,
            ),
        )  # fmt: skip
        if study.direction.name.lower() != self.direction:
            raise ConfigError(
                f"direction is {self.direction!r}, but {self._described} was begun with "
                f"{study.direction.name.lower()!r}: give another directory or study_name"
            )
        number = len(study.get_trials(deepcopy=False))
        with quiet():
            study.sampler = library.samplers.TPESampler(
                n_startup_trials=self.n_startup_trials, multivariate=True, group=True,
                seed=RandomStreams(self.seed).counter_seed("sampler", number),
            )  # fmt: skip
        return study

    @property
    def _described(self) -> str:
        return f"the study {self.name!r} in {self.storage}"

    def claim(self, study: optuna.Study, space: SearchSpace) -> None:
        """Note what is searched. Raises ConfigError where the study that is to go on has searched something else."""
        before = study.user_attrs.get(SPACE)
        if before is None:
            study.set_user_attr(SPACE, space.kinds)
        elif before != space.kinds:
            told = [", ".join(f"{name} ({kind})" for name, kind in kinds.items()) for kinds in (before, space.kinds)]
            raise ConfigError(
                f"{self._described} has searched {told[0]}, and cannot go on with {told[1]}: give another directory "
                "or study_name"
            )


def optuna_module() -> Any:
    """Optuna. Raises MissingDependency with the line that installs it."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise missing("optuna") from error
    return optuna


def n_finished(study: optuna.Study) -> int:
    """How many trials count: completed, pruned, or failed by themselves (those of a dead process are tried again)."""
    return sum(_counts(trial) for trial in study.get_trials(deepcopy=False))


def work(plan: StudyPlan, trials: TrialPlan, space: SearchSpace, on_trial: OnTrial | None = None) -> None:
    """Run trials, one after the other, until as many are finished (here or in other processes) as were asked for.

    on_trial: told of each trial that was run here.

    From the decision to begin a trial until it has begun it is this process's turn, so that nobody begins one too
    many; a turn ends with the process that has it.
    """
    library, study, dead = optuna_module(), plan.opened(), DeadTrials()
    turn = ExitStack()
    heartbeats: Any = study._storage

    def told(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if on_trial is not None:
            on_trial(TrialNews.of(study, trial.number, plan.n_trials))

    def objective(trial: optuna.Trial) -> float:
        heartbeats.record_heartbeat(trial._trial_id)  # now: Optuna's own thread may come too late
        trial.set_user_attr(BEGAN, trial.number)
        turn.close()
        params = space.drawn(trial)
        trial.set_user_attr("params", params)
        outcome = run_trial(trials, trial, params, RandomStreams(plan.seed).counter_seed("trial", trial.number))
        trial.set_user_attr("score", outcome.score)
        if outcome.pruned:
            raise library.TrialPruned
        if math.isnan(outcome.objective):
            trial.set_user_attr(WORTHLESS, True)
        return outcome.objective  # Optuna books NaN as failed

    while n_finished(study) < plan.n_trials:
        with turn:
            turn.enter_context(FileSystem().turn(Path(trials.parent)))
            dead.fail(study, time.monotonic())
            n_running = len(study.get_trials(deepcopy=False, states=(library.trial.TrialState.RUNNING,)))
            if is_free := n_finished(study) + n_running < plan.n_trials:
                with quiet():
                    study.optimize(objective, n_trials=1, callbacks=[told])
        if not is_free:  # others are at it; if they die, their trials are tried again
            time.sleep(HEARTBEAT_SECONDS / 2)


@dataclass
class DeadTrials:
    """Finds trials whose process died, and has them tried again.

    Optuna knows those whose heartbeat ended. One that died before its first has none, and would count as running for
    ever: those are failed here that have not begun five heartbeats after they were first seen.
    """

    first_seen: dict[int, float] = field(default_factory=dict)

    def fail(self, study: optuna.Study, now: float) -> None:
        """now: seconds on a clock of this process."""
        library = optuna_module()
        with quiet():
            library.storages.fail_stale_trials(study)
            for trial in study.get_trials(states=(library.trial.TrialState.RUNNING,)):
                silent = now - self.first_seen.setdefault(trial.number, now)
                if trial.user_attrs.get(BEGAN) != trial.number and silent > 5 * HEARTBEAT_SECONDS:
                    study.tell(trial.number, state=library.trial.TrialState.FAIL)
                    _retry(library)(study, trial)


def queue_first(study: optuna.Study, space: SearchSpace, params: Mapping[str, Any]) -> None:
    """Have ``params`` tried before anything is drawn, once per study. (A trial that an error ended tried nothing.)"""
    queued = space.queued(params)
    tried = [
        trial.system_attrs.get("fixed_params", {})
        for trial in study.get_trials(deepcopy=False) if _counts(trial) or not trial.state.is_finished()
    ]  # fmt: skip
    if queued and not any(queued.items() <= fixed.items() for fixed in tried):
        study.enqueue_trial(queued)


def best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """The completed trial with the best objective; None while there is none."""
    library = optuna_module()
    complete = study.get_trials(deepcopy=False, states=(library.trial.TrialState.COMPLETE,))
    if not complete:
        return None
    sign = 1.0 if study.direction == library.study.StudyDirection.MAXIMIZE else -1.0
    return max(complete, key=lambda trial: sign * _value(trial))


def _value(trial: optuna.trial.FrozenTrial) -> float:
    return trial.value if trial.value is not None else -math.inf


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    return trial.state.is_finished() and (trial.state.name != "FAIL" or WORTHLESS in trial.user_attrs)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's word that its heartbeat is experimental: what we rely on of it is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna_module().exceptions.ExperimentalWarning)
        yield


def _stale_keyword(library: Any) -> str:
    return "heartbeat_stale_trial_callback" if _is_5(library) else "failed_trial_callback"


def _retry(library: Any) -> Callable[[optuna.Study, optuna.trial.FrozenTrial], None]:
    """Has a trial whose process died tried again, unless it counts: it would count twice."""
    storages = library.storages
    kind = storages.RetryHeartbeatStaleTrialCallback if _is_5(library) else storages.RetryFailedTrialCallback
    retry = kind(max_retry=MAX_RETRIES)

    def again(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if WORTHLESS not in trial.user_attrs:
            retry(study, trial)

    return again


def _is_5(library: Any) -> bool:
    return int(library.__version__.split(".")[0]) >= 5
