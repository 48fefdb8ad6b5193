"""Read every hostile input in a process that would notice: run as ``python -m tests.security.guarded_reading DIR``.

An audit hook forbids, while a reader is at work, whatever could run code, and any look or write outside the run.
One JSON line a case goes to ``DIR/outcomes.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.errors import TensorOptixError
from tensor_optix.quick import load
from tensor_optix.storage import FileSystem, RunDirectory
from tests.security.hostile import Case, corpus
from tests.security.sound_run import GENERATION, Files, OpaqueAgent, ToyAgent, make_run, ppo_agent, trained_agent

TIME_LIMIT_SECONDS = 10
BATCH = 50  # cases built at a time
FORBIDDEN = (
    "pickle.", "marshal.", "exec", "compile", "import", "subprocess.", "socket.", "ctypes.", "shutil.", "tempfile.",
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill", "os.putenv",
    "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.chmod", "os.chown",
    "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "code.", "builtins.input", "pty.", "gc.get",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


Reader = tuple[BaseAgent, Callable[[], Any]]


class Guard:
    """The audit hook. It can be armed and disarmed, never removed."""

    def __init__(self) -> None:
        self.inside: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self.check)

    def check(self, event: str, args: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        forbidden = event.startswith(FORBIDDEN)
        if event == "open" and not isinstance(args[0], int):
            path = os.path.abspath(os.fsdecode(args[0]))  # noqa: PTH100 - nothing else is safe in a hook
            forbidden = not path.startswith(self.inside) or bool(args[2] & WRITING)
        if forbidden:
            self.seen.append(f"{event} {str(args)[:200]}")
            raise PermissionError(f"forbidden while reading: {event}")


class Hangs(BaseException):
    """Reading took too long."""


def on_alarm(*_: Any) -> None:
    raise Hangs


def fingerprint(agent: BaseAgent) -> str:
    """Every bit of an agent."""
    digest = hashlib.sha256(repr(sorted(agent.get_hyperparams().params.items())).encode())

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for key, child in sorted(node.items()):
                digest.update(str(key).encode())
                walk(child)
        else:
            array = np.asarray(node)
            digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())

    walk(agent.policy_state() or {"weight": agent.weight})  # type: ignore[attr-defined]
    return digest.hexdigest()


def readers(run: Path, ppo: BaseAgent, toy: BaseAgent, opaque: BaseAgent) -> dict[str, Reader]:
    """Every way to read a run directory, and the agent that must not be harmed by it."""

    def open_run() -> RunDirectory:
        return RunDirectory.open(FileSystem(), run)

    return {
        "best": (ppo, lambda: (CheckpointRegistry(run).best, CheckpointRegistry(run).snapshots)),
        "load_best": (ppo, lambda: CheckpointRegistry(run).load_best(ppo) or _nothing(run)),
        "load_ensemble": (ppo, lambda: CheckpointRegistry(run).load_ensemble(ppo) or _nothing(run)),
        "load_weights": (ppo, lambda: ppo.load_weights(str(run / GENERATION))),
        "toy": (toy, lambda: CheckpointRegistry(run).load_best(toy)),
        "opaque": (opaque, lambda: CheckpointRegistry(run).load_best(opaque)),
        "open": (ppo, lambda: (open_run().identity, open_run().summary, open_run().run_id)),
        "read_metrics": (ppo, lambda: open_run().read_metrics()),
        "read_events": (ppo, lambda: open_run().read_events()),
        "quick.load": (ppo, lambda: load(run).pipeline.teardown()),
    }


def _nothing(run: Path) -> None:
    raise TensorOptixError(f"{run} holds no policy")


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def memory(field: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024


def forget_the_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def touched_by(case: Case) -> set[str]:
    """The readers that come across what a case changes, whether they have to refuse it or not."""
    others = ("best", "toy") if "load_best" in case.refused_by else ("best", "open", "read_metrics", "read_events")
    return {*case.refused_by, *others}


def read_one(case: Case, files: Files, agents: tuple[BaseAgent, ...], guard: Guard, log: Lines) -> dict[str, Any]:
    """What every reader made of one case."""
    outcomes = {}
    log.lines.clear()
    forget_the_peak()
    before_rss = memory("VmRSS")
    for name, (agent, read) in readers(files.run, *agents).items():
        if name not in touched_by(case):
            continue
        policy, hyperparams, before = agent.policy_state(), agent.get_hyperparams(), fingerprint(agent)
        guard.seen.clear()
        error: BaseException | None = None
        signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT_SECONDS)
        guard.inside, start = str(files.run), time.process_time()  # of this process alone: others share the machine
        try:
            read()
        except BaseException as caught:  # noqa: BLE001 - that is the question
            error = caught
        seconds = time.process_time() - start
        guard.inside = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        outcomes[name] = {
            "error": None if error is None else type(error).__name__,
            "typed": isinstance(error, TensorOptixError),
            "text": str(error),
            "seconds": seconds,
            "changed": fingerprint(agent) != before,
            "forbidden": list(guard.seen),
        }
        agent.set_hyperparams(hyperparams)
        if policy is not None:
            agent.load_policy_state(policy)
    return {
        "case": case.name,
        "outcomes": outcomes,
        "growth": memory("VmHWM") - before_rss,
        "canary": files.canary.exists(),
        "log": list(log.lines),
    }


def build_elsewhere(cases: list[tuple[Case, Files]], sound: dict[bool, Path]) -> None:
    """Build in a child, so that memory which building takes does not hide what reading takes."""
    if (child := os.fork()) == 0:
        try:
            for case, files in cases:
                shutil.copytree(sound[case.is_opaque], files.run)
                files.outside.mkdir()
                case.build(files)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "a case could not be built"


def main(scratch: Path) -> None:
    signal.signal(signal.SIGALRM, on_alarm)
    log = Lines()
    logging.getLogger("tensor_optix").addHandler(log)
    logging.getLogger("tensor_optix").propagate = False
    evil = scratch / "path"
    evil.mkdir()
    (evil / "evilmod.py").write_text(f"open({str(scratch / 'IMPORTED')!r}, 'w').close()")
    sys.path.insert(0, str(evil))
    sound = {
        False: make_run(scratch / "sound", [trained_agent(seed=1)]),
        True: make_run(scratch / "opaque", [OpaqueAgent()]),
    }
    agents = (ppo_agent(seed=2), ToyAgent(), OpaqueAgent())
    guard = Guard()
    for name, (agent, read) in readers(sound[False], *agents).items():  # whatever is imported late is imported now
        with suppress(TensorOptixError):
            read()
        assert name == "opaque" or fingerprint(agent)
    agents = (ppo_agent(seed=2), ToyAgent(), OpaqueAgent())
    homes = [(case, scratch / f"case {number}") for number, case in enumerate(corpus())]
    cases = [(case, Files(home / "run", home / "outside")) for case, home in homes]
    with (scratch / "outcomes.jsonl").open("w") as results:
        for start in range(0, len(cases), BATCH):
            batch = cases[start : start + BATCH]
            build_elsewhere(batch, sound)
            for case, files in batch:
                outcome = read_one(case, files, agents, guard, log)
                outcome["canary"] |= (scratch / "IMPORTED").exists()
                results.write(json.dumps(outcome) + "\n")
                shutil.rmtree(files.run.parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
