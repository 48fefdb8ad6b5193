"""The default evaluator, under the name that it has beside JAX agents (it needs no JAX)."""

from __future__ import annotations

from tensor_optix.core.evaluators import ReturnEvaluator


class FlaxEvaluator(ReturnEvaluator):
    """Scores by the mean return of finished env episodes, or by ``primary_score_fn(episode_data, diagnostics)``."""
