"""TensorFlow: networks are Keras 3 models, trained with the user's own Keras optimizers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tensor_optix.backends.base import (
    EpochStop,
    Estimate,
    InOrder,
    Learner,
    NetworkState,
    Step,
    Update,
    require_alike,
    summary,
)
from tensor_optix.backends.numpy_backend import HostMLP
from tensor_optix.backends.tf_calls import DirectCall
from tensor_optix.backends.tf_device import chosen_device, move, on_its_device
from tensor_optix.backends.tf_host import HostStack
from tensor_optix.backends.tf_import import keras, tf
from tensor_optix.backends.tf_layers import (
    Network,
    TargetCopy,
    all_layers,
    is_built,
    named_weights,
    seed_states,
    trained_variables,
)
from tensor_optix.backends.tf_moments import load_optimizer, optimizer_differences, optimizer_state
from tensor_optix.backends.tf_ops import OPS, TFOps
from tensor_optix.backends.tf_program import MAX_SKIPPED_IN_A_ROW, Compilation, Program
from tensor_optix.backends.tf_updates import UpdateGraph, penalised_loss, trained_by
from tensor_optix.errors import ArchitectureMismatch, ConfigError, NonFiniteError

__all__ = ["OPS", "Compilation", "TFLearner", "TFOps", "TargetCopy"]

logger = logging.getLogger(__name__)


class TFLearner(Learner):
    """Trains Keras models (sequential, functional, subclassed) with Keras optimizers of any class, as they are.

    networks: by name (a trunk may be shared between them); all in float32 or all in float64. One without an Input
    layer gets its weights from the first batch that it sees.
    optimizers: by name. trains: optimizer -> the networks whose weights it changes (an optimizer of Keras does not
    know before it is built).
    compilation: of the updates; acting and estimating are graphs. device: "auto" leaves the weights where TensorFlow
    put them, "cpu", "cuda", ... moves them there.

    In updates the networks compute in training mode, except target networks; everything else is inference. Dropout
    and other layers with a seed of their own draw from the generator given to ``run``; what draws without one
    (``tf.random.normal``) is not ours to seed. Regularisers of layers that a step trains are added to its loss.
    Raises ConfigError for a recurrent layer, for mixed types of weights, for another Keras backend, and where the
    optimizers and what they train do not fit.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        optimizers: Mapping[str, Any],
        *,
        trains: Mapping[str, Sequence[str]],
        compilation: Compilation = Compilation.XLA,
        device: str = "auto",
    ) -> None:
        self.networks = dict(networks)
        self.optimizers = dict(optimizers)
        self.device = chosen_device(device)
        self._trains = {name: tuple(trains[name]) for name in optimizers}
        _require_keras(self.networks, self.optimizers)
        for name, network in self.networks.items():
            _refuse_recurrent(name, network)
        self._dtype = _common_dtype(self.networks)
        self._compilation = compilation
        self._skipped_in_a_row = 0
        self._has_refused_rate = False
        first = self.learning_rate
        self._rate_ratios = {n: float(o.learning_rate) / first if first else 1.0 for n, o in optimizers.items()}
        self._programs: dict[Any, Program] = {}
        self._forwards: dict[Any, Any] = {}
        self._seeds: list[Any] = []
        self._hosts: dict[str, HostStack | None] = {}
        self._is_ready = False
        self._build_optimizers()

    # -- forward ------------------------------------------------------------------------------------------------

    @on_its_device
    def forward(self, name: str, inputs: np.ndarray) -> np.ndarray:
        x = self._tensor(inputs)
        key = (name, tuple(x.shape[1:]), x.dtype)
        if key not in self._forwards:
            network = self._built(name, x)
            call = tf.function(lambda batch: network(batch, training=False), autograph=False)
            self._forwards[key] = DirectCall(call, tf.TensorSpec([None, *x.shape[1:]], x.dtype))
        outputs: np.ndarray = self._forwards[key](x).numpy()
        return outputs

    def acting_forward(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """On the host for a plain dense stack, with a copy of its weights; else one concrete function for all rows."""
        network = self.networks[name]
        if name not in self._hosts and is_built(network):
            stack = HostStack.of(network)
            self._hosts[name] = stack if stack is not None and self._agrees(name, stack.now()) else None
        found = self._hosts.get(name)
        return partial(self.forward, name) if found is None else found.now()

    def _built(self, name: str, x: Any) -> Network:
        """The network, with its weights made by a call on ``x`` where it had none."""
        network = self.networks[name]
        if not is_built(network):
            network(x, training=False)
            self._build_optimizers()
        return network

    def _agrees(self, name: str, host: HostMLP) -> bool:
        shape = self.networks[name].input_shape[1:]
        if None in shape:
            return False
        x = np.random.default_rng(0).standard_normal((3, *shape), dtype=np.float32)
        return np.allclose(host(x), self.forward(name, x), rtol=1e-4, atol=1e-5)

    @on_its_device
    def evaluate(self, estimate: Estimate, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = self._tensors(data)
        key = (estimate, *((name, tuple(x.shape[1:]), x.dtype) for name, x in sorted(tensors.items())))
        if key not in self._forwards:
            networks = self._inference_calls()
            if not self._is_ready:
                estimate(OPS, networks, tensors)  # networks without weights make them now
                self._build_optimizers()
            call = tf.function(lambda batch: estimate(OPS, networks, batch), autograph=False)
            specs = {name: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for name, x in tensors.items()}
            self._forwards[key] = DirectCall(call, specs)
        return {name: column.numpy() for name, column in self._forwards[key](tensors).items()}

    def _inference_calls(self) -> dict[str, Any]:
        return {name: partial(network, training=False) for name, network in self.networks.items()}

    # -- training -----------------------------------------------------------------------------------------------

    @on_its_device
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
        tensors = self._tensors(data)
        if isinstance(rows, InOrder):
            rows = np.arange(rows.n_updates * rows.batch_size).reshape(rows.shape)
        per_update = {name: np.broadcast_to(np.asarray(value), rows.shape[:2]) for name, value in scalars.items()}
        program = self._program(update, stop, tensors, rows, per_update)
        self._seed_layers(int(rng.integers(2**63)))
        counts = program(tensors, rows, per_update, max_grad_norm, self._skipped_in_a_row, stop)
        self._skipped_in_a_row = int(counts["in_a_row"])
        if self._skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            self._skipped_in_a_row = 0  # whoever goes on after this error has done something about it
            raise NonFiniteError(
                f"{MAX_SKIPPED_IN_A_ROW} updates in a row were not finite and have been skipped; in the last one the "
                f"loss is {counts['bad_loss']} and the gradient's norm {counts['bad_norm']}: look for extreme rewards "
                "or observations, or lower learning_rate"
            )
        counted = {"n_updates": int(counts["made"]), "skipped_updates": int(counts["skipped"])}
        return {**program.means(counts), **counted}

    def __deepcopy__(self, memo: dict[int, Any]) -> TFLearner:
        raise ConfigError(
            "Keras models and optimizers cannot be copied in general, nor can an agent over them: make another one as "
            "this one was made, and give it what this one knows with load_state_dict(agent.state_dict())"
        )

    @property
    def n_traces(self) -> int:
        """How often an update sequence was traced so far."""
        return sum(program.n_traces for program in self._programs.values())

    def _program(
        self, update: Update, stop: EpochStop | None, data: Mapping[str, Any], rows: np.ndarray,
        scalars: Mapping[str, np.ndarray],
    ) -> Program:  # fmt: skip
        stop_metric = None if stop is None else stop.metric
        key = (update.steps, tuple(update.targets.items()), stop_metric)
        if self._compilation is Compilation.NONE:
            self._programs.clear()
        if key not in self._programs:
            self._seeds = _seed_states(self.networks)
            batch = {name: tf.gather(column, rows[0, 0]) for name, column in data.items()}
            first = {name: tf.constant(value[0, 0], self._dtype) for name, value in scalars.items()}
            graph = UpdateGraph(self.networks, self.optimizers, update)
            names = [*self._metrics_of(update.steps, batch, first), *graph.norm_names]
            self._build_optimizers()
            self._programs[key] = Program(graph, names, stop_metric, self._dtype, self._compilation)
        return self._programs[key]

    def _metrics_of(self, steps: Sequence[Step], batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> list[str]:
        """What the losses' metrics are called: one look at each in inference mode, which also makes late weights."""
        calls = self._inference_calls()
        names = [name for step in steps for name in step.loss(OPS, calls, batch, scalars)[1]]
        return list(dict.fromkeys(names))

    def _seed_layers(self, seed: int) -> None:
        if self._seeds:
            generator = np.random.default_rng(seed)
            for state in self._seeds:
                state.assign([generator.integers(2**31), 0])

    @on_its_device
    def loss_and_gradients(
        self, step: Step, data: Mapping[str, np.ndarray], scalars: Mapping[str, float]
    ) -> tuple[float, NetworkState]:
        """In inference mode, so that no moving average changes."""
        values = {name: tf.constant(value, self._dtype) for name, value in scalars.items()}
        weights = trained_by(step, self.networks)
        with tf.GradientTape() as tape:
            loss, _ = penalised_loss(step, self._inference_calls(), self.networks, self._tensors(data), values)
        found = tape.gradient(loss, [weight.value for weight in weights], unconnected_gradients="zero")
        by_id = {id(w): tf.convert_to_tensor(g).numpy() for w, g in zip(weights, found, strict=True)}
        gradients = {
            name: {key: by_id[id(w)] for key, w in named_weights(self.networks[name]).items() if id(w) in by_id}
            for name in step.trains
        }
        return float(loss), gradients

    @property
    def scheduled(self) -> tuple[str, ...]:
        follow = [not isinstance(o.learning_rate, keras.Variable) for o in self.optimizers.values()]
        return ("learning_rate",) if any(follow) else ()

    @property
    def learning_rate(self) -> float:
        return float(next(iter(self.optimizers.values())).learning_rate)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        """A schedule of the user's stays as it is; that is said once."""
        for name, optimizer in self.optimizers.items():
            if isinstance(optimizer.learning_rate, keras.Variable):
                optimizer.learning_rate = value * self._rate_ratios[name]
            elif not self._has_refused_rate:
                self._has_refused_rate = True
                logger.warning(
                    "%s follows a learning rate schedule of its own: learning_rate = %g is not applied to it "
                    "(construct it with a number to have its learning rate set and tuned)", name, value,
                )  # fmt: skip

    # -- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        self._require_weights()
        names = self._weight_names()
        return {
            "networks": self._network_state(),
            "optimizers": {name: optimizer_state(o, names) for name, o in self.optimizers.items()},
            "skipped_in_a_row": self._skipped_in_a_row,
        }

    @on_its_device
    def load_state_dict(self, state: Mapping[str, Any], *, source: str = "the given state") -> None:
        self._require_weights()
        require_alike(self._network_state(), state["networks"], source)
        names, given = self._weight_names(), state.get("optimizers")
        if given is not None:
            wrong = [f"{name} is no optimizer here" for name in given if name not in self.optimizers]
            wrong += [f"{name} is missing there" for name in self.optimizers if name not in given]
            for name in given.keys() & self.optimizers.keys():
                wrong += optimizer_differences(self.optimizers[name], names, given[name])
            if wrong:
                raise ArchitectureMismatch(source, f"moments of other networks: {summary(wrong)}")
        for name, network in self.networks.items():
            for key, variable in named_weights(network).items():
                variable.assign(state["networks"][name][key])
        if given is not None:
            for name, optimizer in self.optimizers.items():
                load_optimizer(optimizer, names, given[name])
            self._skipped_in_a_row = int(state.get("skipped_in_a_row", 0))

    def perturb(self, noise_scale: float, rng: np.random.Generator) -> None:
        self._require_weights()
        trained = [v for names in self._trains.values() for n in names for v in trained_variables(self.networks[n])]
        for variable in {id(variable): variable for variable in trained}.values():
            factor = 1.0 + noise_scale * rng.standard_normal(tuple(variable.shape))
            variable.assign(variable.numpy() * factor.astype(self._dtype))

    def release(self) -> None:
        """Forget what was compiled; the next call compiles again."""
        self._programs.clear()
        self._forwards.clear()
        self._hosts.clear()

    def _network_state(self) -> NetworkState:
        return {
            name: {key: np.array(variable.numpy()) for key, variable in named_weights(network).items()}
            for name, network in self.networks.items()
        }

    def _weight_names(self) -> dict[int, str]:
        """id of a weight -> the first name that it has in a network."""
        names: dict[int, str] = {}
        for network_name, network in self.networks.items():
            for key, variable in named_weights(network).items():
                names.setdefault(id(variable), f"{network_name}.{key}")
        return names

    # -- building -----------------------------------------------------------------------------------------------

    @on_its_device
    def _build_optimizers(self) -> None:
        """Once all weights exist: moments must, too, before the first trace."""
        if self._is_ready or not all(map(is_built, self.networks.values())):
            return
        self._dtype = _common_dtype(self.networks)
        move((variable for network in self.networks.values() for variable in network.variables), self.device)
        move((variable for optimizer in self.optimizers.values() for variable in optimizer.variables), self.device)
        self._hosts.clear()  # they read the weights where these were
        weights: dict[int, dict[int, Any]] = {}
        for name, optimizer in self.optimizers.items():
            own = [variable for n in self._trains[name] for variable in trained_variables(self.networks[n])]
            if not own:
                raise ConfigError(f"{name} has nothing to train: {', '.join(self._trains[name])} have no weights")
            weights.setdefault(id(optimizer), {}).update({id(variable): variable for variable in own})
        for name, optimizer in self.optimizers.items():
            own = list(weights[id(optimizer)].values())
            if not optimizer.built:
                optimizer.build(own)
            known = {id(variable) for variable in optimizer._trainable_variables}
            if not known.issuperset(map(id, own)):
                raise ConfigError(
                    f"{name} was already built for other weights than those of {', '.join(self._trains[name])}: "
                    "construct a new optimizer for this agent"
                )
        self._is_ready = True

    def _require_weights(self) -> None:
        if missing := [name for name, network in self.networks.items() if not is_built(network)]:
            raise ConfigError(
                f"{', '.join(missing)} has no weights yet: give it an Input layer, or call it once on a batch"
            )

    # -- data ---------------------------------------------------------------------------------------------------

    def _tensors(self, data: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: self._tensor(column) for name, column in data.items()}

    def _tensor(self, array: np.ndarray) -> Any:
        is_floating = np.issubdtype(array.dtype, np.floating)
        return tf.constant(array, dtype=self._dtype if is_floating else None)


def _seed_states(networks: Mapping[str, Network]) -> list[Any]:
    """Those of all networks, each once."""
    return list({id(state): state for network in networks.values() for state in seed_states(network)}.values())


def _require_keras(networks: Mapping[str, Network], optimizers: Mapping[str, Any]) -> None:
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"Keras runs on {keras.backend.backend()!r} here, and this agent needs TensorFlow below it: "
            "set the environment variable KERAS_BACKEND=tensorflow before Keras is imported"
        )
    for name, network in networks.items():
        if not isinstance(network, keras.layers.Layer | TargetCopy):
            raise ConfigError(f"{name} must be a Keras 3 model or layer, got {type(network).__name__}")
    for name, optimizer in optimizers.items():
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ConfigError(f"{name} must be a Keras 3 optimizer, got {type(optimizer).__name__}")


def _refuse_recurrent(name: str, network: Network) -> None:
    for layer in all_layers(network):
        if isinstance(layer, keras.layers.RNN):
            raise ConfigError(
                f"{name} contains a recurrent layer ({type(layer).__name__}); built-in agents are feed-forward: "
                "stack past observations instead, or write an agent of your own"
            )


def _common_dtype(networks: Mapping[str, Network]) -> str:
    """What the networks compute in. Raises ConfigError unless it is float32 or float64 throughout."""
    weights = [variable.dtype for network in networks.values() if is_built(network) for variable in network.weights]
    layers = [layer for network in networks.values() for layer in all_layers(network) if layer.weights]
    dtypes = {dtype for dtype in weights if dtype.startswith(("float", "bfloat"))}
    dtypes |= {layer.compute_dtype for layer in layers if not list(layer._flatten_layers(include_self=False))}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        raise ConfigError(
            f"the networks must be all in float32 or all in float64, got {', '.join(sorted(dtypes))}: "
            "construct their layers with one dtype"
        )
    return dtypes.pop() if dtypes else "float32"
