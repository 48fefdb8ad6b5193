"""How is a NumpyPolicy written as an ONNX model? The same layers as ONNX operators, preprocessing included.

Input "observation" [N, ...] in float32, raw. Output "action" [N, ...]: the best guess, in the environment's units;
besides, for whoever draws actions, "logits" or "action_values" [N, A], or "mean" and "log_std" [N, D].
The model's metadata say under "frame_stack" how many observations of the environment are joined to one such input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_optix._about import VERSION
from tensor_optix._lazy import missing
from tensor_optix.algorithms.distributions import LOG_STD_MAX, LOG_STD_MIN
from tensor_optix.export.heads import Bounds, Categorical, Indices, SquashedGaussian
from tensor_optix.export.layers import (
    Activation,
    AddAxis,
    Conv,
    Dense,
    Layer,
    LayerNorm,
    Normalise,
    Permute,
    Reshape,
    Scale,
    Shape,
)
from tensor_optix.export.numpy_policy import NumpyPolicy

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as error:
    raise missing("onnx") from error

OPSET, IR_VERSION = 18, 9
"""Of 2023: runtimes of the last years read them."""

BATCH = "N"


def onnx_bytes(policy: NumpyPolicy) -> bytes:
    """The model, checked by onnx's own checker."""
    graph = Graph()
    value, shape = "observation", policy.observation_shape
    for layer in policy.layers:
        value = _WRITERS[type(layer)](graph, layer, value, shape)
        shape = layer.output_shape(shape)
    outputs = _head(graph, policy, value, shape[0])
    inputs = [helper.make_tensor_value_info("observation", TensorProto.FLOAT, [BATCH, *policy.observation_shape])]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "policy", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="tensor-optix", producer_version=VERSION, doc_string=policy.origin,
    )  # fmt: skip
    helper.set_model_props(model, {"frame_stack": str(policy.frame_stack)})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


