"""What is a run made of, besides hyperparameters and settings of the loop? Values that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from tensor_optix.core.hyperparams import Space
from tensor_optix.errors import ConfigError
from tensor_optix.quick.backends import LIBRARIES
from tensor_optix.quick.defaults import SPACES, Defaults, defaults_for, require_known

MAX_UNITS, MAX_LAYERS, MAX_ENVS, MAX_WINDOW, MAX_FRAMES, MAX_MEMBERS = 4096, 8, 256, 1_000_000, 64, 256


@dataclass(frozen=True)
class Build:
    """Everything that ``assembled`` needs to make the same agent and pipeline again. Checked, whatever it came from.

    hidden: units of the dense layers. n_envs: environments side by side; window_size: env steps of each in a window.
    frame_stack: so many last observations are one (1: none but the newest). population: so many agents learn side by
    side, the worst taking over from the best now and then (1: a single one).
    """

    env_id: str
    algorithm: str
    backend: str
    is_discrete: bool
    is_image: bool
    hidden: tuple[int, ...]
    activation: str
    n_envs: int
    window_size: int
    frame_stack: int
    normalize_observations: bool
    normalize_rewards: bool
    population: int = 1

    def __post_init__(self) -> None:
        require_known("algorithm", self.algorithm, tuple(SPACES))
        require_known("backend", self.backend, tuple(LIBRARIES))
        require_known("activation", self.activation, ("tanh", "relu"))
        if not isinstance(self.env_id, str) or not self.env_id:
            raise ConfigError(f"env_id must be a Gymnasium id, got {self.env_id!r}")
        object.__setattr__(self, "hidden", _hidden(self.hidden))
        _require_count("n_envs", self.n_envs, MAX_ENVS)
        _require_count("window_size", self.window_size, MAX_WINDOW)
        _require_count("frame_stack", self.frame_stack, MAX_FRAMES)
        _require_count("population", self.population, MAX_MEMBERS)
        for name in ("is_discrete", "is_image", "normalize_observations", "normalize_rewards"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, got {getattr(self, name)!r}")

    @classmethod
    def from_defaults(cls, env_id: str, algorithm: str, backend: str, defaults: Defaults, **facts: Any) -> Build:
        """facts: is_discrete, is_image and frame_stack."""
        return cls(
            env_id, algorithm, backend, hidden=defaults.hidden, activation=defaults.activation,
            n_envs=defaults.n_envs, window_size=defaults.window_size,
            normalize_observations=defaults.normalize_observations, normalize_rewards=defaults.normalize_rewards,
            **facts,
        )  # fmt: skip

    @classmethod
    def from_details(cls, details: Any) -> Build:
        """The inverse of ``details``. Raises ConfigError for anything else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(details, Mapping) or not names - set(LATER) <= set(details) <= names | set(BESIDES):
            raise ConfigError("it does not say what its agent was made of, and nothing else")
        if not isinstance(details["hidden"], list):
            raise ConfigError(f"hidden must be a list, got {details['hidden']!r}")
        if not all(isinstance(details.get(name, {}), Mapping) for name in BESIDES):
            raise ConfigError(f"{' and '.join(BESIDES)} must be tables")
        return cls(**{name: details[name] for name in names & set(details)})

    @property
    def details(self) -> dict[str, Any]:
        """As JSON values, to be recorded with the run."""
        return {**asdict(self), "hidden": list(self.hidden)}

    @property
    def space(self) -> Space:
        """The hyperparameters of the algorithm."""
        return SPACES[self.algorithm]

    @property
    def kind(self) -> str:
        """The algorithm, by the actions that it chooses: what ``designs`` knows."""
        return "gaussian_ppo" if self.algorithm == "ppo" and not self.is_discrete else self.algorithm

    @property
    def defaults(self) -> Defaults:
        """What was proposed for such a task."""
        return defaults_for(self.algorithm, is_image=self.is_image, is_discrete=self.is_discrete)

    @property
    def default_hyperparams(self) -> dict[str, Any]:
        """The strong defaults over those of the Space."""
        return {**self.space.defaults, **self.defaults.hyperparams}

    def changed(self, settings: Mapping[str, Any]) -> Build:
        """With ``settings``, names of CHANGEABLE. Raises ConfigError for impossible values."""
        return replace(self, **settings)

    @property
    def changes(self) -> dict[str, Any]:
        """What is not as proposed, as ``--set`` takes it."""
        proposed = {**asdict(self.defaults), "frame_stack": default_frames(self.env_id), "population": 1}
        changed = {name: getattr(self, name) for name in CHANGEABLE if getattr(self, name) != proposed[name]}
        return {name: sizes_text(value) if name == "hidden" else value for name, value in changed.items()}


CHANGEABLE = (
    "hidden", "activation", "n_envs", "window_size", "frame_stack", "normalize_observations", "normalize_rewards",
    "population",
)  # fmt: skip

LATER = ("population",)
"""What runs of earlier releases do not say; they have the default."""

BESIDES = ("facts", "reasons")
"""What a plan records too, for people only."""


def default_frames(env_id: str) -> int:
    """Atari games do not show in one frame where things are going (Mnih et al. 2015)."""
    return 4 if env_id.startswith("ALE/") else 1


def checked_frames(value: Any) -> int:
    """A number of frames, before there is a Build that checks it. Raises ConfigError."""
    _require_count("frame_stack", value, MAX_FRAMES)
    return int(value)


def sizes_text(hidden: tuple[int, ...]) -> str:
    """``64-64``"""
    return "-".join(map(str, hidden))


def _hidden(value: Any) -> tuple[int, ...]:
    """A list of sizes, one size, or text such as 64-64."""
    sizes = [value] if isinstance(value, int) else value
    try:
        sizes = [int(part) for part in sizes.split("-")] if isinstance(sizes, str) else list(sizes)
    except (TypeError, ValueError):
        raise ConfigError(f"hidden must be sizes of layers such as 64-64, got {value!r}") from None
    _require_count("the number of hidden layers", len(sizes), MAX_LAYERS)
    for size in sizes:
        _require_count("hidden", size, MAX_UNITS)
    return tuple(sizes)


def _require_count(name: str, value: Any, largest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise ConfigError(f"{name} must be a whole number from 1 to {largest:,}, got {value!r}")
