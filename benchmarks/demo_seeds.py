"""How reliably does ``tensor-optix train ENV`` end with a solved environment? One row per seed.

    python benchmarks/demo_seeds.py                               CartPole-v1, seeds 0 to 9
    python benchmarks/demo_seeds.py --env Acrobot-v1 --seeds 3
    python benchmarks/demo_seeds.py --seeds 1 --repeat 2          the same seed twice: the hashes must agree

About 15 seconds a seed on one core. The final score is that of the returned policy, acting deterministically, over 20
env episodes on seeds used for nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile

import numpy as np

from tensor_optix import RLOptimizer
from tensor_optix.core.state import split_state
from tensor_optix.quick import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    means = []
    print("seed  env steps  windows  seconds  stop reason    best training score  final score [95 %]        weights")
    for seed in [seed for seed in range(arguments.seeds) for _ in range(arguments.repeat)]:
        with tempfile.TemporaryDirectory() as out:
            optimizer = prepare(arguments.env, seed=seed, out=out)
            optimizer.run()
            print(row(optimizer), flush=True)
        means.append(optimizer.result.final.mean)
    best = max(means)
    print(f"\n{means.count(best)} of {len(means)} runs reach the best final score, {best:g}")


def row(optimizer: RLOptimizer) -> str:
    result, final = optimizer.result, optimizer.result.final
    return (
        f"{result.seed:4d}  {result.env_steps:9d}  {result.windows:7d}  {result.seconds:7.1f}  "
        f"{result.reason.value:13s}  {result.score:19.1f}  "
        f"{final.mean:7.1f} [{final.low:.1f}, {final.high:.1f}]  {weights_hash(optimizer)}"
    )


def weights_hash(optimizer: RLOptimizer) -> str:
    """SHA-256 of every weight and moment that the run leaves in the agent."""
    _, arrays = split_state(optimizer._parts.agent.policy_state())
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
