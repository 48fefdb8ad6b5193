"""What happens when the loop has become DORMANT? A variant is tried against a control, and goes on if it is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from types import MethodType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.callbacks import Continuation, LoopCallback, RunView
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.ensemble_agent import EnsembleAgent
from tensor_optix.core.meta_controller import MetaAction, MetaController
from tensor_optix.core.policy.comparing import compared_episodes
from tensor_optix.core.policy.forking import agent_tree, fork, load_agent_tree, made_by, vary
from tensor_optix.core.policy.members import Member
from tensor_optix.core.policy.proof import proof_of
from tensor_optix.core.policy.trial import COMPARISON, CONTROL, STEP_SHARE, VARIANT, Trial, affords_a_pair, plan_trial
from tensor_optix.core.types import EvalMetrics

if TYPE_CHECKING:
    from tensor_optix.core.policy_manager import PolicyManager

PRIMARY, MEMBER = "primary", "member"


class PolicyManagerCallback(LoopCallback):
    """Policy evolution for one run; made by ``PolicyManager.as_callback``.

    Each trial forks the best policy twice: a variant, and a control whose hyperparameters are left alone. One after
    the other they are trained for equally many steps and compared on common seeds. A variant that is proven better
    joins the ensemble and goes on. A trial never uses more than a quarter of the run's env steps so far.

    Without an ``agent_factory``, and for an agent that is no member (an EnsembleAgent), a spawn happens in place: the
    best policy is restored and varied, and the same agent goes on.
    """

    def __init__(
        self,
        policy_manager: PolicyManager,
        agent: Any,
        agent_factory: Callable[[], Any] | None = None,
        meta_controller: MetaController | None = None,
    ) -> None:
        self._pm = policy_manager
        self._primary = policy_manager.name_primary(agent)
        self._factory = agent_factory
        self._meta = meta_controller
        self._stop: Callable[[], None] | None = None
        self._is_attached = False
        self._trial: Trial | None = None
        self._forks: dict[str, BaseAgent] = {}
        self._acting = (PRIMARY, self._primary.key)
        self._retired: list[BaseAgent] = []
        self._longest_episode = 0

    # -- wiring ------------------------------------------------------------------------------------------------

    def set_stop_fn(self, fn: Callable[[], None]) -> None:
        """What to call when the report has been printed. An optimizer that gets this callback sets its own.

        ``stop`` of an optimizer says which run this callback is for: it is added to that one if it belongs to none.
        """
        self._stop = fn
        run = fn.__self__ if isinstance(fn, MethodType) else None
        if isinstance(run, _TakesCallbacks) and not self._is_attached:
            run.add_callback(self)

    def attached(self, registry: CheckpointRegistry, stop: Callable[[], None]) -> None:
        """The run's registry becomes the manager's, so that it is never stale."""
        self._is_attached = True
        self._pm.registry = registry
        self._stop = self._stop or stop

    def on_episode_end(self, episode_id: int, eval_metrics: EvalMetrics | None) -> None:
        """A score belongs to the member that acts."""
        if eval_metrics is not None and self._acting[0] in (PRIMARY, MEMBER):
            self._pm.record_by_key(self._acting[1], eval_metrics.primary_score)

    def on_loop_stop(self) -> None:
        """A trial that the end of the run has broken off is dropped; the user's own agent acts in the next run."""
        self._drop_trial()
        self._release_retired()
        self._acting = (PRIMARY, self._primary.key)

    # -- after DORMANT -----------------------------------------------------------------------------------------

    def after_dormant(self, run: RunView) -> Continuation | None:
        """Go on with the trial, begin the next one, or end the run."""
        self._release_retired()
        if self._trial is not None:
            return self._go_on(run, self._trial)
        self._pm.auto_update_weights()
        if run.history and self._pm.evolve(run.agent, run.history[-1].primary_score):
            run.tell("rolled back", "to the best policy, before a variant is made of it", {})
        if not self._is_worth_another(run):
            return self._end(run, "No variant was proven better")
        return self._decide(run)

    def _decide(self, run: RunView) -> Continuation | None:
        if self._pm.budget_exhausted:
            return self._end(run, "Spawn budget exhausted")
        if run.best_snapshot is None:
            run.tell("no spawn", "no policy has been kept yet that a variant could be made of", {})
            return None
        if self._meta is not None:
            decision = self._meta.judge(run.history, self._pm.status())
            run.tell(decision.action.name.lower(), decision.explanation, {})
            if decision.action is MetaAction.NO_OP:
                return None
            if decision.action is MetaAction.STOP:
                return self._end(run, f"Stopped: {decision.explanation}")
            if decision.action is MetaAction.PRUNE:
                self._pm.prune(1)
        return self._spawn(run)

    def _spawn(self, run: RunView) -> Continuation | None:
        noise = self._pm.adaptive_noise_scale(run.history)
        if self._factory is None or not self._is_ours(run.agent):
            return self._spawn_in_place(run, noise)
        self._longest_episode = max(self._longest_episode, _episode_steps(run))
        trial = plan_trial(
            self._pm.spawn_count + 1, noise, env_steps=run.env_steps + run.evaluation.steps, windows=run.windows,
            episode_steps=self._longest_episode,
        )  # fmt: skip
        if trial is None:
            return self._end(run, "A trial would cost more than a quarter of the steps so far")
        self._trial = trial
        self._forks = {VARIANT: self._shell(), CONTROL: self._shell()}
        for agent in self._forks.values():
            fork(agent, run.agent, run.registry)
        vary(self._forks[VARIANT], noise, run.rng)
        self._pm.count_spawn()
        params = {name: dict(agent.get_hyperparams().params) for name, agent in self._forks.items()}
        run.tell("spawned", f"variant {trial.number} with noise {noise:.3g}", {"noise": noise, **params})
        return self._act(VARIANT, trial.fork_steps)

    def _spawn_in_place(self, run: RunView, noise: float) -> Continuation:
        self._pm.count_spawn()
        run.registry.load_best(run.agent)
        vary(run.agent, noise, run.rng)
        self._pm.note_in_place(run.best_snapshot)
        run.tell("spawned", f"in place, with noise {noise:.3g}", {"noise": noise})
        return Continuation(run.agent)

    def _is_worth_another(self, run: RunView) -> bool:
        """With an unlimited budget, spawning in place goes on only while it leads to better policies."""
        return self._pm.max_spawns is not None or self._pm.in_place_has_gained(run.best_snapshot)

    # -- a trial -----------------------------------------------------------------------------------------------

    def _go_on(self, run: RunView, trial: Trial) -> Continuation | None:
        if left := trial.remaining(run.env_steps):
            return Continuation(self._forks[trial.phase], left)  # the fork was dormant before its steps were used up
        self._trial = trial.after_fork(run.env_steps)
        if self._trial.phase == CONTROL:
            return self._act(CONTROL, self._trial.fork_steps)
        return self._conclude(run, self._trial)

    def _conclude(self, run: RunView, trial: Trial) -> Continuation | None:
        evaluation = run.evaluation
        variant, control = self._forks[VARIANT], self._forks[CONTROL]

        def affords() -> bool:
            longest = max(evaluation.max_episode_steps, self._longest_episode)
            return affords_a_pair(trial, run.env_steps + evaluation.steps, longest)

        scores = compared_episodes(evaluation, variant, control, run.rng, affords=affords)
        self._longest_episode = max(self._longest_episode, evaluation.longest_episode)
        proof = proof_of(*scores, spawn=trial.number, max_spawns=self._pm.max_spawns)
        text = f"not compared: {evaluation.problem}" if evaluation.problem and not proof.n_pairs else proof.text
        outcome = {
            "spawn": trial.number, "noise": trial.noise, "variant_steps": trial.variant_steps,
            "control_steps": trial.control_steps, "evaluation_steps": evaluation.steps, "gain": proof.gain,
            "n_pairs": proof.n_pairs, "t": proof.comparison.t, "threshold": proof.threshold,
            "is_adopted": proof.is_adopted, "text": text,
        }  # fmt: skip
        self._pm.note_trial(outcome)
        run.tell("adopted" if proof.is_adopted else "not adopted", text, outcome)
        if proof.is_adopted:
            return self._adopt()
        self._drop_trial()
        if self._pm.max_spawns is None:
            return self._end(run, "No variant was proven better")
        if self._pm.budget_exhausted:
            return self._end(run, "Spawn budget exhausted")
        return self._spawn(run)  # as dormant as before: the next variant is due at once

    def _adopt(self) -> Continuation:
        variant = self._forks.pop(VARIANT)
        self._drop_trial()
        member = self._pm.adopt(variant, lineage=self._primary.lineage)
        self._acting = (MEMBER, member.key)
        return Continuation(variant)

    def _act(self, phase: str, max_steps: int) -> Continuation:
        self._acting = (phase, -1)
        return Continuation(self._forks[phase], max_steps)

    def _end(self, run: RunView, reason: str) -> Continuation | None:
        """Nothing goes on: report, and say so to whoever asked to be told."""
        leading = self._pm.members.leading
        if leading is not None and any(member.is_spawned for member in self._pm.members.working):
            self._judge_ensemble(run, leading)
        self._pm.print_report(reason)
        run.tell("evolution ended", reason, {})
        if self._stop is not None:
            self._stop()
        return None

    def _judge_ensemble(self, run: RunView, best: Member) -> None:
        """An ensemble with adopted variants is kept only if it is proven better than its best member, by the recorded
        scores; otherwise that one alone has a say. This costs a quarter of the steps so far at most, too.
        """
        start, evaluation = run.env_steps + run.evaluation.steps, run.evaluation
        limit = int((1 + STEP_SHARE) * start)

        def affords() -> bool:
            longest = max(1, evaluation.max_episode_steps, self._longest_episode)
            return run.env_steps + evaluation.steps + 2 * longest <= limit

        ensemble = EnsembleAgent(self._pm, self._primary.agent)
        scores = compared_episodes(evaluation, ensemble, best.agent, run.rng, affords=affords)
        proof = proof_of(*scores, spawn=1, max_spawns=1)
        if not proof.is_adopted:
            self._pm.leave_to(best)
        text = f"the ensemble is {'better than' if proof.is_adopted else 'left to'} its best member: {proof.text}"
        run.tell("ensemble judged", text, {"gain": proof.gain, "t": proof.comparison.t, "n_pairs": proof.n_pairs})

    def _drop_trial(self) -> None:
        """The forks are released with the next decision: the one that acted last may still be asked."""
        self._retired += self._forks.values()
        self._forks, self._trial = {}, None

    def _release_retired(self) -> None:
        for agent in self._retired:
            agent.teardown()
        self._retired = []

    def _is_ours(self, agent: BaseAgent) -> bool:
        """True for a member, and for the fork that acted last: not for an ensemble of them."""
        return self._pm.members.find(agent) is not None or any(agent is fork for fork in self._retired)

    def _shell(self) -> BaseAgent:
        return as_agent(made_by(self._factory)())

    # -- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The manager, the trial and its forks. The agent that acts is saved by the loop."""
        phase, key = self._acting
        forks = {name: None if name == phase else agent_tree(agent) for name, agent in self._forks.items()}
        return {
            "manager": self._pm.state_dict(acting=key if phase in (PRIMARY, MEMBER) else -1),
            "trial": None if self._trial is None else asdict(self._trial),
            "forks": forks,
            "acting": [phase, key],
            "longest_episode": self._longest_episode,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; the factory makes the agents again.

        A trial whose waiting fork gave no state (an agent that only writes files) is not gone on with.
        """
        self._pm.load_state_dict(state["manager"], make=self._shell)
        phase, key = state["acting"]
        self._longest_episode = state["longest_episode"]
        self._trial = None if state["trial"] is None else Trial(**state["trial"])
        self._forks = {name: self._shell() for name in state["forks"]}
        self._acting = (phase, key)
        for name, agent in self._forks.items():
            if name != phase and state["forks"][name] is not None:
                load_agent_tree(agent, state["forks"][name])
            elif name != phase and self._trial is not None and self._trial.phase != COMPARISON:
                self._drop_trial()
                self._acting = (PRIMARY, self._primary.key)
                return

    def resumed_agent(self) -> BaseAgent | None:
        """The fork or the adopted variant that was acting."""
        phase, key = self._acting
        if phase == PRIMARY:
            return None
        member: Member | None = self._pm.by_key(key)
        return self._forks.get(phase) if member is None else member.agent


@runtime_checkable
class _TakesCallbacks(Protocol):
    def add_callback(self, cb: LoopCallback) -> None: ...


def _episode_steps(run: RunView) -> int:
    """What an env episode costs: the longest that recent scores tell of, 0 where they do not."""
    lengths = [metrics.metrics.get("episode_length", 0.0) for metrics in run.history[-10:]]
    return int(max(lengths, default=0.0))
