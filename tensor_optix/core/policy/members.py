"""Who belongs to an ensemble, with which weight, and who is left out because it failed?"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent, given_object
from tensor_optix.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass
class Member:
    """key: never given twice. lineage: members that descend from the same policy share it. fault: why the member is
    in quarantine; empty for one that works. is_spawned: made by a spawn, not by the user."""

    agent: BaseAgent
    weight: float
    key: int
    lineage: int
    is_spawned: bool = False
    scores: list[float] = field(default_factory=list)
    fault: str = ""

    @property
    def given(self) -> Any:
        """The object that the user gave."""
        return given_object(self.agent)

    def record(self) -> dict[str, Any]:
        """All but the agent, as JSON values."""
        return {"weight": self.weight, "lineage": self.lineage, "is_spawned": self.is_spawned,
                "scores": list(self.scores), "fault": self.fault}  # fmt: skip

    def quarantine(self, error: Exception) -> None:
        """Leave the member out from now on."""
        self.fault = f"{type(error).__name__}: {error}"
        _log.warning("member %d of the ensemble failed and is left out from now on", self.key, exc_info=error)


class Members:
    """The members in the order in which they came. The first one is the primary until another one is named."""

    def __init__(self, score_window: int) -> None:
        self._score_window = score_window
        self._members: list[Member] = []
        self._primary: Member | None = None
        self._next_key = 0

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)

    def __getitem__(self, index: int) -> Member:
        if not 0 <= index < len(self._members):
            raise ConfigError(f"there is no member {index}: the ensemble has {len(self._members)}, counted from 0")
        return self._members[index]

    @property
    def primary(self) -> Member | None:
        """The member that is never pruned."""
        return self._primary or next(iter(self._members), None)

    @property
    def working(self) -> list[Member]:
        """All that did not fail."""
        return [member for member in self._members if not member.fault]

    @property
    def leading(self) -> Member | None:
        """Of the working members that have been scored the one with the highest weight, of equals the newest."""
        scored = [member for member in self.working if member.scores]
        return max(scored, key=lambda member: (member.weight, member.key), default=None)

    def find(self, agent: Any) -> Member | None:
        """The member that is this very agent."""
        sought = given_object(agent)
        return next((member for member in self._members if member.given is sought), None)

    def add(self, agent: Any, weight: float, *, lineage: int | None = None, is_spawned: bool = False) -> Member:
        """Append a member; without a lineage it founds one. Raises ConfigError for a weight below 0."""
        _require_weight(weight)
        key, self._next_key = self._next_key, self._next_key + 1
        lineage = key if lineage is None else lineage
        member = Member(as_agent(agent), float(weight), key, lineage, is_spawned)
        self._members.append(member)
        return member

    def name_primary(self, agent: Any) -> Member:
        """This agent is the primary from now on; it is added where it is no member."""
        self._primary = self.find(agent) or self.add(agent, 1.0)
        return self._primary

    def record(self, index: int, score: float) -> None:
        """Remember a score of a member; the last few are kept."""
        member = self[index]
        member.scores = [*member.scores, float(score)][-self._score_window :]

    def set_weights(self, weights: Mapping[int, float]) -> None:
        """Weights by index. Raises ConfigError, and changes nothing, where one is not possible."""
        for index, weight in weights.items():
            _require_weight(weight)
            self[index]
        for index, weight in weights.items():
            self[index].weight = float(weight)

    def prune(self, bottom_k: int, *, keep: Any = None) -> list[Member]:
        """Take out the ``bottom_k`` members with the lowest weights, of equals the newest; those in quarantine first.

        Never the primary, nor ``keep``.
        """
        spared = [member for member in (self.primary, self.find(keep)) if member is not None]
        candidates = [member for member in self._members if member not in spared]
        candidates.sort(key=lambda member: (not member.fault, member.weight, -member.key))
        removed = candidates[: max(0, bottom_k)]
        self._members = [member for member in self._members if member not in removed]
        for member in removed:
            member.agent.teardown()
        return removed

    def drop(self, dropped: Sequence[Member]) -> None:
        """Forget these members without releasing them: they are somebody else's."""
        self._members = [member for member in self._members if member not in dropped]
        self._primary = None if self._primary in dropped else self._primary

    def restore(
        self,
        records: Mapping[str, dict[str, Any]],
        make: Callable[[], BaseAgent] | None,
        load: Callable[[BaseAgent, dict[str, Any]], None],
    ) -> None:
        """The members of these records: the user's own as they are here, spawned ones made anew.

        load(agent, tree): brings a policy back. Raises ConfigError for a member of the user's that is not here.
        """
        here = {member.key: member for member in self._members}
        members = [self._restored(int(key), record, here, make) for key, record in records.items()]
        for member, record in zip(members, records.values(), strict=True):
            if record["tree"] is not None:
                load(member.agent, record["tree"])
        self._members = members
        self._next_key = max([self._next_key, *(member.key + 1 for member in members)])

    def _restored(
        self, key: int, record: dict[str, Any], here: Mapping[int, Member], make: Callable[[], BaseAgent] | None
    ) -> Member:
        if key not in here and (make is None or not record["is_spawned"]):
            raise ConfigError(f"member {key} of the ensemble is missing: add the same agents in the same order")
        agent = here[key].agent if key in here or make is None else make()
        member = here.get(key) or Member(agent, 1.0, key, record["lineage"], True)
        member.weight, member.lineage = record["weight"], record["lineage"]
        member.scores, member.fault = list(record["scores"]), record["fault"]
        return member


def published_weights(scores: Mapping[int, float]) -> dict[int, float]:
    """weight = score + max(0, -lowest score) + 1e-8. Scores that are not finite count as the lowest."""
    finite = [score for score in scores.values() if math.isfinite(score)]
    lowest = min(finite, default=0.0)
    return {
        index: (score if math.isfinite(score) else lowest) + max(0.0, -lowest) + 1e-8
        for index, score in scores.items()
    }


def evidence_weights(scores: Mapping[int, list[float]]) -> dict[int, float]:
    """w_i ∝ exp(LCB_i / σ) by recorded scores: LCB = mean - standard error, σ: pooled sd of one score.

    Shares of 1 for each member, so that equal members keep weight 1; a single score has the pooled σ as its error.
    """
    if not scores:
        return {}
    rests = [np.asarray(own) - np.mean(own) for own in scores.values()]
    degrees = sum(len(rest) - 1 for rest in rests)
    sigma = math.sqrt(sum(float(rest @ rest) for rest in rests) / degrees) if degrees else 0.0
    if sigma <= 0:
        return dict.fromkeys(scores, 1.0)
    bounds = np.array([np.mean(own) / sigma - len(own) ** -0.5 for own in scores.values()])
    shares = np.exp(bounds - bounds.max())
    return dict(zip(scores, (shares / shares.sum() * len(shares)).tolist(), strict=True))


def _require_weight(weight: float) -> None:
    if not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"the weight of a member must be a finite number of at least 0, got {weight!r}")
