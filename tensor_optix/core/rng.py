"""Randomness: one root seed per run, and a named stream for every part that draws."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from tensor_optix.errors import ConfigError


def fresh_seed() -> int:
    """A root seed from the operating system, for runs that were given none (it is recorded with the run)."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def checked_seed(seed: Any) -> int:
    """``seed`` as a root seed. Raises ConfigError unless it is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0, got {seed!r}")
    return int(seed)


class RandomStreams:
    """Independent generators by name, all functions of one root seed.

    A part asks for its own stream, so that drawing more in one part never changes what another one draws.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, np.random.Generator] = {}

    def stream(self, name: str) -> np.random.Generator:
        """The generator called ``name``; the same object, with its position, on every call."""
        if name not in self._streams:
            self._streams[name] = np.random.default_rng(self._sequence(name))
        return self._streams[name]

    def counter_seed(self, name: str, *counters: int) -> int:
        """A 32-bit seed that depends on nothing but the root seed, ``name`` and ``counters``.

        Environments are reset with it (environment index, episode number), so that the randomness of an episode
        can be had again without having saved anything.
        """
        return int(self._sequence(name, *counters).generate_state(1)[0])

    def state_dict(self) -> dict[str, Any]:
        """Root seed and the position of every stream, as JSON values."""
        positions = {name: stream.bit_generator.state for name, stream in self._streams.items()}
        return {"seed": self.seed, "streams": positions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue every stream where ``state_dict`` saw it. Raises ConfigError for a seed that none can have."""
        self.seed = checked_seed(state["seed"])
        for name, position in state["streams"].items():
            self.stream(name).bit_generator.state = position

    def _sequence(self, name: str, *counters: int) -> np.random.SeedSequence:
        words = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype=np.uint32)
        return np.random.SeedSequence(self.seed, spawn_key=(*words.tolist(), *counters))
