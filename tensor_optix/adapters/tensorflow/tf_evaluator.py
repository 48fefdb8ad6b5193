"""The default evaluator, under the name that it has beside TensorFlow agents (it needs no TensorFlow)."""

from __future__ import annotations

from tensor_optix.core.evaluators import ReturnEvaluator


class TFEvaluator(ReturnEvaluator):
    """Scores by the mean return of finished env episodes, or by ``primary_score_fn(episode_data, diagnostics)``."""
