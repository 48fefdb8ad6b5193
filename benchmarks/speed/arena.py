"""How do contestants run side by side without disturbing each other? Each in a process of its own, one at a time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from typing import Any

ONE_THREAD = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}  # fmt: skip


class Worker:
    """A contestant in a child process, which computes only while it is asked something."""

    def __init__(self, name: str, workload: str) -> None:
        command = [sys.executable, "-m", "benchmarks.speed.arena", name, workload]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD}
        )
        self.missing = self._answer()
        """Why there is no such contestant; empty where there is one."""

    def round(self) -> float:
        """CPU seconds of one round."""
        return float(self._ask("round"))

    def split(self) -> dict[str, float]:
        """See ``Contestant.split``."""
        words = self._ask("split").split()
        return {name: float(seconds) for name, seconds in zip(words[::2], words[1::2], strict=True)}

    def close(self) -> float:
        """End the process; returns the most memory that it had, in MB."""
        peak = float(self._ask("close"))
        self._child.wait()
        return peak

    def _ask(self, question: str) -> str:
        assert self._child.stdin is not None
        self._child.stdin.write(question + "\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        """Whatever else a library writes is passed over."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith(MARK):
                return line[len(MARK):].strip()
        raise RuntimeError(f"a contestant died with code {self._child.wait()}")


MARK = "answer>"


def main() -> None:
    """The child: build the contestant, then answer until told to close."""
    name, workload = sys.argv[1:]
    contestant = _built(name, workload)
    for question in sys.stdin if contestant is not None else ():
        match question.strip():
            case "round":
                start = time.process_time()
                contestant.round()
                _say(time.process_time() - start)
            case "split":
                _say(" ".join(f"{part} {seconds}" for part, seconds in contestant.split().items()))
            case "close":
                _say(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
                return


def _built(name: str, workload: str) -> Any:
    from benchmarks.speed.contestants import contestant
    from benchmarks.speed.workloads import WORKLOADS

    try:
        made = contestant(name, WORKLOADS[workload])
    except ImportError as error:
        _say(f"not installed ({error})")
        return None
    _say("")
    return made


def _say(answer: Any) -> None:
    print(f"{MARK}{answer}", flush=True)


if __name__ == "__main__":
    main()
