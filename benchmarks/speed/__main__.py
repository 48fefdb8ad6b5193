"""How many env steps a second does training make, learning included, beside Stable-Baselines3 and SBX?

    python -m benchmarks.speed                                   everything: about 20 minutes on one core
    python -m benchmarks.speed ppo-1x2048 dqn-fused-32 --rounds 5
    python -m benchmarks.speed sac-fused-32 --only torch Stable-Baselines3

Run it from the root of the project. Contestants take turns, each in a process of its own with one thread; CPU time,
medians over rounds, the first rounds (which compile) are left out. Ours is a plain loop of collecting and learning
over a pipeline. A library that is not installed is said to be missing. Rivals learn with their own defaults where
nothing else is said in ``workloads.py``.
"""

from __future__ import annotations

import argparse
import os
from statistics import median

from benchmarks.speed.arena import Worker
from benchmarks.speed.workloads import BACKENDS, RIVALS, WORKLOADS, Target, Workload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=[], help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=2, help="rounds that do not count")
    parser.add_argument("--only", nargs="+", choices=(*BACKENDS, *RIVALS), default=(*BACKENDS, *RIVALS))
    options = parser.parse_args()
    for name in options.workloads or WORKLOADS:
        print(f"\n{name}   (load average {os.getloadavg()[0]:.1f})", flush=True)
        measure(name, options.only, options.rounds, options.warm_up)


def measure(name: str, contestants: list[str], n_rounds: int, n_warm_up: int) -> None:
    """Print the table of one workload."""
    workload = WORKLOADS[name]
    workers = {contestant: Worker(contestant, name) for contestant in contestants}
    for contestant in [contestant for contestant in workers if workers[contestant].missing]:
        print(f"{contestant:18s} {workers.pop(contestant).missing}")
    seconds: dict[str, list[float]] = {contestant: [] for contestant in workers}
    for _ in range(n_warm_up + n_rounds):
        for contestant, worker in workers.items():
            seconds[contestant].append(worker.round())
    for contestant, worker in workers.items():
        first, counted = seconds[contestant][0], seconds[contestant][n_warm_up:]
        split = "".join(f"  {part} {1e6 * s / workload.steps:.1f}" for part, s in worker.split().items())
        rates = [workload.steps / s for s in counted]
        print(
            f"{contestant:18s}{median(rates):9,.0f} steps/s [{min(rates):,.0f} - {max(rates):,.0f}]  us a step "
            f"{1e6 * median(counted) / workload.steps:.1f}{split}  first round {first:.1f} s  {worker.close():.0f} MB",
            flush=True,
        )
    for line in verdicts(workload, {contestant: seconds[contestant][n_warm_up:] for contestant in workers}):
        print(line, flush=True)


def verdicts(workload: Workload, seconds: dict[str, list[float]]) -> list[str]:
    """A line for each of our backends and each rival that it is measured against: rounds are compared pairwise."""
    lines = []
    for backend in BACKENDS:
        for rival in RIVALS:
            if backend not in seconds or rival not in seconds:
                continue
            ratio = median(b / a for a, b in zip(seconds[backend], seconds[rival], strict=True))
            targets = [target for target in workload.targets.get(backend, ()) if target.rival == rival]
            lines.append(f"  {backend:14s} / {rival:18s} {ratio:6.2f}   {judged(ratio, targets)}")
    return lines


def judged(ratio: float, targets: list[Target]) -> str:
    """What the ratio is worth."""
    if not targets:
        return ""
    (target,) = targets
    reached = "goal" if ratio >= target.goal else "must" if ratio >= target.must else "MISSED"
    return f"{reached}   (must {target.must:g}, goal {target.goal:g})"


if __name__ == "__main__":
    main()
