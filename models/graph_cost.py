"""What scoring a model must cost, whatever runs it: multiplications and bytes of its graph, over what a machine can do.

Needs ``onnx``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from models.errors import ModelFileError
from models.model_file import session_options

if TYPE_CHECKING:
    import onnx

_SIZE = 384
"""Of the matrices that are multiplied: large enough to keep a core busy, small enough for its caches."""
_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class GraphCost:
    """Of a graph: multiplications with an addition each, and bytes of what its convolutions and matrix products read
    and write, for one window; and bytes of its weights. All else can be done on the way, and is not counted."""

    multiply_adds: int
    activation_bytes: int
    weight_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations for one window."""
        return 2 * self.multiply_adds


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most that one thread of this machine was seen to do in a second: of arithmetic, and of bytes moved."""

    flops: float
    bytes: float

    def floor_s(self, cost: GraphCost, windows: int) -> float:
        """Seconds below which one thread cannot score so many windows, by the ordinary ways of multiplying: either
        the arithmetic or the bytes take that long, and at best both at the same time."""
        moved = cost.weight_bytes + windows * cost.activation_bytes
        return max(windows * cost.flops / self.flops, moved / self.bytes)


def graph_cost(model: bytes) -> GraphCost:
    """Count a serialised ONNX model.

    Raises:
        ModelFileError: the shapes of an operator's operands do not follow from the graph.
    """
    import onnx

    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    any_number = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.value_info, *graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == any_number:
                dimension.dim_value = 1  # and no longer its name
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sizes = {name: (tuple(tensor.dims), _element_bytes(tensor.data_type)) for name, tensor in weights.items()}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
            shape = tuple(dimension.dim_value for dimension in tensor.shape.dim)
            sizes[value.name] = shape, _element_bytes(tensor.elem_type)
    multiply_adds = activation_bytes = weight_bytes = 0
    for node in graph.node:
        if node.op_type not in _MULTIPLY_ADDS:
            continue
        names = [name for name in (*node.input, *node.output) if name]
        if unknown := [name for name in names if name not in sizes]:
            raise ModelFileError(
                f"the shape of {', '.join(unknown)} at a {node.op_type} does not follow from the graph"
            )
        operands = (sizes[name][0] for name in (*node.input[:2], node.output[0]))
        multiply_adds += _MULTIPLY_ADDS[node.op_type](node, *operands)
        for name in names:
            shape, element_bytes = sizes[name]
            if name in weights:
                weight_bytes += prod(shape) * element_bytes
            else:
                activation_bytes += prod(shape) * element_bytes
    return GraphCost(multiply_adds, activation_bytes, weight_bytes)


Shape = tuple[int, ...]


def _convolution(_: onnx.NodeProto, __: Shape, weights: Shape, output: Shape) -> int:
    return prod(output) * prod(weights[1:])


def _general_product(node: onnx.NodeProto, a: Shape, _: Shape, output: Shape) -> int:
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(output) * a[0 if turned else 1]


def _product(_: onnx.NodeProto, a: Shape, __: Shape, output: Shape) -> int:
    return prod(output) * a[-1]


_MULTIPLY_ADDS: dict[str, Callable[[onnx.NodeProto, Shape, Shape, Shape], int]] = {
    "Conv": _convolution,
    "Gemm": _general_product,
    "MatMul": _product,
}


def _element_bytes(kind: int) -> int:
    import onnx

    return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize)


def measure_ceilings(cost: GraphCost) -> Ceilings:
    """The best of many products of matrices, and of many copies of as many bytes as one window takes: what stays in a
    cache there does so when the network is scored again and again."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    left, right = random.standard_normal((2, _SIZE, _SIZE), dtype=np.float32)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [_SIZE, _SIZE]) for name in ("left", "out")]
    product = helper.make_node("MatMul", ["left", "right"], ["out"])
    graph = helper.make_graph([product], "product", ends[:1], ends[1:], [numpy_helper.from_array(right, "right")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto)
    # By ONNX Runtime, which keeps to one thread: numpy takes all there are.
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    source = random.standard_normal(max(1, (cost.weight_bytes + cost.activation_bytes) // 8), dtype=np.float32)
    target = np.empty_like(source)
    return Ceilings(
        2 * _SIZE**3 / _least_s(lambda: session.run(None, {"left": left})),
        2 * source.nbytes / _least_s(lambda: np.copyto(target, source)),
    )


def _least_s(call: Callable[[], object]) -> float:
    call()
    least, begun = np.inf, time.perf_counter()
    while time.perf_counter() - begun < _SECONDS:
        started = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - started)
    return float(least)
