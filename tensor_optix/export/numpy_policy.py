"""NumpyPolicy: a trained policy that needs NumPy and nothing else to act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.frame_stack import FrameStack
from tensor_optix.errors import ConfigError
from tensor_optix.export.heads import ActionUnits, Head, SquashedGaussian
from tensor_optix.export.layers import Layer, Normalise, Shape, shape_after


@dataclass(frozen=True, eq=False)
class NumpyPolicy:
    """Raw observations in, the environment's own actions out.

    observation_shape: of one raw observation. layers: its preprocessing, then the network. head: how actions are
    chosen from the outputs. units: what the environment gets for them. origin: where the policy came from, in words.
    frame_stack: so many last observations of the environment are one observation here; ``player`` keeps them.

    Raises ConfigError for layers that do not fit together.
    """

    observation_shape: Shape
    layers: tuple[Layer, ...]
    head: Head
    units: ActionUnits
    origin: str = ""
    frame_stack: int = 1

    def __post_init__(self) -> None:
        outputs, is_gaussian = self.output_shape, isinstance(self.head, SquashedGaussian)
        if len(outputs) != 1 or outputs[0] < 1 or (is_gaussian and outputs[0] % 2):
            raise ConfigError(f"a policy's outputs are [μ ‖ log σ], or one number for each action; got {outputs}")
        if not self.units.fits(outputs[0] // 2 if is_gaussian else 0):
            units, head = type(self.units).__name__, type(self.head).__name__
            raise ConfigError(f"{units} do not fit a {head} of {outputs[0]} outputs")
        if self.frame_stack < 1:
            raise ConfigError(f"frame_stack must be at least 1, got {self.frame_stack}")

    @classmethod
    def load(cls, path: str | Path) -> NumpyPolicy:
        """Read what ``export_policy`` wrote as "numpy" or "safetensors". Runs no code from the file.

        Raises CheckpointError for anything else, and for what is damaged.
        """
        from tensor_optix.export.policy_files import read_policy

        return read_policy(Path(path))

    @property
    def output_shape(self) -> Shape:
        """Of the network, for one observation."""
        return shape_after(self.layers, self.observation_shape)

    def player(self) -> PolicyPlayer:
        """Plays env episodes, one observation of the environment at a time, and stacks frames itself."""
        return PolicyPlayer(self)

    def act(self, observation: Any, deterministic: bool = True, *, rng: np.random.Generator | None = None) -> Any:
        """The action for one observation: an int, or an array; the best guess, or drawn with ``rng``."""
        action = self.act_batch(np.asarray(observation)[None], deterministic, rng=rng)[0]
        return action.item() if action.ndim == 0 else action

    def act_batch(
        self, observations: Any, deterministic: bool = True, *, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Actions [N, ...] for observations [N, ...].

        Raises ConfigError for observations of another shape, and for drawn actions without a generator.
        """
        outputs = self.outputs(observations)
        if deterministic:
            return self.units(self.head.best(outputs))
        if rng is None:
            raise ConfigError("drawn actions need a generator: act(..., deterministic=False, rng=default_rng(seed))")
        return self.units(self.head.drawn(outputs, rng))

    def outputs(self, observations: Any) -> np.ndarray:
        """Logits, action values or [μ ‖ log σ], [N, K] in float32, for observations [N, ...]."""
        x = np.asarray(observations)
        if x.shape[1:] != self.observation_shape:
            raise ConfigError(f"this policy sees observations of shape {self.observation_shape}, got {x.shape[1:]}")
        if not self.is_normalised:
            x = x.astype(np.float32)
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def is_normalised(self) -> bool:
        """True when the first layer normalises observations (from the precision that they have)."""
        return bool(self.layers) and isinstance(self.layers[0], Normalise)


class PolicyPlayer:
    """``player(observation)`` is an action; call ``reset()`` whenever the environment is reset."""

    def __init__(self, policy: NumpyPolicy) -> None:
        self._policy, self._frames = policy, FrameStack(policy.frame_stack)

    def reset(self) -> None:
        """A new env episode begins."""
        self._frames.reset()

    def __call__(
        self, observation: Any, deterministic: bool = True, *, rng: np.random.Generator | None = None
    ) -> Any:
        """The action for the environment's newest observation, as ``NumpyPolicy.act`` gives it."""
        return self._policy.act(self._frames(np.asarray(observation)), deterministic, rng=rng)
