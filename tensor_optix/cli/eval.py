"""``tensor-optix eval RUN``: what the best policy of a finished run is worth on fresh seeds."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from tensor_optix.cli.ending import interval_text
from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.options import AllowImport, AsJson, RunPath, Seed, Traceback
from tensor_optix.cli.runs import run_at
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import write_line
from tensor_optix.core.evaluators import ReturnEvaluator
from tensor_optix.core.final_evaluation import FinalEvaluation
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.types import FinalScore
from tensor_optix.errors import EnvError


def evaluate(
    run: RunPath,
    episodes: Annotated[int, typer.Option(min=1, help="Complete env episodes, each on a seed of its own.")] = 20,
    seed: Seed = None,
    as_json: AsJson = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Evaluate the best policy of RUN on fresh seeds, deterministically. Nothing is written into RUN.

    Example: tensor-optix eval runs/CartPole-v1 --episodes 100

    Exit codes: 0 done; 2 the call cannot work; 4 the environment or the agent failed; 130 Ctrl-C.
    """
    with told_in_a_sentence(with_traceback=traceback):
        run_dir = run_at(run, allow_import=allow_import)
        root = fresh_seed() if seed is None else seed
        with redirect_stdout(sys.stderr):
            score = _score(run_dir, episodes, root, allow_import=allow_import)
        if as_json:
            write_line(sys.stdout, json_line(_row(run_dir, root, score)))
            return
        write_line(sys.stdout, f"final    {interval_text(score)}")
        write_line(sys.stdout, f"range    {min(score.returns):.1f} to {max(score.returns):.1f}")
        write_line(sys.stdout, f"run      {shown(run_dir)}, evaluated with --seed {root}")


def _score(run_dir: Path, episodes: int, seed: int, *, allow_import: bool) -> FinalScore:
    from tensor_optix import quick

    loaded = quick.load(run_dir, allow_import=allow_import)
    try:
        evaluation = FinalEvaluation(loaded.pipeline, ReturnEvaluator(), RandomStreams(seed))
        score = evaluation.best_policy(loaded.agent, episodes)
    finally:
        loaded.pipeline.teardown()
    if score is None:
        raise EnvError(f"{loaded.pipeline.description} cannot be had for an evaluation")
    return score


def _row(run_dir: Path, seed: int, score: FinalScore) -> dict[str, Any]:
    return {
        "type": "evaluation", "run_dir": str(run_dir), "seed": seed, "mean": score.mean, "low": score.low,
        "high": score.high, "min": min(score.returns), "max": max(score.returns), "returns": list(score.returns),
        "deterministic": score.deterministic,
    }  # fmt: skip
