"""Starts runs on request, each in a process of its own that is forked after everything has been imported.

    python -m tests.kill_server "six methods"

A line on stdin is one request as JSON (see ``Request``). Each answer is a line on stdout:

    READY                       everything is imported
    RESUMED g, LEFTOVER name    the run goes on from generation g; what a killed writer left is still there
    COMMITTING, COMMIT g        a training state is about to be committed; it is committed, and will never be lost
    SIGNAL t                    the run is about to send itself SIGTERM (t: seconds of the system's monotonic clock)
    DONE {...}                  ``kill_runs.outcome``
    FAILED text                 an error came out of the run
    ENDED status t              the process is gone; status as subprocess gives it
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium.envs.classic_control import CartPoleEnv

from tensor_optix import BatchPipeline, CheckpointError, LoopCallback, RLOptimizer
from tensor_optix.core import training_states
from tensor_optix.core.training_states import TrainingStates
from tensor_optix.storage import snapshot_store
from tests.kill_runs import AGENTS, COMPILED, WINDOW_SIZE, make, outcome

LONGEST_LIFE_SECONDS = 60
STRIKE_AT_WINDOW = 5
PHASES = ("start", "collect", "learn", "callback", "commit", "evaluation", "on_stop")


@dataclass(frozen=True)
class Request:
    """One life of a run below ``out``.

    may_begin: whether a new run may be made where there is none to resume. kill_after: seconds until SIGKILL.
    phase: where the run sends itself SIGTERM, ``n_signals`` times, and is busy for ``busy`` seconds afterwards.
    pause_share: 0 commits at every boundary, a large number at the first one only.
    """

    kind: str
    out: str
    may_begin: bool = True
    kill_after: float | None = None
    phase: str | None = None
    n_signals: int = 1
    busy: float = 0.0
    pause_share: float = 0.0


def say(*words: object) -> None:
    """One line, in one write: it is there whole, or not at all, when we are killed."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    import_for(sys.argv[1])
    gc.freeze()
    say("READY")
    for line in sys.stdin:
        serve(Request(**json.loads(line)))


def import_for(kind: str) -> None:
    """Whatever this kind of agent needs: one is made, where that starts no threads that a fork would lose."""
    if kind not in COMPILED:
        make(kind, "never-used")
        return
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from tests.agents_of_backends import backend_of

    backend_of(COMPILED[kind])


def serve(request: Request) -> None:
    """One life, from its birth to its end."""
    child = os.fork()
    if child == 0:
        live(request)
    born = time.monotonic()
    ends = LONGEST_LIFE_SECONDS if request.kill_after is None else request.kill_after
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() - born > ends:
            os.kill(child, signal.SIGKILL)  # not waited for yet, so the number is still its own
            status = os.waitpid(child, 0)
            break
        time.sleep(0.0005)
    with suppress(ProcessLookupError):
        os.killpg(child, 0)  # only asks
        say("FAILED it left processes behind")
    say("ENDED", os.waitstatus_to_exitcode(status[1]), time.monotonic())


def live(request: Request) -> None:
    """The run, in its own process."""
    os.setpgid(0, 0)
    code = 1
    try:
        training_states.PAUSE_SHARE = request.pause_share
        tell_of_commits()
        opt = begun_or_resumed(request)
        opt.add_callback(TellLeftovers(opt.run_dir))
        if request.phase is not None:
            strike_in(request.phase, opt, lambda: strike(request))
        opt.run()
        say("DONE", json.dumps(outcome(opt)))
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:  # noqa: BLE001 - told to the parent, which fails the test
        say("FAILED", type(error).__name__, str(error).replace("\n", " "))
    finally:
        os._exit(code)


def begun_or_resumed(request: Request) -> RLOptimizer:
    try:
        return make(request.kind, request.out, resume=True)
    except CheckpointError:
        if not request.may_begin:
            raise
        return make(request.kind, request.out)


class TellLeftovers(LoopCallback):
    """Says what a killed writer left behind, once the run is open again."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def on_loop_start(self) -> None:
        for path in self.run_dir.rglob(".t*-*"):
            say("LEFTOVER", path.name)


def tell_of_commits() -> None:
    commit, newest = TrainingStates.commit, TrainingStates.newest

    def told_commit(states: TrainingStates, *arguments: Any) -> int:
        say("COMMITTING")
        generation = commit(states, *arguments)
        say("COMMIT", generation)
        return generation

    def told_newest(states: TrainingStates) -> Any:
        found = newest(states)
        say("RESUMED", max(states._store.generations()))
        return found

    TrainingStates.commit = told_commit
    TrainingStates.newest = told_newest


# -- SIGTERM in a chosen phase -------------------------------------------------------------------------------------


def strike(request: Request) -> None:
    say("SIGNAL", time.monotonic())
    for _ in range(request.n_signals):
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(request.busy)


def strike_in(phase: str, opt: RLOptimizer, strike: Callable[[], None]) -> None:
    """Have ``strike`` called once, in the midst of ``phase``."""

    class Hook(LoopCallback):
        def on_loop_start(self) -> None:
            if phase == "start":
                strike()

        def on_episode_end(self, episode_id: int, eval_metrics: Any) -> None:
            if phase == "callback" and episode_id == STRIKE_AT_WINDOW:
                strike()

        def on_stop(self, result: Any) -> None:
            if phase == "on_stop":
                strike()

    opt.add_callback(Hook())
    agent = opt._parts.agent
    owner, name, call_number = {
        "collect": (CartPoleEnv, "step", STRIKE_AT_WINDOW * WINDOW_SIZE + WINDOW_SIZE // 2),
        "learn": (type(agent), "learn", STRIKE_AT_WINDOW),
        "commit": (snapshot_store, "write_archive", 2 * STRIKE_AT_WINDOW),
        "evaluation": (BatchPipeline, "evaluate", 3),
    }.get(phase, (Hook, "on_loop_stop", -1))
    original, calls = getattr(owner, name), iter(range(10**9))

    def striking(*arguments: Any, **keywords: Any) -> Any:
        if next(calls) == call_number:
            strike()
        return original(*arguments, **keywords)

    setattr(owner, name, striking)


if __name__ == "__main__":
    assert sys.argv[1] in AGENTS
    main()
