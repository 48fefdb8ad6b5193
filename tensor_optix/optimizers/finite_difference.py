"""How does one hyperparameter's short experiment go, and what did it show?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensor_optix.optimizers.effects import pattern

SIGNS = pattern(1)


def gain_difference(scores: Sequence[float]) -> float:
    """How much more the score gained under + than under -, in units of the range of all ``scores``.

        (Δ₁ - Δ₂ - Δ₃ + Δ₄) / 4,   Δ_i = y_i - y_{i-1}

    scores: those of a run; the last five are the one before the experiment + - - + and the four that followed its
    ticks. A linear trend in the gains cancels. Positive for a hyperparameter that raises the speed of learning, and
    for one that raises the score at once.
    """
    y = np.asarray(scores, dtype=float)
    spread = float(y.max() - y.min())
    return float(np.diff(y[-5:]) @ SIGNS) / 4 / spread if spread > 0 else 0.0
