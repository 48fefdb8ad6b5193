"""When do stopping rules stop, on synthetic learning curves whose end is known?

    python benchmarks/stopping_synthetic.py [--each 200] [--noise 0.03 0.1 0.2] [--rules evidence "patience 20"]

Six families x three noise levels (sd in units of the rise) x three kinds of noise x EACH curves. A stop is false when
less than 95 % of the rise is over. Printed per rule and noise level: false stops, median of stop / T95 over all runs
(a run that was never stopped counts as infinite), runs never stopped within 1,000 ticks. Last: pure noise, which
must never be called converged.
"""

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_optix import EvidenceRule, LoopConfig, PatienceRule, Verdict
from tensor_optix.core.replay import first_end
from tensor_optix.testing.learning_curves import FAMILIES, NOISES, learning_curve, noise

Rule = Callable[[Any], int | None]


def evidence(scores: Any) -> int | None:
    return first_end(EvidenceRule(LoopConfig()), scores).tick


def patience(threshold: int) -> Rule:
    def stop(scores: Any) -> int | None:
        config = LoopConfig(convergence="patience", dormant_threshold=threshold)
        return first_end(PatienceRule(config, is_guarded=False), scores).tick

    return stop


def literal(scores: Any) -> int | None:
    """Every miss doubles the wait (at most 100 ticks); twenty misses in a row end the run."""
    tick, interval, misses, best, seen = 0, 1, 0, -math.inf, []
    while tick < len(scores):
        seen.append(float(scores[tick]))
        margin = 2 * float(np.std(seen[-20:]))
        smoothed = float(np.mean(seen[-2:]))
        if smoothed > best + margin:
            best, interval, misses = smoothed, 1, 0
        else:
            interval, misses = min(2 * interval, 100), misses + 1
        if misses >= 20:
            return tick + 1
        tick += interval
    return None


RULES: dict[str, Rule] = {
    "evidence": evidence, "patience 20": patience(20), "patience 40": patience(40), "literal backoff": literal,
}  # fmt: skip


def trial(rule: Rule, family: str, sd: float, kind: str, seed: int) -> tuple[bool, float]:
    """(was the stop false, stop / T95)."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), NOISES.index(kind), round(1000 * sd)])
    curve = learning_curve(family, rng)
    stop = rule((curve.level + sd * noise(kind, rng, len(curve.level))).tolist())
    if stop is None:
        return False, math.inf
    return bool(curve.level[stop - 1] < 0.95), stop / curve.t95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.03, 0.1, 0.2])
    parser.add_argument("--flat", type=int, default=600)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    options = parser.parse_args()
    heads = f"{'rule':16} {'noise':>6} {'runs':>6} {'false':>7} {'median':>7} {'90th':>7} {'never':>7}"
    print(f"{heads}   false by family (%)")
    for name in options.rules:
        for sd in options.noise:
            by_family = {
                family: [trial(RULES[name], family, sd, kind, seed) for kind in NOISES for seed in range(options.each)]
                for family in FAMILIES
            }
            results = [result for runs in by_family.values() for result in runs]
            false = 100 * np.mean([is_false for is_false, _ in results])
            ratios = np.array([ratio for _, ratio in results])
            late = np.quantile(ratios, 0.9, method="higher")
            families = "  ".join(f"{f} {100 * np.mean([r[0] for r in runs]):.1f}" for f, runs in by_family.items())
            print(
                f"{name:16} {sd:6.2f} {len(results):6d} {false:6.1f}% {np.median(ratios):6.2f}x {late:6.2f}x "
                f"{100 * np.mean(np.isinf(ratios)):6.1f}%   {families}", flush=True,
            )  # fmt: skip
    ends = [
        first_end(EvidenceRule(LoopConfig()), noise(NOISES[i % 3], np.random.default_rng(i), 300).tolist()).last
        for i in range(options.flat)
    ]
    wrong = sum(end.verdict in (Verdict.CONVERGED, Verdict.CEILING) for end in ends)
    print(f"pure noise, 300 ticks: {wrong} of {len(ends)} called converged")


if __name__ == "__main__":
    main()
