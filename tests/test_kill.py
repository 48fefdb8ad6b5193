"""Whatever instant a run is killed at: nothing committed is lost, and it ends as if nothing had happened.

Longer: ``python -m tests.long.kill --kills 2000``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from tensor_optix.quick.backends import is_installed
from tests.kill_runs import AGENTS, COMPILED
from tests.kill_server import PHASES, Request

ROOT = Path(__file__).parent.parent
KILLS = {"six methods": 100, **dict.fromkeys(COMPILED, 3)}  # others: 12, because each life costs more
CHANGED_BY_ACTING = {"six methods"}  # as far as we know: a window that was broken off cannot be taken back
SLEEPY_SECONDS = 60.0  # longer than anybody waits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is promised is promised for Linux")


class Server:
    """A process in which everything is imported, and which gives birth to runs."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        command = [sys.executable, "-m", "tests.kill_server", kind]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "READY"

    def life(self, out: Path, **wishes: Any) -> list[list[str]]:
        """What one life had to say, each line as [word, rest]. Raises AssertionError when it failed by itself."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(Request(self.kind, str(out), **wishes))) + "\n")
        self._process.stdin.flush()
        told = [self._line().split(" ", 1)]
        while told[-1][0] != "ENDED":
            told.append(self._line().split(" ", 1))
        assert not (failures := [line for line in told if line[0] in ("FAILED", "LEFTOVER")]), failures
        return told

    def close(self) -> None:
        """The server ends when nobody can ask it any more."""
        self._process.communicate(timeout=30)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server is gone"
        return line.rstrip("\n")


def said(told: list[list[str]], word: str) -> list[str]:
    """What followed ``word``, each time it was said."""
    return [rest[0] for head, *rest in told if head == word]


def finished(told: list[list[str]]) -> dict[str, Any] | None:
    """The outcome of a life that came to its end, clock readings aside."""
    return next(map(json.loads, said(told, "DONE")), None)


def kill_often(server: Server, scratch: Path, *, kills: int, seed: int = 0) -> Counter[str]:
    """Kill runs at random instants, restart each until it has finished, and compare it with one that nobody killed.

    Returns figures. Raises AssertionError where a commit was lost, a temporary directory left, or a bit differs.
    """
    born = time.monotonic()
    whole = finished(server.life(scratch / "whole"))
    took = time.monotonic() - born
    # so that every life gets on, on a slow machine too, and most of them beyond compiling
    span = (0.3 * took, took) if server.kind in COMPILED else (0.0, 0.5 * took)
    rng, figures = np.random.default_rng(seed), Counter[str]()
    while figures["kills"] < kills:
        out = scratch / f"run-{figures['runs']}"
        found = live_until_finished(server, out, rng, span, figures, kills)
        assert found == whole, out
        assert not list(out.glob(".t*")), "the parent directory holds what a killed process left"
        figures["runs"] += 1
    return figures


def live_until_finished(
    server: Server, out: Path, rng: np.random.Generator, span: tuple[float, float], figures: Counter[str], kills: int
) -> dict[str, Any]:
    """The outcome of one run, however many lives it takes."""
    acknowledged = 0
    while True:
        is_spared = figures["kills"] >= kills
        wishes = {} if is_spared else {"kill_after": float(rng.uniform(*span))}
        told = server.life(out, may_begin=not acknowledged, **wishes)
        for generation in map(int, said(told, "RESUMED")):
            assert acknowledged <= generation <= acknowledged + 1, "a commit was lost"
            acknowledged = generation  # on disk, although its process was killed before it could say so
            figures["resumed"] += 1
        acknowledged = max([acknowledged, *map(int, said(told, "COMMIT"))])
        figures["commits"] += len(said(told, "COMMIT"))
        if (found := finished(told)) is not None:
            return found
        figures["kills"] += 1
        assert not is_spared, told
        assert told[-1][1].startswith("-9 "), told
        figures["killed in a commit"] += told[-2:-1] == [["COMMITTING"]]


@pytest.fixture(scope="module", params=AGENTS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    framework = request.param.split()[0]
    if framework in ("torch", "jax", "tf") and not is_installed(framework):
        pytest.skip(f"{framework} is not installed")
    server = Server(request.param)
    yield server
    server.close()


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of a run that nobody disturbed."""
    found = finished(server.life(tmp_path_factory.mktemp("whole")))
    assert found is not None
    return found


def test_kills_at_random_instants_lose_nothing(server: Server, tmp_path: Path) -> None:
    kills = KILLS.get(server.kind, 12)
    figures = kill_often(server, tmp_path, kills=kills)
    assert figures["kills"] == kills
    assert figures["resumed"] > 0.5 * kills or (server.kind in COMPILED and figures["resumed"] > 0)
    assert figures["killed in a commit"] > 0 or kills < 100  # about one in three


# signals are the loop's business, whatever learns below
SIGNALLED = pytest.mark.parametrize("server", [kind for kind in AGENTS if kind not in COMPILED], indirect=True)


@SIGNALLED
@pytest.mark.parametrize("phase", PHASES)
def test_after_sigterm_a_run_ends_soon_and_can_be_continued(
    server: Server, whole: dict[str, Any], phase: str, tmp_path: Path
) -> None:
    can_leave = phase in ("collect", "evaluation")  # whatever else is going on has to be finished
    told = server.life(tmp_path, phase=phase, busy=SLEEPY_SECONDS if can_leave else 0.2)
    found = finished(told)
    assert found is not None
    assert seconds_to_the_end(told) < 2
    is_closing = phase in ("evaluation", "on_stop")
    assert found["reason"] == ("max_episodes" if is_closing else "terminated")
    assert finished(server.life(tmp_path, may_begin=False)) == whole


@SIGNALLED
@pytest.mark.parametrize("phase", ["collect", "learn", "callback"])
def test_sigterm_commits_although_the_next_commit_is_not_due(
    server: Server, whole: dict[str, Any], phase: str, tmp_path: Path
) -> None:
    told = server.life(tmp_path, phase=phase, pause_share=1e9)
    can_commit = phase != "collect" or server.kind not in CHANGED_BY_ACTING
    order = [word for word, *_ in told if word in ("COMMIT", "SIGNAL")]
    assert order == (["COMMIT", "SIGNAL", "COMMIT"] if can_commit else ["COMMIT", "SIGNAL"])
    assert finished(server.life(tmp_path, may_begin=False)) == whole


@SIGNALLED
@pytest.mark.parametrize("phase", ["learn", "callback", "commit", "on_stop"])
def test_a_second_sigterm_ends_it_at_once_and_it_can_be_continued(
    server: Server, whole: dict[str, Any], phase: str, tmp_path: Path
) -> None:
    told = server.life(tmp_path, phase=phase, n_signals=2, busy=SLEEPY_SECONDS)
    assert finished(told) is None
    assert seconds_to_the_end(told) < 2
    assert finished(server.life(tmp_path, may_begin=False)) == whole


def seconds_to_the_end(told: list[list[str]]) -> float:
    (struck,) = said(told, "SIGNAL")
    return float(told[-1][1].split()[1]) - float(struck)
