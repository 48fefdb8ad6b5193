"""SPSAOptimizer: the default tuner. It leaves the hyperparameters alone until moving them can be shown to pay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.gated_probing import GatedProbing
from tensor_optix.optimizers.textbook_spsa import TextbookSPSA
from tensor_optix.optimizers.tuner import AnchoredTuner


class SPSAOptimizer(AnchoredTuner):
    """Simultaneous perturbation, with a design that is fair to a policy which moves anyway.

    By default the two arms are visited in the order + - - +, so that progress cancels; a probe begins only where it
    could see something, and the hyperparameters move only on a significant effect (``gated_probing.GatedProbing``).

    param_bounds, log_params: what to tune (see ``AnchoredTuner``).
    blockwise: probe one hyperparameter at a time; False: all at once, in a random direction.
    textbook: the two-window form of Spall (1992), with ``perturbation_scale`` c, ``learning_rate`` a,
    ``min_perturbation`` and ``gradient_clip``; these four matter only there.

    Raises ConfigError for settings out of range.
    """

    def __init__(
        self,
        param_bounds: Mapping[str, tuple[float, float]] | None = None,
        perturbation_scale: float = 0.05,
        learning_rate: float = 0.1,
        min_perturbation: float = 1e-4,
        gradient_clip: float = 1.0,
        log_params: Sequence[str] | None = None,
        *,
        blockwise: bool = True,
        textbook: bool = False,
    ) -> None:
        if not 0 < min_perturbation <= perturbation_scale <= 0.5:
            raise ConfigError(
                "perturbation_scale must be at most 0.5 (half the range) and at least min_perturbation, which must "
                f"be above 0; got {perturbation_scale} and {min_perturbation}"
            )
        if not (0 < learning_rate < math.inf and gradient_clip > 0):
            raise ConfigError(f"learning_rate and gradient_clip must be above 0, got {learning_rate}, {gradient_clip}")
        design = (
            TextbookSPSA(
                perturbation_scale, learning_rate, min_perturbation=min_perturbation, gradient_clip=gradient_clip
            )
            if textbook
            else GatedProbing(blockwise=blockwise)
        )
        super().__init__(design, param_bounds, log_params or ())