class Graph:
    """Nodes and constants, with names of their own."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant array."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=dtype, order="C"), name))
        return name


# -- layers ----------------------------------------------------------------------------------------------------------


def _normalise(graph: Graph, layer: Normalise, x: str, shape: Shape) -> str:
    wide = graph.add("Cast", x, to=TensorProto.DOUBLE)
    centred = graph.add("Sub", wide, graph.constant(layer.mean, np.float64))
    scaled = graph.add("Div", centred, graph.constant(layer.divisor, np.float64))
    limits = (graph.constant(-layer.limit, np.float64), graph.constant(layer.limit, np.float64))
    return graph.add("Cast", graph.add("Clip", scaled, *limits), to=TensorProto.FLOAT)


def _dense(graph: Graph, layer: Dense, x: str, shape: Shape) -> str:
    product = graph.add("MatMul", x, graph.constant(layer.weight))
    return graph.add("Add", product, graph.constant(layer.bias))


def _conv(graph: Graph, layer: Conv, x: str, shape: Shape) -> str:
    first = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    kernel, bias = graph.constant(layer.kernel.transpose(3, 2, 0, 1)), graph.constant(layer.bias)
    (high, wide), strides = layer.padding, list(layer.strides)
    y = graph.add("Conv", first, kernel, bias, strides=strides, pads=[high, wide, high, wide])
    return graph.add("Transpose", y, perm=[0, 2, 3, 1])


def _layer_norm(graph: Graph, layer: LayerNorm, x: str, shape: Shape) -> str:
    parameters = graph.constant(layer.scale), graph.constant(layer.bias)
    return graph.add("LayerNormalization", x, *parameters, axis=-1, epsilon=layer.epsilon)


def _activation(graph: Graph, layer: Activation, x: str, shape: Shape) -> str:
    if layer.function == "silu":
        return graph.add("Mul", x, graph.add("Sigmoid", x))
    if layer.function == "gelu_tanh":
        return _gelu(graph, x)
    operator = {"leaky_relu": "LeakyRelu"}.get(layer.function, layer.function.capitalize())
    if layer.function in ("elu", "leaky_relu"):
        return graph.add(operator, x, alpha=layer.parameter)
    return graph.add(operator, x)


def _gelu(graph: Graph, x: str) -> str:
    cube = graph.add("Mul", x, graph.add("Mul", x, x))
    inner = graph.add("Add", x, graph.add("Mul", cube, graph.constant(0.044715)))
    gate = graph.add("Tanh", graph.add("Mul", inner, graph.constant(0.7978845608)))
    return graph.add("Mul", graph.add("Mul", x, graph.constant(0.5)), graph.add("Add", gate, graph.constant(1.0)))


def _scale(graph: Graph, layer: Scale, x: str, shape: Shape) -> str:
    return graph.add("Add", graph.add("Mul", x, graph.constant(layer.factor)), graph.constant(layer.offset))


def _reshape(graph: Graph, layer: Reshape, x: str, shape: Shape) -> str:
    return graph.add("Reshape", x, graph.constant([-1, *layer.output_shape(shape)], np.int64))


def _permute(graph: Graph, layer: Permute, x: str, shape: Shape) -> str:
    return graph.add("Transpose", x, perm=[0, *(axis + 1 for axis in layer.axes)])


def _add_axis(graph: Graph, layer: AddAxis, x: str, shape: Shape) -> str:
    return graph.add("Unsqueeze", x, graph.constant([-1], np.int64))


_WRITERS: dict[type[Layer], Callable[[Graph, Any, str, Shape], str]] = {
    Normalise: _normalise, Dense: _dense, Conv: _conv, LayerNorm: _layer_norm, Activation: _activation,
    Scale: _scale, Reshape: _reshape, Permute: _permute, AddAxis: _add_axis,
}  # fmt: skip


# -- the head --------------------------------------------------------------------------------------------------------


def _head(graph: Graph, policy: NumpyPolicy, outputs: str, n_outputs: int) -> list[Any]:
    """Append what turns the network's outputs into actions; returns the model's outputs."""
    if isinstance(policy.head, SquashedGaussian):
        return _continuous(graph, policy, outputs, n_outputs // 2)
    start = policy.units.start if isinstance(policy.units, Indices) else 0
    index = graph.add("ArgMax", outputs, axis=-1, keepdims=0)
    graph.add("Add", index, graph.constant(start, np.int64), output="action")
    name = "logits" if isinstance(policy.head, Categorical) else "action_values"
    graph.add("Identity", outputs, output=name)
    return [
        helper.make_tensor_value_info("action", TensorProto.INT64, [BATCH]),
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, n_outputs]),
    ]


def _continuous(graph: Graph, policy: NumpyPolicy, outputs: str, n: int) -> list[Any]:
    one = graph.constant([-1], np.int64)
    halves = [[0], [n], [2 * n]]
    low, middle, high = (graph.constant(edge, np.int64) for edge in halves)
    mean = graph.add("Slice", outputs, low, middle, one, output="mean")
    limits = graph.constant(LOG_STD_MIN), graph.constant(LOG_STD_MAX)
    graph.add("Clip", graph.add("Slice", outputs, middle, high, one), *limits, output="log_std")
    action = graph.add("Tanh", mean)
    shape, kind = (n,), TensorProto.FLOAT
    if isinstance(policy.units, Bounds):
        action = _bounded(graph, policy.units, action)
        shape, kind = policy.units.low.shape, helper.np_dtype_to_tensor_dtype(policy.units.low.dtype)
    graph.add("Identity", action, output="action")
    return [
        helper.make_tensor_value_info("action", kind, [BATCH, *shape]),
        helper.make_tensor_value_info("mean", TensorProto.FLOAT, [BATCH, n]),
        helper.make_tensor_value_info("log_std", TensorProto.FLOAT, [BATCH, n]),
    ]


def _bounded(graph: Graph, units: Bounds, action: str) -> str:
    dtype = units.low.dtype
    shaped = graph.add("Reshape", action, graph.constant([-1, *units.low.shape], np.int64))
    cast = graph.add("Cast", shaped, to=helper.np_dtype_to_tensor_dtype(dtype))
    scaled = graph.add("Mul", cast, graph.constant(units.half_width, dtype))
    moved = graph.add("Add", scaled, graph.constant(units.middle, dtype))
    above = graph.add("Max", moved, graph.constant(units.low, dtype))
    return graph.add("Min", above, graph.constant(units.high, dtype))
