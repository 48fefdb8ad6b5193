"""Does an agent keep the contract that the loop relies on?"""

from __future__ import annotations

import copy
import math
import numbers
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.state import split_state
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import AgentError, ConfigError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline

WINDOW_SIZE = 64
N_OBSERVATIONS = 16
SEED = 0


def check_agent(agent: Any, env: gym.Env[Any, Any]) -> list[str]:
    """Try ``agent`` on ``env`` and return the claims that were checked, those that apply to it.

    agent: a BaseAgent, or any object with its six methods. It acts and learns here, so give a fresh one; ``env``
    stays open. Raises AgentError, in one sentence, for the first claim that does not hold.
    """
    name = type(agent).__name__
    try:
        subject = _Subject(as_agent(agent), env)
    except ConfigError as error:
        raise AgentError(str(error)) from error
    checked = ["it has the six methods"]
    for claim, check in CHECKS:
        try:
            applies = check(subject)
        except AgentError as error:
            raise AgentError(f"{name} breaks the contract: {claim}; {error}") from error
        if applies:
            checked.append(claim)
    return checked


class _Subject:
    """The agent under test, with what the loop would do to it."""

    def __init__(self, agent: BaseAgent, env: gym.Env[Any, Any]) -> None:
        self.agent = agent
        self._env = env
        self._pipeline = self._new_pipeline(SEED)
        self._windows = self._pipeline.episodes()
        self.observations = np.asarray(self.window().observations)[:N_OBSERVATIONS]

    def window(self) -> EpisodeData:
        """The next window, collected as the loop does it."""
        self.agent.reset_cache()
        return next(self._windows)

    def first_window(self) -> EpisodeData:
        """The first window of a run with another seed: the same for the same policy."""
        self.agent.reset_cache()
        return next(self._new_pipeline(SEED + 1).episodes())

    def act(self, *, seed: int = 0, deterministic: bool = False) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions and extras for ``observations``, from a stream of their own."""
        return self.agent.act_batch(self.observations, rng=np.random.default_rng(seed), deterministic=deterministic)

    def require_valid(self, action: Any) -> None:
        """Raise AgentError for an action that the environment does not have."""
        self._pipeline.to_env_action(action)

    @property
    def honours_streams(self) -> bool:
        """False where ``act_batch`` is the default, which can pass neither stream nor mode on to ``act``."""
        return getattr(self.agent.act_batch, "__func__", None) is not BaseAgent.act_batch

    def _new_pipeline(self, seed: int) -> BatchPipeline:
        pipeline = BatchPipeline(self._env, self.agent, WINDOW_SIZE)
        pipeline.seed(RandomStreams(seed))
        return pipeline


def _acts_in_the_space(subject: _Subject) -> bool:
    subject.require_valid(subject.agent.act(subject.observations[0]))
    return True


def _acts_in_batches(subject: _Subject) -> bool:
    actions, extras = subject.act()
    n = len(subject.observations)
    _require(len(actions) == n, f"{n} observations gave {len(actions)} actions")
    for name, values in extras.items():
        _require(len(values) == n, f"{n} observations gave {len(values)} rows of the extra {name!r}")
    for action in actions:
        subject.require_valid(action)
    return True


def _repeats_with_the_same_stream(subject: _Subject) -> bool:
    if not subject.honours_streams:
        return False
    first, second = subject.act(seed=5), subject.act(seed=5)
    _require(_same(first, second), "two calls with equal streams gave different actions or extras")
    return True


def _repeats_when_deterministic(subject: _Subject) -> bool:
    if not subject.honours_streams:
        return False
    (first, _), (second, _) = (subject.act(seed=seed, deterministic=True) for seed in (1, 2))
    _require(_same(first, second), "two deterministic calls gave different actions")
    return True


def _learns_finite_numbers(subject: _Subject) -> bool:
    diagnostics = subject.agent.learn(subject.window())
    _require(isinstance(diagnostics, dict), f"learn gave {type(diagnostics).__name__}")
    for name, value in diagnostics.items():
        is_finite = not isinstance(value, numbers.Real | np.number) or math.isfinite(float(value))
        _require(is_finite, f"learn gave {name} = {value}")
    return True


def _keeps_hyperparams(subject: _Subject) -> bool:
    before = subject.agent.get_hyperparams().copy()
    subject.agent.set_hyperparams(before.copy())
    after = subject.agent.get_hyperparams()
    _require(_same(before.params, after.params), f"set {before.params} and got {after.params} back")
    return True


def _brings_weights_back(subject: _Subject) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "weights")
        subject.agent.save_weights(path)
        saved, again = subject.act(deterministic=True), subject.act(deterministic=True)
        subject.agent.learn(subject.window())
        subject.agent.load_weights(path)
        loaded = subject.act(deterministic=True)
    # an agent that draws by itself shows no policy by which the weights could be told
    _require(not _same(saved, again) or _same(saved, loaded), "the loaded policy acts differently")
    return True


def _gives_its_state_back(subject: _Subject) -> bool:
    state = copy.deepcopy(subject.agent.state_dict())
    if state is None:
        return False
    subject.agent.learn(subject.window())
    subject.agent.load_state_dict(copy.deepcopy(state))
    _require(_same(subject.agent.state_dict(), state), "state_dict after load_state_dict is another one")
    return True


def _is_not_disturbed_by_evaluation(subject: _Subject) -> bool:
    state = copy.deepcopy(subject.agent.state_dict())
    if state is None or not subject.honours_streams:
        return False
    outcomes = []
    for is_evaluated in (False, True):
        subject.agent.load_state_dict(copy.deepcopy(state))
        if is_evaluated:
            subject.act(seed=9)
            subject.act(seed=9, deterministic=True)
        subject.agent.learn(subject.first_window())
        outcomes.append(copy.deepcopy(subject.agent.state_dict()))
    _require(_same(*outcomes), "acting for an evaluation changed what was learned afterwards")
    return True


CHECKS: tuple[tuple[str, Callable[[_Subject], bool]], ...] = (
    ("act gives an action of the space", _acts_in_the_space),
    ("act_batch gives one valid action and one row of every extra per observation", _acts_in_batches),
    ("act_batch repeats itself with the same random stream", _repeats_with_the_same_stream),
    ("deterministic actions repeat themselves with any random stream", _repeats_when_deterministic),
    ("learn gives a dict whose numbers are finite", _learns_finite_numbers),
    ("hyperparameters that were set are given back", _keeps_hyperparams),
    ("load_weights brings the saved policy back", _brings_weights_back),
    ("load_state_dict brings the saved state back", _gives_its_state_back),
    ("evaluation does not disturb training", _is_not_disturbed_by_evaluation),
)
"""What is claimed, and a function that is False where the claim does not apply and raises where it does not hold."""


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AgentError(otherwise)


def _same(first: Any, second: Any) -> bool:
    """Equal trees, arrays bit by bit."""
    (json, arrays), (other_json, other_arrays) = split_state(first), split_state(second)
    return bool(json == other_json) and all(
        array.tobytes() == other_arrays[name].tobytes() and array.shape == other_arrays[name].shape
        for name, array in arrays.items()
    )
