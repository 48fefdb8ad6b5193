"""``tensor-optix compare A B``: is the best policy of one run better than that of another?"""

from __future__ import annotations

import math
import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import numpy as np
import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.options import AllowImport, AsJson, RunPath, Seed, Traceback
from tensor_optix.cli.runs import run_at
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import write_line
from tensor_optix.core.comparison import paired_test
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.statistics import bootstrap_interval
from tensor_optix.errors import ConfigError, EnvError

SIGNIFICANT = 0.05


def compare(
    first: RunPath,
    second: RunPath,
    episodes: Annotated[int, typer.Option(min=2, help="Seeds on which both play a whole env episode.")] = 20,
    seed: Seed = None,
    as_json: AsJson = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Let the best policies of two runs play the same episodes, and test the differences (paired, one-sided).

    Example: tensor-optix compare runs/CartPole-v1/A runs/CartPole-v1/B --episodes 50

    Exit codes: 0 done, whichever is better; 2 the call cannot work; 4 the environment or an agent failed.
    """
    with told_in_a_sentence(with_traceback=traceback):
        paths = [run_at(run, allow_import=allow_import) for run in (first, second)]
        root = fresh_seed() if seed is None else seed
        with redirect_stdout(sys.stderr):
            loaded = [_loaded(path, allow_import) for path in paths]
            if len({run.recipe.build.env_id for run in loaded}) > 1:
                names = " and ".join(run.recipe.build.env_id for run in loaded)
                raise ConfigError(f"these runs are of different environments ({names}): their scores do not compare")
            seeds = RandomStreams(root).stream("comparison").integers(2**31, size=episodes).tolist()
            returns = [_returns(run, seeds) for run in loaded]
        row = _row(returns[0], returns[1], root)
        if as_json:
            write_line(sys.stdout, json_line({"type": "comparison", "runs": [str(path) for path in paths], **row}))
            return
        for name, path, mean in zip("AB", paths, row["means"], strict=True):
            write_line(sys.stdout, f"{name}        {mean:.1f}   {path}")
        write_line(sys.stdout, f"A - B    {row['difference']:.1f} [95 %: {row['low']:.1f} to {row['high']:.1f}] over "
                               f"{episodes} episodes with the same seeds (--seed {root})")  # fmt: skip
        write_line(sys.stdout, f"verdict  {row['verdict']}")


def _loaded(path: Any, allow_import: bool) -> Any:
    from tensor_optix import quick

    return quick.load(path, allow_import=allow_import)


def _returns(run: Any, seeds: list[int]) -> list[float]:
    try:
        data = run.pipeline.evaluate(run.agent, seeds=seeds)
    finally:
        run.pipeline.teardown()
    if data is None or len(data.episode_returns) != len(seeds):
        raise EnvError(f"{run.pipeline.description} did not complete every episode of the comparison")
    return list(data.episode_returns)


def _row(a: list[float], b: list[float], seed: int) -> dict[str, Any]:
    differences = np.subtract(a, b)
    low, high = bootstrap_interval(differences.tolist(), RandomStreams(seed).stream("interval"))
    forth, back = paired_test(a, b), paired_test(b, a)
    verdict = "no difference that these episodes could show"
    for name, test in (("A", forth), ("B", back)):
        if test.p_value < SIGNIFICANT and not math.isclose(test.difference, 0.0):
            verdict = f"{name} is better (p = {test.p_value:.2g})"
    return {
        "means": [float(np.mean(a)), float(np.mean(b))], "difference": forth.difference, "low": low, "high": high,
        "p_first_better": forth.p_value, "p_second_better": back.p_value, "verdict": verdict, "seed": seed,
        "returns": [a, b],
    }  # fmt: skip
