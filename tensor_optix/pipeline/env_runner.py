"""How is one environment stepped: checked, counted, and so that its open episode can be had again?"""

from __future__ import annotations

import hashlib
from math import isfinite
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from tensor_optix.errors import EnvError
from tensor_optix.pipeline.environments import Env, env_name
from tensor_optix.pipeline.nonfinite import OnNonFinite
from tensor_optix.pipeline.observations import Unreadable, reader_for

MAX_REPLAYED_ACTIONS = 20_000
"""Replaying more on resume would take longer than starting the env episode anew is worth."""

StepResult = tuple[Any, float, bool, bool, dict[str, Any]]


class EnvRunner:
    """One environment, and what is known of its open env episode.

    on_nonfinite: asked for finite numbers in place of NaN and infinity; what it raises surfaces.
    env_index: which of several; None where there is only this one.
    Every other failure surfaces as EnvError. Its ``__cause__`` is the environment's own error, or None where the
    environment broke the contract, which no new copy of it would mend.
    """

    def __init__(self, env: Env, on_nonfinite: OnNonFinite, *, env_index: int | None = None) -> None:
        self.env = env
        self.name = env_name(env) + (f" (environment {env_index})" if env_index is not None else "")
        self.env_index = env_index or 0
        self.reader = reader_for(env.observation_space)
        self._on_nonfinite = on_nonfinite
        # looked up once: these are asked at every step
        self._step, self._shape, self._dtype = env.step, self.reader.shape, self.reader.dtype
        self._is_finite, self.copied = self.reader.is_finite, self.reader.copied
        self.close_episode()

    def close_episode(self) -> None:
        """Forget the open env episode: a reset comes next."""
        self.is_open = False
        self.episode = -1
        self.steps = 0
        self.episode_return = 0.0
        self.observation: Any = None
        self.actions: list[Any] = []

    def reset(self, *, seed: int, episode: int) -> None:
        """Begin env episode number ``episode``."""
        self.close_episode()
        self.episode = episode
        try:
            result: Any = self.env.reset(seed=seed)
        except Exception as error:
            raise self._raised("reset", error) from error
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
            raise self._broken("reset must return (observation, info)", result)
        observation = self._checked(result[0])
        if not self._is_finite(observation):
            observation, _ = self._finite("reset", observation, 0.0)
        self.observation = observation
        self.is_open = True

    def step(self, action: Any) -> StepResult:
        """One env step; the observation may be the environment's own buffer. Raises EnvError."""
        recorded = action if type(action) is int else action.copy()  # the environment may write to its own
        try:
            result: Any = self._step(action)
        except Exception as error:
            raise self._raised("step", error) from error
        if type(result) is not tuple or len(result) != 5:
            raise self._broken("step must return (observation, reward, terminated, truncated, info)", result)
        observation, reward, terminated, truncated, info = result
        if (
            type(observation) is not np.ndarray
            or observation.shape != self._shape
            or observation.dtype != self._dtype
        ):
            observation = self._checked(observation)
        if type(reward) is not float:
            reward = self._number(reward)
        if terminated is not True and terminated is not False:
            terminated = self._claim("terminated", terminated)
        if truncated is not True and truncated is not False:
            truncated = self._claim("truncated", truncated)
        if type(info) is not dict and not isinstance(info, dict):
            raise self._broken("info must be a dict", info)
        if not (isfinite(reward) and self._is_finite(observation)):
            observation, reward = self._finite("step", observation, reward)
        if self.steps <= MAX_REPLAYED_ACTIONS:
            self.actions.append(recorded)
        self.steps += 1
        self.episode_return += reward
        self.observation = observation
        return observation, reward, terminated, truncated, info

    def state_dict(self) -> dict[str, Any] | None:
        """How to have the open env episode again; None when none is open."""
        if not self.is_open:
            return None
        is_replayable = self.steps <= MAX_REPLAYED_ACTIONS
        return {
            "episode": self.episode,
            "steps": self.steps,
            "episode_return": self.episode_return,
            "replayable": is_replayable,
            "actions": np.asarray(self.actions if is_replayable else []),
            "observation_sha256": self._fingerprint(),
        }

    def replay(self, state: dict[str, Any], *, seed: int) -> bool:
        """Reset with the same seed and repeat the actions; False, with nothing open, if it comes out differently.

        Raises EnvError as ``step`` does.
        """
        self.reset(seed=seed, episode=state["episode"])
        for row in state["actions"]:
            if not self.is_open:
                break
            _, _, terminated, truncated, _ = self.step(int(row) if self._acts_in_numbers else np.asarray(row))
            self.is_open = not (terminated or truncated)
        is_same = self.is_open and self._fingerprint() == state["observation_sha256"]
        if is_same:
            self.observation = self.copied(self.observation)
        else:
            self.close_episode()
        return is_same

    @property
    def _acts_in_numbers(self) -> bool:
        return isinstance(self.env.action_space, Discrete)

    def _fingerprint(self) -> str:
        return hashlib.sha256(self.reader.content(self.observation)).hexdigest()

    def _checked(self, observation: Any) -> Any:
        try:
            return self.reader.checked(observation)
        except Unreadable as error:
            raise self._broken(str(error), observation) from None

    def _number(self, reward: Any) -> float:
        if not isinstance(reward, str | bytes | complex | np.complexfloating) and np.ndim(reward) == 0:
            try:
                return float(reward)
            except (TypeError, ValueError, OverflowError):
                pass  # told below, as for everything else that is no number
        raise self._broken("the reward must be one number", reward)

    def _claim(self, name: str, value: Any) -> bool:
        if not isinstance(value, np.bool_) and not (np.ndim(value) == 0 and value in (0, 1)):
            raise self._broken(f"{name} must be True or False", value)
        return bool(value)

    def _finite(self, method: str, observation: Any, reward: float) -> tuple[Any, float]:
        """Finite numbers in place of these."""
        what = f"a reward of {reward}"
        if isfinite(reward):
            what = f"an observation with {self.reader.oddity(observation)}"
        problem = self._error(f"gave {what} in {self._where(method)}")
        return self._on_nonfinite.finite(observation, reward, self.reader.clipped, problem)

    def _raised(self, method: str, error: Exception) -> EnvError:
        return self._error(f"raised in {self._where(method)}: {type(error).__name__}: {error}")

    def _broken(self, rule: str, value: Any) -> EnvError:
        shape = f" of shape {np.shape(value)}" if isinstance(value, np.ndarray) else ""
        return self._error(f"broke the contract in {self._where('step')}: {rule}, got {_short(value)}{shape}")

    def _where(self, method: str) -> str:
        at = f"step {self.steps + 1}" if method == "step" and self.is_open else "reset"
        return f"{at} of env episode {self.episode}"

    def _error(self, what: str) -> EnvError:
        return EnvError(f"{self.name} {what}", env_index=self.env_index, step=self.steps + 1 if self.is_open else 0)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
