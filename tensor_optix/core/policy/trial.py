"""How far has the trial of a variant got? A variant and a control, one after the other, for equally many steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tensor_optix.core.selection import MIN_PAIRS

STEP_SHARE = 0.25
"""Of the env steps so far that one trial may use: both forks and their comparison."""
LEAST_EVALUATION, MOST_EVALUATION = 0.4, 0.8  # of a trial's steps that are kept back for the comparison

VARIANT, CONTROL, COMPARISON = "variant", "control", "comparison"


@dataclass(frozen=True)
class Trial:
    """number: 1 for the first. noise: of the mutation. started: env steps of the run when the trial began.

    limit: env steps of the run that the trial will not go beyond. fork_steps: what the present fork may use; the
    control gets exactly what the variant used. phase_started: env steps of the run when its turn came.
    """

    number: int
    noise: float
    started: int
    limit: int
    fork_steps: int
    phase: str
    phase_started: int
    variant_steps: int = 0
    control_steps: int = 0

    def remaining(self, env_steps: int) -> int:
        """What the present fork may still use."""
        return max(0, self.phase_started + self.fork_steps - env_steps)

    def after_fork(self, env_steps: int) -> Trial:
        """The next phase: the present fork has used its steps."""
        used = env_steps - self.phase_started
        if self.phase == VARIANT:
            return replace(self, phase=CONTROL, phase_started=env_steps, fork_steps=used, variant_steps=used)
        return replace(self, phase=COMPARISON, phase_started=env_steps, control_steps=used)


def plan_trial(
    number: int, noise: float, *, env_steps: int, windows: int, episode_steps: int
) -> Trial | None:
    """A trial of a quarter of the steps so far at most; None where that buys no window for each fork.

    episode_steps: what an evaluation episode is known to cost, 0 where it is not. A window is taken for as large as
    the run's steps per window: a fork ends with the window in which its steps are used up.
    """
    if not windows:
        return None
    whole = int(STEP_SHARE * env_steps)
    comparison = min(max(int(LEAST_EVALUATION * whole), 2 * MIN_PAIRS * episode_steps), int(MOST_EVALUATION * whole))
    share, window = (whole - comparison) // 2, -(-env_steps // windows)
    if share < window:
        return None
    return Trial(number, noise, env_steps, env_steps + whole, share - window + 1, VARIANT, env_steps)


def affords_a_pair(trial: Trial, env_steps: int, episode_steps: int) -> bool:
    """True when both forks can play one more episode within the limit."""
    return env_steps + 2 * max(1, episode_steps) <= trial.limit
