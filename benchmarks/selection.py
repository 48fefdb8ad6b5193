"""Which of many noisily scored policies should be kept, and which should compete at the end?

    python benchmarks/selection.py [--runs 108]

Learning curves of six families whose level also wanders from policy to policy (autoregressive, sd 0, .1 and .2 of
the rise), one score each with noise of sd .05, .15 and .3: 120 policies a run. Ten are kept while the run goes on,
the best score among them; four of those compete at the end. Printed, in units of the rise: how far the best of the
kept, the best of the four, and the mean of the four lie below the best policy there was.
"""

import argparse

import numpy as np

from tensor_optix.core.statistics import level_at, noise_sd
from tensor_optix.testing.learning_curves import FAMILIES, learning_curve

N, KEPT, CANDIDATES = 120, 10, 4


def own_score(scores, at):
    return scores[at]


def smoothed_posterior(scores, at, correlation=0.5, width=50):
    """The posterior mean under a covariance that is estimated from the series around a running line."""
    first = max(0, at - width)
    near = np.array(scores[first : at + width + 1])
    steps = np.arange(len(near))
    noise = noise_sd(near)
    if len(near) < 3 or noise == 0:
        return scores[at]
    line = np.polyval(np.polyfit(steps, near, 1), steps)
    signal = max(0.0, float(np.var(near - line, ddof=2)) - noise**2)
    covariance = signal * correlation ** np.abs(np.subtract.outer(steps, steps))
    total = covariance + noise**2 * np.eye(len(near))
    return float((line + covariance @ np.linalg.solve(total, near - line))[at - first])


RULES = {"own score": own_score, "level (ours)": level_at, "estimated posterior": smoothed_posterior}


def run(number, rng):
    """(true level of every policy, its score)."""
    families, noises, churns = list(FAMILIES), (0.05, 0.15, 0.3), (0.0, 0.1, 0.2)
    level = learning_curve(families[number % 6], rng, n=N, slow=100, fast=20).level.copy()
    wander, churn = 0.0, churns[(number // 18) % 3]
    for at in range(N):
        wander = 0.7 * wander + 0.7 * churn * rng.normal()
        level[at] += wander
    return level, (level + noises[(number // 6) % 3] * rng.normal(size=N)).tolist()


def outcome(rule, level, scores):
    now = [rule(scores[: at + 1], at) for at in range(N)]  # as it is known when the policy has been scored
    best = int(np.argmax(scores))
    others = [int(at) for at in np.argsort(now)[::-1] if at != best]
    kept = [best, *others[: KEPT - 1]]
    four = sorted(kept, key=lambda at: -rule(scores, at))[:CANDIDATES]
    return level.max() - level[kept].max(), level.max() - level[four].max(), level.max() - level[four].mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=108)
    rng = np.random.default_rng(0)
    runs = [run(number, rng) for number in range(parser.parse_args().runs)]
    print(f"{'chosen by':22} {'best kept':>10} {'best of 4':>10} {'mean of 4':>10}")
    for name, rule in RULES.items():
        kept, best, mean = np.mean([outcome(rule, *one) for one in runs], axis=0)
        print(f"{name:22} {kept:10.3f} {best:10.3f} {mean:10.3f}")


if __name__ == "__main__":
    main()
