"""The policies of a run: an ensemble with weights, variants of the best one, a budget after which training ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.meta_controller import MetaController
from tensor_optix.core.policy.acting import ensemble_actions
from tensor_optix.core.policy.averaging import is_connected, mean_policy
from tensor_optix.core.policy.callback import PolicyManagerCallback
from tensor_optix.core.policy.forking import agent_tree, load_agent_tree, vary
from tensor_optix.core.policy.members import Member, Members, evidence_weights, published_weights
from tensor_optix.core.policy.noise import noise_scale
from tensor_optix.core.policy.report import report_text
from tensor_optix.core.policy.signals import signals
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import ConfigError

__all__ = ["PolicyManager", "PolicyManagerCallback"]


class PolicyManager:
    """Keeps members with weights, makes variants of the best policy, and counts them.

    registry: where policies are kept; the callback that ``as_callback`` gives replaces it by the run's own.
    score_window: recorded scores per member. max_spawns: variants before training ends (None: it ends after the first
    one that is not proven better). max_ensemble_size: the members with the lowest weights are pruned beyond it.
    rng: draws for ``ensemble_action`` and ``spawn_variant``. stream: where the report goes (default: standard output).
    """

    def __init__(
        self,
        registry: CheckpointRegistry,
        score_window: int = 10,
        max_spawns: int | None = None,
        max_ensemble_size: int | None = None,
        *,
        rng: np.random.Generator | None = None,
        stream: TextIO | None = None,
    ) -> None:
        for name, value, least in (("score_window", score_window, 1), ("max_spawns", max_spawns, 0),
                                   ("max_ensemble_size", max_ensemble_size, 1)):  # fmt: skip
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        self.registry = registry
        self.max_spawns = max_spawns
        self.max_ensemble_size = max_ensemble_size
        self.members = Members(score_window)
        self._rng = rng if rng is not None else np.random.default_rng()
        self._stream = stream
        self._regime = "ranging"
        self._spawn_count = self._prune_count = 0
        self._trials: list[dict[str, Any]] = []
        self._origin_in_place: str | None = None
        self._own_primary: Member | None = None  # a member because of ``as_callback``, not of ``add_agent``

    # -- the ensemble ------------------------------------------------------------------------------------------

    def add_agent(self, agent: Any, weight: float = 1.0) -> None:
        """Add a member. The first one is the primary until ``as_callback`` or EnsembleAgent names another."""
        if self.members.find(agent) is not None:
            raise ConfigError(f"this {type(agent).__name__} is a member of the ensemble already")
        self.members.add(agent, weight)

    def name_primary(self, agent: Any) -> Member:
        """This agent is never pruned; it becomes a member where it is none."""
        return self.members.name_primary(agent)

    def ensemble_action(self, obs: Any) -> Any:
        """One action of all working members for one observation, as ``EnsembleAgent`` would act in training."""
        if not len(self.members):
            raise ConfigError("the ensemble has no member yet: call add_agent first")
        members = self.members.working or [self.members[0]]
        if len(members) == 1:
            return members[0].agent.act(obs)
        actions, _ = ensemble_actions(members, np.asarray(obs)[None], rng=self._rng, deterministic=False)
        return actions[0].item() if np.ndim(actions[0]) == 0 else actions[0]

    def update_weights(self, agent_scores: Mapping[int, float]) -> None:
        """weight = score + max(0, -lowest score) + 1e-8, by index."""
        self.members.set_weights(published_weights(agent_scores))

    def record_agent_score(self, agent_idx: int, score: float) -> None:
        """Remember a score of a member; the last ``score_window`` count."""
        self.members.record(agent_idx, score)

    def auto_update_weights(self) -> None:
        """Weights by recorded scores, w ∝ exp(lower confidence bound / noise); members without any keep theirs."""
        scores = {index: member.scores for index, member in enumerate(self.members) if member.scores}
        self.members.set_weights(evidence_weights(scores))

    def prune(self, bottom_k: int = 1) -> list[BaseAgent]:
        """Take out the members with the lowest weights and release them; never the primary.

        Does nothing where no more than ``bottom_k`` members are left.
        """
        return [] if len(self.members) <= bottom_k else self._prune(bottom_k)

    def boost(self, agent: Any, factor: float = 2.0) -> None:
        """Multiply the weight of a member. Raises ConfigError for a stranger."""
        member = self.members.find(agent)
        if member is None:
            raise ConfigError(f"this {type(agent).__name__} is no member of the ensemble: call add_agent first")
        self.members.set_weights({list(self.members).index(member): member.weight * factor})

    def set_regime(self, regime: str) -> None:
        """Note what the scores are doing, as RegimeDetector says; shown by ``status``."""
        self._regime = regime

    @property
    def ensemble_size(self) -> int:
        """Members, those in quarantine included."""
        return len(self.members)

    # -- variants ----------------------------------------------------------------------------------------------

    def adaptive_noise_scale(
        self,
        metrics_history: Sequence[EvalMetrics],
        min_scale: float = 0.001,
        max_scale: float = 0.1,
        window: int = 10,
    ) -> float:
        """How strongly to mutate: little while scores improve, ``max_scale`` when stuck."""
        return noise_scale(signals(metrics_history, window), min_scale=min_scale, max_scale=max_scale)

    def spawn_variant(
        self, agent_shell: Any, noise_scale: float = 0.01, mutation_fn: Callable[[Any], None] | None = None
    ) -> Any:
        """Make ``agent_shell`` a variant of the best policy, and count it; returns it, untouched without a best one.

        mutation_fn: called with the agent instead of the mutation of hyperparameters and weights.
        """
        shell = as_agent(agent_shell)
        if self.registry.load_best(shell) is None:
            return agent_shell
        if mutation_fn is not None:
            mutation_fn(agent_shell)
        else:
            vary(shell, noise_scale, self._rng)
        self.count_spawn()
        return agent_shell

    def average_weights(
        self, agent_shell: Any, first: int, second: int, evaluate: Callable[[BaseAgent], Sequence[float]]
    ) -> bool:
        """Bring the mean of two members' policies into ``agent_shell``; False, and nothing done, where it is worse.

        first, second: their indices. evaluate(agent): scores on the same seeds each time, at least two.
        Raises ConfigError for members of different lineages: the mean of two that were trained apart is neither.
        """
        a, b = self.members[first], self.members[second]
        if a.lineage != b.lineage:
            raise ConfigError(f"members {first} and {second} are of different lineages: their weights have no mean")
        shell = as_agent(agent_shell)
        trees = [agent.policy_state() for agent in (shell, a.agent, b.agent)]
        before, one, other = trees
        if before is None or one is None or other is None:
            raise ConfigError("weights can be averaged of agents only that give a policy_state")
        ends = (evaluate(a.agent), evaluate(b.agent))
        shell.load_policy_state(mean_policy(one, other))
        if is_connected(evaluate(shell), *ends):
            return True
        shell.load_policy_state(before)
        return False

    def evolve(self, agent: Any, current_score: float) -> bool:
        """Put the agent back to the best policy where its score is below that one's; True when that was done.

        Never an off-policy agent: its replay was made by other policies.
        """
        agent, best = as_agent(agent), self.registry.best
        if best is None or not agent.is_on_policy or not current_score < best.eval_metrics.primary_score:
            return False
        self.registry.load_best(agent)
        return True

    def as_callback(
        self,
        agent: Any,
        agent_factory: Callable[[], Any] | None = None,
        meta_controller: MetaController | None = None,
    ) -> PolicyManagerCallback:
        """A callback for RLOptimizer that evolves policies whenever the loop becomes DORMANT.

        agent: the one that the optimizer trains, the primary. agent_factory: makes agents like it, for variants.
        A callback for another agent than before starts anew, as a search does that makes one for every trial.
        """
        if self._own_primary is not None and self.members.find(agent) is None:
            self._start_anew(self._own_primary)
        if self.members.find(agent) is None:
            self._own_primary = self.members.add(agent, 1.0)
        return PolicyManagerCallback(self, agent, agent_factory, meta_controller)

    def adopt(self, variant: BaseAgent, *, lineage: int) -> Member:
        """A variant that was proven better joins; the weakest members go where that makes too many."""
        member = self.members.add(variant, 1.0, lineage=lineage, is_spawned=True)
        if self.max_ensemble_size is not None:
            self._prune(len(self.members) - self.max_ensemble_size, keep=variant)
        return member

    # -- what was done -----------------------------------------------------------------------------------------

    @property
    def spawn_count(self) -> int:
        """Variants so far."""
        return self._spawn_count

    @property
    def spawns_remaining(self) -> int | None:
        """None without a limit."""
        return None if self.max_spawns is None else max(0, self.max_spawns - self._spawn_count)

    @property
    def budget_exhausted(self) -> bool:
        """True when no spawn remains."""
        return self.spawns_remaining == 0

    @property
    def ranked_snapshots(self) -> list[dict[str, Any]]:
        """What the registry holds, best first."""
        return [
            {
                "snapshot_id": snapshot.snapshot_id, "snapshot_dir": snapshot.weights_path,
                "primary_score": snapshot.eval_metrics.primary_score, "episode_id": snapshot.episode_id,
                "timestamp": snapshot.timestamp,
            }
            for snapshot in self.registry.snapshots
        ]  # fmt: skip

    def status(self) -> dict[str, Any]:
        """Members, regime and budget, as plain values."""
        return {
            "ensemble_size": self.ensemble_size,
            "max_ensemble_size": self.max_ensemble_size,
            "agents": [_described(index, member) for index, member in enumerate(self.members)],
            "regime": self._regime,
            "spawn_count": self._spawn_count,
            "max_spawns": self.max_spawns,
            "spawns_remaining": self.spawns_remaining,
            "budget_exhausted": self.budget_exhausted,
            "prune_count": self._prune_count,
        }

    def training_report(self) -> dict[str, Any]:
        """``status()``, what the best policy scores, and a row per trial: what spawning gained over its control."""
        best = self.registry.best
        metrics = best.eval_metrics if best else None
        train = None if metrics is None else metrics.metrics.get("train_score", metrics.primary_score)
        return {
            **self.status(),
            "best_score": train,
            "best_val_score": None if metrics is None else metrics.metrics.get("val_score"),
            "best_generalization_gap": None if metrics is None else metrics.generalization_gap,
            "trials": [dict(trial) for trial in self._trials],
        }

    def print_report(self, reason: str) -> None:
        """Write the training report to the stream."""
        stream = self._stream if self._stream is not None else sys.stdout
        stream.write(report_text(self.training_report(), reason))
        stream.flush()

    # -- for the callback --------------------------------------------------------------------------------------

    def count_spawn(self) -> None:
        """One more variant."""
        self._spawn_count += 1

    def note_trial(self, outcome: dict[str, Any]) -> None:
        """Keep a row for the report."""
        self._trials.append(outcome)

    def leave_to(self, member: Member) -> None:
        """Only this member has a say from now on: the others get weight 0."""
        self.members.set_weights({i: float(other is member) for i, other in enumerate(self.members)})

    def note_in_place(self, origin: PolicySnapshot | None) -> None:
        """Remember which policy was best before a spawn in place."""
        self._origin_in_place = None if origin is None else origin.snapshot_id

    def in_place_has_gained(self, best: PolicySnapshot | None) -> bool:
        """True unless there was a spawn in place and the best policy is still the one from before it."""
        return self._origin_in_place is None or (best is not None and best.snapshot_id != self._origin_in_place)

    def by_key(self, key: int) -> Member | None:
        """The member with this key."""
        return next((member for member in self.members if member.key == key), None)

    def record_by_key(self, key: int, score: float) -> None:
        """``record_agent_score`` by key; a member that is gone is ignored."""
        for index, member in enumerate(self.members):
            if member.key == key:
                self.members.record(index, score)

    def state_dict(self, *, acting: int = -1) -> dict[str, Any]:
        """Counts, and the members: those that were spawned, and the primary, with their policies.

        acting: key of a member that the loop saves itself.
        """
        return {
            "spawn_count": self._spawn_count, "prune_count": self._prune_count, "regime": self._regime,
            "trials": {str(number): trial for number, trial in enumerate(self._trials)},
            "origin_in_place": self._origin_in_place,
            "members": {str(member.key): self._member_state(member, acting) for member in self.members},
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any], *, make: Callable[[], BaseAgent] | None = None) -> None:
        """Continue where ``state_dict`` was taken. make: gives shells for spawned members."""
        self._spawn_count, self._prune_count = state["spawn_count"], state["prune_count"]
        self._regime, self._origin_in_place = state["regime"], state["origin_in_place"]
        self._trials = list(state["trials"].values())
        self.members.restore(state["members"], make, load_agent_tree)

    def _member_state(self, member: Member, acting: int) -> dict[str, Any]:
        is_ours = member.is_spawned or member is self.members.primary
        return {**member.record(), "tree": agent_tree(member.agent) if is_ours and member.key != acting else None}

    def _start_anew(self, primary: Member) -> None:
        self.members.drop([primary, *(member for member in self.members if member.is_spawned)])
        self._spawn_count = self._prune_count = 0
        self._trials, self._origin_in_place = [], None

    def _prune(self, bottom_k: int, *, keep: Any = None) -> list[BaseAgent]:
        removed = self.members.prune(bottom_k, keep=keep)
        self._prune_count += len(removed)
        return [member.given for member in removed]


def _described(index: int, member: Member) -> dict[str, Any]:
    return {
        "index": index,
        "weight": member.weight,
        "mean_score": float(np.mean(member.scores)) if member.scores else None,
        "recent_scores": list(member.scores),
        "fault": member.fault,
    }
