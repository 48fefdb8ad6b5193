"""JAX: networks are flax.nnx modules, trained with the user's own optax transformations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from tensor_optix.backends.base import (
    EpochStop,
    Estimate,
    InOrder,
    Learner,
    NetworkState,
    Step,
    Update,
    require_alike,
)
from tensor_optix.backends.flax_host import dense_layers, host_mlp
from tensor_optix.backends.flax_learning_rate import LearningRate, strongly_typed
from tensor_optix.backends.flax_modules import Modules, Values
from tensor_optix.backends.flax_moments import moments_by_parameter, state_from_moments, type_of
from tensor_optix.backends.flax_ops import OPS
from tensor_optix.backends.flax_updates import (
    COUNTS,
    MAX_SKIPPED_IN_A_ROW,
    Epoch,
    Optimized,
    Progress,
    Settings,
    compiled_epoch,
    loss_and_gradient,
)
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import ArchitectureMismatch, ConfigError, NonFiniteError


class FlaxLearner(Learner):
    """Trains nnx modules in place: after each run they hold the new weights.

    networks: modules by name, in float32 (a trunk may be shared between them). trains: which networks each optimizer
    steps; all of them where there is one optimizer and nothing is said. learning_rate: the rate that the first
    optimizer was built with, needed only where optax does not tell (see ``LearningRate``). compiled=False runs updates
    operation by operation, for losses that differ from run to run.
    Raises ConfigError for a recurrent network, for other types of weights, and for a first optimizer whose learning
    rate is not known.

    A module's own random numbers come from the ``rng`` of a run; what it keeps (its ``nnx.Rngs``) is left alone.
    """

    def __init__(
        self,
        networks: Mapping[str, nnx.Module],
        optimizers: Mapping[str, optax.GradientTransformation],
        *,
        trains: Mapping[str, Sequence[str]] | None = None,
        learning_rate: float | None = None,
        compiled: bool = True,
    ) -> None:
        self._modules = Modules(networks)
        self._transformations, self._trains, self._is_compiled = dict(optimizers), trains, compiled
        self._optimizers = {
            name: Optimized.of(transformation, self._modules, _networks_of(name, networks, optimizers, trains))
            for name, transformation in optimizers.items()
        }
        values = self._modules.read()
        self._moments = {
            name: strongly_typed(optimized.transformation.init(optimized.tree(values)))
            for name, optimized in self._optimizers.items()
        }
        self._rates = {name: LearningRate(optimizers[name], self._moments[name]) for name in optimizers}
        self._initial_rate = _known_rate(next(iter(optimizers)), self._rates, learning_rate)
        self._ratio = 1.0
        self._skipped_in_a_row = 0
        self._is_dense: dict[str, bool] = {}
        self._compiled: dict[Any, Any] = {}

    @property
    def networks(self) -> dict[str, nnx.Module]:
        """The user's modules by name."""
        return self._modules.networks

    def __deepcopy__(self, memo: dict[int, Any]) -> FlaxLearner:
        """With modules of its own, which share what these share; they stand in ``memo`` for whoever holds these."""
        networks = nnx.clone(self.networks)
        memo.update((id(module), networks[name]) for name, module in self.networks.items())
        copied = FlaxLearner(
            networks, self._transformations, trains=self._trains, learning_rate=self._initial_rate,
            compiled=self._is_compiled,
        )  # fmt: skip
        copied._ratio = self._ratio
        copied.load_state_dict(self.state_dict())
        return copied

    # -- forward ------------------------------------------------------------------------------------------------

    def forward(self, name: str, inputs: np.ndarray) -> np.ndarray:
        call, own = self._forward_of(name)
        outputs: np.ndarray = _padded(partial(call, own()), np.asarray(inputs))
        return outputs

    def acting_forward(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """On the host for a plain dense stack; else compiled. Either acts with the weights as they are now."""
        layers = dense_layers(self.networks[name])
        if layers is not None:
            host = host_mlp(layers)
            if name not in self._is_dense:
                x = np.random.default_rng(0).standard_normal((3, len(host.layers[0].weight)), dtype=np.float32)
                self._is_dense[name] = np.allclose(host(x), self.forward(name, x), rtol=1e-4, atol=1e-5)
            if self._is_dense[name]:
                return host
        call, own = self._forward_of(name)
        return partial(_padded, partial(call, own()))

    def evaluate(self, estimate: Estimate, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        def estimated(values: Values, batch: dict[str, Any]) -> dict[str, Any]:
            return estimate(OPS, self._modules.evaluation.networks(values), batch)

        call = self._compile(("estimate", estimate), lambda: jax.jit(estimated))
        columns: dict[str, np.ndarray] = _padded(partial(call, self._modules.read()), dict(data))
        return columns

    def _forward_of(self, name: str) -> tuple[Callable[[Values, Any], Any], Callable[[], Values]]:
        """A compiled call (weights, inputs) -> outputs of one network alone, and what reads its weights."""

        def build() -> Any:
            structure, indices = self._modules.acting(name)
            call = jax.jit(lambda values, inputs: structure.networks(values)[name](inputs))
            variables = [self._modules.variables[index] for index in indices]
            return call, lambda: [variable.get_raw_value() for variable in variables]

        found: tuple[Callable[[Values, Any], Any], Callable[[], Values]] = self._compile(("forward", name), build)
        return found

    # -- training -----------------------------------------------------------------------------------------------

    def run(
        self,
        update: Update,
        data: Mapping[str, np.ndarray],
        rows: np.ndarray | InOrder,
        scalars: Mapping[str, float | np.ndarray],
        *,
        max_grad_norm: float,
        rng: np.random.Generator,
        stop: EpochStop | None = None,
    ) -> dict[str, float]:
        """As the contract says. ``update.steps`` name all networks that their optimizer trains.

        Compiled once for each update, mode of the modules and shape of minibatches: make an ``Update`` once and keep
        it. Rows of data, and minibatches of an epoch, are filled up to a power of two, so that windows which differ
        by a few rows are no other program.
        """
        epoch = self._epoch(update, stop, is_single=rows.shape[0] == 1)
        of_each: Any = [None]
        columns = {name: np.asarray(column) for name, column in data.items()}
        if isinstance(rows, InOrder):
            columns = rows.batches(columns)
        else:
            columns = {name: _filled_up(column, 0) for name, column in columns.items()}
            of_each = _filled_up(rows.astype(np.int32), 1)
        if not epoch.takes_host_arrays:
            columns = jax.device_put(columns)
        tables = {name: np.broadcast_to(np.asarray(x, np.float32), rows.shape[:2]) for name, x in scalars.items()}
        if not isinstance(rows, InOrder):
            tables = {name: _filled_up(table, 1) for name, table in tables.items()}
        settings = Settings(
            n_updates=np.int32(rows.shape[1]),
            rates=np.array([self._rates[step.optimizer].factor(self._ratio) for step in update.steps], np.float32),
            max_grad_norm=np.float32(max_grad_norm), stop_limit=np.float32(stop.limit if stop else np.inf),
        )  # fmt: skip
        progress, reports = self._started(update, int(rng.integers(2**31))), []
        with nullcontext() if self._is_compiled else jax.disable_jit():
            for number, of_epoch in enumerate(of_each):
                at = {name: table[number] for name, table in tables.items()}
                progress, report = epoch.call(progress, columns, of_epoch, at, settings)
                reports.append(report)
        return self._finished(epoch, progress, reports)

    def loss_and_gradients(
        self, step: Step, data: Mapping[str, np.ndarray], scalars: Mapping[str, float]
    ) -> tuple[float, NetworkState]:
        optimized = self._optimizer_of(step)
        structure = self._modules.training

        def differentiated(values: Values, batch: Any, at: Any) -> Any:
            return loss_and_gradient(step, structure, optimized, values, batch, at)[:3]

        call = self._compile(("gradients", step, self._modules.mode), lambda: jax.jit(differentiated))
        values = self._modules.seeded(self._modules.read(), 0)
        loss, _, gradient = call(values, dict(data), {name: np.float32(scalar) for name, scalar in scalars.items()})
        by_index = dict(zip(jax.tree.leaves(optimized.indices), jax.tree.leaves(gradient), strict=True))
        gradients = {
            name: {key: np.array(by_index[index]) for key, index in self._modules.parameters[name].items()}
            for name in step.trains
        }
        return float(loss), gradients

    def _epoch(self, update: Update, stop: EpochStop | None, *, is_single: bool) -> Epoch:
        metric = stop.metric if stop else None
        key = ("epoch", update.steps, tuple(update.targets.items()), metric, self._modules.mode)

        def build() -> Epoch:
            for step in update.steps:
                self._optimizer_of(step)
            structure = self._modules.training
            return compiled_epoch(update, structure, self._modules, self._optimizers, stop_metric=metric,
                                  takes_host_arrays=is_single)  # fmt: skip

        compiled: Epoch = self._compile(key, build)
        return compiled

    def _optimizer_of(self, step: Step) -> Optimized:
        optimized = self._optimizers[step.optimizer]
        if optimized.networks != set(step.trains):
            raise ConfigError(
                f"a step trains {sorted(step.trains)} with {step.optimizer}, which holds "
                f"{sorted(optimized.networks)}: an optax transformation steps everything it holds; "
                "give the learner trains= accordingly"
            )
        return optimized

    def _started(self, update: Update, seed: int) -> Progress:
        in_a_row = self._skipped_in_a_row

        def start() -> tuple[Any, Any, Any]:
            counts = jnp.zeros(len(COUNTS), jnp.int32).at[COUNTS.index("skipped_in_a_row")].set(in_a_row)
            return counts, jnp.bool_(False), jnp.zeros((2, len(update.steps)), jnp.float32)

        counts, is_over, bad = self._compile(("start", in_a_row, len(update.steps)), start)
        values = self._modules.seeded(self._modules.read(), seed)
        return Progress(values, dict(self._moments), counts, is_over, bad)

    def _finished(self, epoch: Epoch, progress: Progress, reports: list[Any]) -> dict[str, float]:
        """Hand weights and moments over, and report. Raises NonFiniteError where too many updates were skipped."""
        self._modules.write(progress.values)
        self._moments = progress.moments
        counts, last = epoch.report(np.asarray(reports[-1]))
        if counts["n_epochs"] < len(reports):
            _, last = epoch.report(np.asarray(reports[counts["n_epochs"] - 1]))
        self._skipped_in_a_row = counts["skipped_in_a_row"]
        if self._skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            self._skipped_in_a_row = 0  # whoever goes on after this error has done something about it
            raise _too_many_skipped(progress)
        count = last.pop("count")
        means = {name: total / count for name, total in last.items()} if count else {}
        return {**means, "n_updates": counts["n_made"], "skipped_updates": counts["n_skipped"]}

    @property
    def scheduled(self) -> tuple[str, ...]:
        return ("learning_rate",) if any(rate.is_scheduled for rate in self._rates.values()) else ()

    @property
    def learning_rate(self) -> float:
        return self._initial_rate * self._ratio

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._ratio = value / self._initial_rate
        self._moments = {name: rate.placed(self._moments[name], self._ratio) for name, rate in self._rates.items()}

    # -- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        optimizers = {
            name: {"type": type_of(state), "moments": moments_by_parameter(state, self._optimizers[name].indices)}
            for name, state in self._moments.items()
        }
        return {
            "networks": self._modules.state(), "optimizers": optimizers, "skipped_in_a_row": self._skipped_in_a_row,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any], *, source: str = "the given state") -> None:
        require_alike(self._modules.state(), state["networks"], source)
        moments = self._checked_moments(state["optimizers"], source) if "optimizers" in state else self._moments
        self._modules.load(state["networks"])
        self._moments = {name: rate.placed(moments[name], self._ratio) for name, rate in self._rates.items()}
        self._skipped_in_a_row = int(state.get("skipped_in_a_row", self._skipped_in_a_row))

    def perturb(self, noise_scale: float, rng: np.random.Generator) -> None:
        values = self._modules.read()
        trained = dict.fromkeys(i for one in self._optimizers.values() for i in jax.tree.leaves(one.indices))
        for index in trained:
            factor = 1.0 + noise_scale * rng.standard_normal(np.shape(values[index]))
            values[index] = values[index] * factor.astype(np.float32)
        self._modules.write(values)

    def release(self) -> None:
        """Drop the compiled programs; what is used again is compiled again."""
        self._compiled.clear()

    def _checked_moments(self, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        own = {name: type_of(state) for name, state in self._moments.items()}
        theirs = {name: state["type"] for name, state in given.items()}
        if own != theirs:
            raise ArchitectureMismatch(source, f"moments of {_listed(theirs)}, but here is {_listed(own)}")
        return {
            name: state_from_moments(self._moments[name], given[name]["moments"], optimized.indices, source)
            for name, optimized in self._optimizers.items()
        }

    def _compile(self, key: Any, build: Callable[[], Any]) -> Any:
        if not self._is_compiled and key[0] == "epoch":
            return build()
        if key not in self._compiled:
            self._compiled[key] = build()
        return self._compiled[key]


def said_rate(hyperparams: HyperparamSet | Mapping[str, Any]) -> float | None:
    """The learning rate that the user's hyperparameters name, where it is a number: for ``learning_rate=``."""
    rate = HyperparamSet.of(hyperparams).params.get("learning_rate")
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def _networks_of(
    optimizer: str,
    networks: Mapping[str, Any],
    optimizers: Mapping[str, Any],
    trains: Mapping[str, Sequence[str]] | None,
) -> tuple[str, ...]:
    if trains is None and len(optimizers) == 1:
        return tuple(networks)
    trained = tuple((trains or {}).get(optimizer, ()))
    if not trained or not set(trained) <= set(networks):
        raise ConfigError(
            f"trains must say which of the networks {sorted(networks)} {optimizer} steps, got {list(trained)}"
        )
    return trained


def _known_rate(name: str, rates: Mapping[str, LearningRate], declared: float | None) -> float:
    initial = rates[name].initial
    known = declared if initial is None else initial
    if known is None:
        raise ConfigError(
            f"{name} does not tell its learning rate: give the rate that it was built with, of a schedule that begins "
            'at 0 the largest (hyperparams["learning_rate"]), or build it with optax.inject_hyperparams'
        )
    return known


def _too_many_skipped(progress: Progress) -> NonFiniteError:
    losses, norms = np.asarray(progress.bad)
    worst = int(np.argmin(np.isfinite(losses) & np.isfinite(norms)))
    return NonFiniteError(
        f"{MAX_SKIPPED_IN_A_ROW} updates in a row were not finite and have been skipped; in the last one the "
        f"loss is {losses[worst]} and the gradient's norm {norms[worst]}: look for extreme rewards or observations, "
        "or lower learning_rate"
    )


def _filled_up(array: np.ndarray, axis: int) -> np.ndarray:
    """With zeros up to the next power of two along ``axis``, which are never looked at."""
    lacking = (1 << (array.shape[axis] - 1).bit_length()) - array.shape[axis]
    return np.pad(array, [(0, lacking if n == axis else 0) for n in range(array.ndim)]) if lacking else array


def padded_rows(n_rows: int) -> int:
    """The next power of four, and from 1,024 on of two: small batches come in all sizes, large ones cost."""
    bits = max(n_rows - 1, 0).bit_length()
    return 1 << (bits if bits > 10 else bits + bits % 2)


def _padded(call: Callable[[Any], Any], data: Any) -> Any:
    """``call(data)``, padded with rows of zeros so that few shapes are ever compiled; fresh NumPy arrays."""
    n_rows = len(next(iter(jax.tree.leaves(data))))
    n_padded = padded_rows(n_rows)

    def padded(column: np.ndarray) -> np.ndarray:
        missing = n_padded - n_rows
        return np.pad(column, [(0, missing)] + [(0, 0)] * (column.ndim - 1)) if missing else column

    outputs = call(jax.tree.map(padded, data))
    return jax.tree.map(lambda column: np.asarray(column)[:n_rows].copy(), outputs)


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in types.items()) or "no optimizer"
