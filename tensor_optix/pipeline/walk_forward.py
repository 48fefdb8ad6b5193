"""How is a time series split so that nothing of the future, and nothing seen twice, helps the past?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.base_pipeline import EpisodeBoundaryFn
from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.live_pipeline import LivePipeline


@dataclass(frozen=True)
class Fold:
    """Row numbers to train on, and later ones to validate on, with at least ``embargo`` rows between them."""

    number: int
    train: range
    validation: range

    def pipelines(
        self, data: Sequence[Any], *, episode_boundary_fn: EpisodeBoundaryFn | None = None, **settings: Any
    ) -> tuple[LivePipeline, LivePipeline]:
        """Two pipelines over the records of ``data``: for training, and for validation.

        They share nothing: each reads its own records only, and ends with them. Give every fold an agent of its own,
        so that its normalisers, which live in the agent and learn from training windows only, start anew as well.
        settings: further arguments of LivePipeline. Default boundary: one window for all records.
        """
        pair = (
            LivePipeline(
                [data[row] for row in rows],
                episode_boundary_fn=episode_boundary_fn or LivePipeline.every_n_steps(max(1, len(rows) - 1)),
                **settings,
            )
            for rows in (self.train, self.validation)
        )
        return next(pair), next(pair)


def walk_forward(
    data: Sequence[Any] | int,
    n_folds: int = 5,
    *,
    train_size: int | None = None,
    val_size: int | None = None,
    embargo: int = 0,
    lookback: int = 1,
) -> Iterator[Fold]:
    """Folds in the order of time: each trains on the past and validates on the records that follow.

    With N records, K folds of V = val_size (default N // (K + 1)) validation records and a gap g:

        validation_k = [N - (K - k) V, N - (K - k - 1) V),    train_k = [max(0, end_k - train_size), end_k),
        end_k = start of validation_k - g,    g = max(embargo, lookback - 1),    k = 0 .. K-1

    data: the records, or how many there are. train_size: default, everything before (an expanding window).
    lookback: how many records the observation of one record looks back on (itself included), as with features over a
    moving window; overlapping observations would carry training records into validation. embargo: at least so many
    records are left out, for targets that look ahead.
    Raises ConfigError where a fold would have too little to train on.
    """
    n_records = data if isinstance(data, int) else len(data)
    sizes = {"n_folds": n_folds, "lookback": lookback}
    sizes |= {name: size for name, size in (("train_size", train_size), ("val_size", val_size)) if size is not None}
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name} must be at least 1, got {size}")
    if embargo < 0:
        raise ConfigError(f"embargo must be at least 0, got {embargo}")
    validation = val_size if val_size is not None else n_records // (n_folds + 1)
    left_out = max(embargo, lookback - 1)
    first_end = n_records - n_folds * validation - left_out
    if validation < 2 or first_end < (train_size or 2):
        raise ConfigError(
            f"{n_records} records are too few for {n_folds} folds of {validation} validation records with {left_out} "
            f"left out before each: the first fold would have {max(0, first_end)} to train on"
        )
    return _folds(n_records, n_folds, validation, left_out, train_size)


def _folds(n_records: int, n_folds: int, validation: int, left_out: int, train_size: int | None) -> Iterator[Fold]:
    for number in range(n_folds):
        start = n_records - (n_folds - number) * validation
        end = start - left_out
        begin = 0 if train_size is None else end - train_size
        yield Fold(number, range(begin, end), range(start, start + validation))
