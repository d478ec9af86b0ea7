"""What a graph must cost: counted by hand, and by the machine."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from toy import save_toy

from models.errors import ModelFileError
from models.graph_cost import Ceilings, GraphCost, graph_cost, measure_ceilings
from models.model_file import open_model


def value(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def serialised(nodes, inputs, outputs, weights, values=()):
    tensors = [numpy_helper.from_array(np.zeros(shape, dtype), name) for name, (shape, dtype) in weights.items()]
    graph = helper.make_graph(nodes, "counted", inputs, outputs, tensors, value_info=values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def test_convolutions_and_products_are_counted_for_one_window():
    model = serialised(
        [
            helper.make_node("Conv", ["features", "kernels", "bias"], ["maps"], strides=[1, 2]),
            helper.make_node("Relu", ["maps"], ["positive"]),
            helper.make_node("Conv", ["positive", "by_channel"], ["more"], group=4),
            helper.make_node("Flatten", ["more"], ["flat"]),
            helper.make_node("Gemm", ["flat", "hidden"], ["sum"], transB=1),
            helper.make_node("MatMul", ["sum", "last"], ["genre"]),
        ],
        [value("features", "batch", 2, 8, 11)],
        [value("genre", "batch", 3)],
        {
            "kernels": ((4, 2, 3, 3), np.float32),
            "bias": ((4,), np.float32),
            "by_channel": ((4, 1, 1, 1), np.float32),
            "hidden": ((5, 120), np.float32),
            "last": ((5, 3), np.float32),
        },
    )
    # Maps of 4 x 6 x 5.
    assert graph_cost(model) == GraphCost(
        multiply_adds=120 * 2 * 9 + 120 * 1 + 120 * 5 + 5 * 3,
        activation_bytes=4 * ((2 * 8 * 11 + 120) + (120 + 120) + (120 + 5) + (5 + 3)),
        weight_bytes=4 * (72 + 4 + 4 + 600 + 15),
    )


def test_half_precision_takes_half_the_bytes():
    model = serialised(
        [helper.make_node("MatMul", ["features", "weights"], ["genre"])],
        [value("features", "batch", 10, kind=TensorProto.FLOAT16)],
        [value("genre", "batch", 3, kind=TensorProto.FLOAT16)],
        {"weights": ((10, 3), np.float16)},
    )
    assert graph_cost(model) == GraphCost(30, 2 * 13, 2 * 30)


def test_shapes_that_the_file_tells_are_believed():
    """As torch writes them: the number of windows is worked out in the graph, where inference loses it."""
    nodes = [
        helper.make_node("Shape", ["features"], ["dims"], end=1),
        helper.make_node("Squeeze", ["dims"], ["windows"]),
        helper.make_node("Reshape", ["windows", "one"], ["again"]),
        helper.make_node("Concat", ["again", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["features", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["genre"]),
    ]
    ends = [value("features", "batch", 4, 5)], [value("genre", "batch", 3)]
    weights = {"weights": ((20, 3), np.float32), "one": ((1,), np.int64), "rest": ((1,), np.int64)}
    told = serialised(nodes, *ends, weights, [value("flat", "batch", 20)])
    assert graph_cost(told).multiply_adds == 60
    with pytest.raises(ModelFileError, match="the shape of flat at a MatMul does not follow"):
        graph_cost(serialised(nodes, *ends, weights))


def test_the_toy_costs_what_it_must(tmp_path):
    path = save_toy(tmp_path / "toy.onnx")
    _, card = open_model(path)
    bands = card.clock.bands
    assert graph_cost(path.read_bytes()) == GraphCost(3 * bands, 4 * (bands + 3), 4 * 3 * bands)


def test_the_floor_is_of_arithmetic_or_of_bytes_whichever_takes_longer():
    cost = GraphCost(multiply_adds=500, activation_bytes=20, weight_bytes=100)
    assert Ceilings(flops=1e4, bytes=1e9).floor_s(cost, 1) == pytest.approx(0.1)
    assert Ceilings(flops=1e4, bytes=1e9).floor_s(cost, 8) == pytest.approx(0.8)
    assert Ceilings(flops=1e9, bytes=1e3).floor_s(cost, 1) == pytest.approx(0.12)
    assert Ceilings(flops=1e9, bytes=1e3).floor_s(cost, 8) == pytest.approx(0.26)  # the weights are read once


def test_a_machine_calculates_and_copies(monkeypatch):
    monkeypatch.setattr("models.graph_cost._SECONDS", 0.01)
    ceilings = measure_ceilings(GraphCost(multiply_adds=1, activation_bytes=1 << 16, weight_bytes=1 << 16))
    assert 1e8 < ceilings.flops < 1e13
    assert 1e8 < ceilings.bytes < 1e13
