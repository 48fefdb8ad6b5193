"""Where does a population stand? The members with their policies, and what their last interval led to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensor_optix.core.hyperparams import Space
from tensor_optix.core.policy.mutation import FULL_NOISE, mutated
from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import NonFiniteError
from tensor_optix.population.exchange import Succession, best_of, exchanged
from tensor_optix.population.training import Order, Outcome

Advance = Callable[[Sequence[Order]], list[Outcome]]


@dataclass
class Member:
    """seed: the root of its randomness. agent, progress: what the next interval begins with. has_moved: it has taken
    over another one's policy since its last interval. fitness: of that interval; NaN before the first one, and where
    there was no score. fault: why it failed in it; it tries again, or takes over from another one."""

    seed: int
    agent: dict[str, Any]
    params: dict[str, Any]
    progress: dict[str, Any] = field(default_factory=dict)
    has_moved: bool = False
    fitness: float = math.nan
    fault: str = ""
    env_steps: int = 0

    def order(self, steps: int) -> Order:
        """What the member is to do next."""
        return Order(self.seed, steps, self.agent, self.params, self.progress, self.has_moved)


@dataclass(frozen=True)
class Standing:
    """The best member after an interval: its number, its fitness, the env episodes of the interval's end as (return,
    was it only truncated), the fitness of every member (NaN: it had no score, or failed), and whether that is the mean
    over whole env episodes."""

    best: int
    fitness: float
    episodes: list[tuple[float, bool]]
    everyone: list[float]
    is_of_whole_episodes: bool

    def state_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"best": self.best, "fitness": self.fitness, "episodes": [list(episode) for episode in self.episodes],
                "everyone": [_plain(fitness) for fitness in self.everyone],
                "is_of_whole_episodes": self.is_of_whole_episodes}  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Standing:
        """The inverse of ``state_dict``."""
        episodes = [(float(value), bool(truncated)) for value, truncated in state["episodes"]]
        everyone = [_number(fitness) for fitness in state["everyone"]]
        return cls(state["best"], state["fitness"], episodes, everyone, state["is_of_whole_episodes"])


class Members:
    """Trains, compares and exchanges. Every step is a function of the seed and of what was there before."""

    def __init__(
        self, trees: Sequence[dict[str, Any]], params: dict[str, Any], space: Space | None, interval_steps: int
    ) -> None:
        self._space = space
        self._interval_steps = interval_steps
        self._members = [Member(0, tree, dict(params)) for tree in trees]
        self._rng = np.random.default_rng(0)
        self.n_failures = 0

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)

    def __getitem__(self, number: int) -> Member:
        return self._members[number]

    def seed(self, streams: RandomStreams) -> None:
        """Give everybody randomness of their own, and all but the first member hyperparameters of their own."""
        self._rng = streams.stream("population")
        for number, member in enumerate(self._members):
            member.seed = streams.counter_seed("member", number)
            if number:
                member.params = mutated(member.params, self._space, FULL_NOISE, self._rng)

    def trained(self, advance: Advance) -> tuple[Standing | None, int]:
        """Everybody trains for an interval: the standing (None where nobody has a score yet), and the env steps.

        Nothing is changed before all of them are done. Raises NonFiniteError where all have failed.
        """
        outcomes = advance([member.order(self._interval_steps) for member in self._members])
        if all(outcome.fault for outcome in outcomes):
            raise NonFiniteError(f"every member of the population has failed, the first one: {outcomes[0].fault}")
        for member, outcome in zip(self._members, outcomes, strict=True):
            member.agent, member.progress, member.has_moved = outcome.agent, outcome.progress, False
            member.fitness, member.fault = outcome.fitness, outcome.fault
            member.env_steps += outcome.env_steps
            self.n_failures += bool(outcome.fault)
        fitness = [outcome.fitness for outcome in outcomes]
        best = best_of(fitness)
        steps = sum(outcome.env_steps for outcome in outcomes)
        if best is None:
            return None, steps
        winner = outcomes[best]
        return Standing(best, winner.fitness, winner.episodes, fitness, winner.scores_whole_episodes), steps

    def exchange(self) -> list[tuple[int, Succession]]:
        """Exploit and explore; who took over what."""
        members = self._members
        plan = exchanged([m.fitness for m in members], [m.params for m in members], self._space, self._rng)
        trees = [member.agent for member in members]
        moved = [(number, succession) for number, succession in enumerate(plan) if succession.source != number]
        for number, succession in moved:
            member = members[number]
            member.agent, member.params, member.has_moved = trees[succession.source], succession.params, True
        return moved

    def state_dict(self) -> dict[str, Any]:
        """Everything, as JSON values and arrays."""
        members = {
            str(number): {**vars(member), "fitness": _plain(member.fitness)}
            for number, member in enumerate(self._members)
        }
        return {"members": members, "n_failures": self.n_failures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.n_failures, records = state["n_failures"], state["members"].values()
        self._members = [Member(**{**record, "fitness": _number(record["fitness"])}) for record in records]


def _plain(fitness: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(fitness) else fitness


def _number(fitness: float | None) -> float:
    return math.nan if fitness is None else float(fitness)
