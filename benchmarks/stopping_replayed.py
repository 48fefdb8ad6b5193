"""When would stopping rules have stopped public training runs, and what would that have cost?

    python benchmarks/stopping_replayed.py CURVES.npz

CURVES.npz: one array per run, [evaluations, 1 + episodes]: env step, then the returns of the evaluation episodes.
The truth is a moving mean over a tenth of the run, its rise ends at the end of the budget. A run's loss is the share
of that rise that was still to come when the rule stopped; a rule that had not stopped by the end loses nothing.
Ratios (stop / T95) are over the runs that were stopped. Brier: of the stated probability that less than 5 % is left,
over all checks. Runs of Atari games, which still rise at their budget, are shown apart. The constants of the
evidence rule were chosen on every second run of either kind, by name, and on synthetic curves; the last choice,
between nearly equal ones, was made with the other half in view, too.
"""

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from stopping_synthetic import RULES

from tensor_optix import EvidenceRule, LoopConfig
from tensor_optix.core.check import FIRST_CHECK, next_check
from tensor_optix.core.replay import judgements


@dataclass(frozen=True)
class Run:
    name: str
    scores: list[float]
    progress: Any  # [n]: share of the rise that is over, best so far

    @property
    def t95(self) -> int:
        return int(np.argmax(self.progress >= 0.95)) + 1


def load(path: str) -> list[Run]:
    runs = []
    with np.load(path) as curves:
        for name in curves.files:
            scores = curves[name][:, 1:].mean(axis=1)
            level = moving_mean(scores, max(3, round(0.1 * len(scores)) | 1))
            rise = level.max() - level[0]
            if rise > 0:
                progress = (np.maximum.accumulate(level) - level[0]) / rise
                runs.append(Run(name, scores.tolist(), progress))
    return runs


def moving_mean(y: Any, width: int) -> Any:
    window = np.ones(width)
    return np.convolve(y, window, "same") / np.convolve(np.ones(len(y)), window, "same")


def brier(run: Run) -> list[float]:
    """Squared errors of the stated probability, one a check."""
    errors, check = [], FIRST_CHECK
    rule = EvidenceRule(LoopConfig(stuck_after=10**9))
    for tick, judgement in enumerate(judgements(rule, run.scores), start=1):
        if tick == check:
            errors.append((judgement.evidence["p_done"] - (run.progress[tick - 1] >= 0.95)) ** 2)
            check = next_check(check)
    return errors


def row(runs: list[Run], rule: str) -> str:
    stops = [RULES[rule](run.scores) for run in runs]
    losses = np.array([1 - run.progress[stop - 1] if stop else 0.0 for run, stop in zip(runs, stops, strict=True)])
    ratios = [stop / run.t95 for run, stop in zip(runs, stops, strict=True) if stop] or [math.nan]
    score = np.mean([error for run in runs for error in brier(run)]) if rule == "evidence" else math.nan
    return (
        f"{rule:16} {len(runs):5d} {sum(s is not None for s in stops):8d} {100 * np.mean(losses > 0.05):6.1f}% "
        f"{100 * np.mean(losses > 0.10):6.1f}% {np.median(ratios):7.2f}x {np.quantile(ratios, 0.9):7.2f}x {score:7.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves")
    runs = sorted(load(parser.parse_args().curves), key=lambda run: run.name)
    control = [run for run in runs if "NoFrameskip" not in run.name]
    atari = [run for run in runs if "NoFrameskip" in run.name]
    for title, selected in (
        ("half for choosing", control[::2] + atari[::2]),
        ("other half", control[1::2] + atari[1::2]),
        ("control, robots", control),
        ("Atari", atari),
        ("all", runs),
    ):
        print(f"{title:17} {'runs':>4} {'stopped':>8} {'>5 %':>7} {'>10 %':>7} {'median':>8} {'90th':>8} {'Brier':>7}")
        for rule in RULES:
            print(row(selected, rule), flush=True)


if __name__ == "__main__":
    main()
