"""How are windows of one size collected from one environment?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensor_optix.pipeline.crew import Crew
from tensor_optix.pipeline.env_pipeline import EnvPipeline, checked_timeout, checked_window_size
from tensor_optix.pipeline.environments import Env, env_source
from tensor_optix.pipeline.step_alarm import StepAlarm


class BatchPipeline(EnvPipeline):
    """Windows of exactly ``window_size`` env steps; env episodes go on from one window into the next.

    env: an environment, which stays the caller's to close, or a factory without arguments; env_id: a registered id.
    What a factory or an id gave is closed by ``teardown``, and is built anew when it fails (at most three times
    without an env episode that ends by itself in between, and ten times within an hour); an environment handed over
    fails with EnvError at once.
    n_steps: another name for ``window_size``.

    A new ``episodes()`` goes on in the env episode that the last one left open. A window that an exception broke
    off is dropped, and the next one starts from a reset.

    on_nonfinite: what becomes of a reward or an observation that is NaN or infinite. "drop_episode": the step is left
    out, and the env episode ends before it as truncated, without a return (more than 100 of the last 10,000 steps:
    NonFiniteError). "raise": NonFiniteError at the first one. "clip": NaN becomes 0, infinity the space's bound, or
    a million where it has none. In no case does the agent, the data or the score see such a number.

    observations: "auto" (arrays as they are, Dict and Tuple as one flat vector), "flatten" (one flat vector in every
    case) or "raw" (as they are; a Dict or a Tuple is then one element of an array of objects).

    step_timeout: seconds that a reset or a step may take. After that all stacks are shown on stderr and the call
    fails (EnvHangs), if it can be interrupted: in the main thread, not on Windows, and not in code in C that never
    comes back to Python. Uses the signal SIGALRM while a window is collected. None: there is no limit.

    health: what was repaired or cut, counted ("env_rebuilt", "env_hung", "nonfinite_steps",
    "out_of_space_observations" (finite ones, which are passed on), "evaluation_cut", "resume_mismatch",
    "resume_too_long").
    """

    def __init__(
        self,
        env: Env | Callable[[], Env] | None = None,
        agent: Any = None,
        window_size: int | None = None,
        *,
        env_id: str | None = None,
        n_steps: int | None = None,
        on_nonfinite: str = "drop_episode",
        observations: str = "auto",
        step_timeout: float | None = None,
    ) -> None:
        size = checked_window_size(window_size, n_steps, default=200)
        source = env_source(env, env_id, observations=observations)
        super().__init__([source], Crew(), agent, size, on_nonfinite, StepAlarm(checked_timeout(step_timeout)))
