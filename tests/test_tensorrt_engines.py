"""Real engines of TensorRT-RTX, built on this machine without a card, of every recipe's network."""

import importlib

import numpy as np
import onnx
import pytest
from daemons import need_packages
from networks import export_random, random_network, random_windows
from onnx import helper

from models.engine_file import EngineFile, Target
from models.errors import ConfigError, EngineError
from models.example_windows import noise_windows
from models.model_file import open_model
from models.onnx_scorer import OnnxScorer
from models.precision import HEAVY, census, folded, in_precision
from models.precision_kind import Precision
from models.tensorrt_build import build_plan, make_logger
from models.tensorrt_engines import make_engine, make_target
from train.export import to_onnx
from train.recipes import RECIPES

SMS = ("80", "89", "120")


@pytest.fixture(scope="module")
def trt():
    need_packages("tensorrt_rtx_bindings")
    return importlib.import_module("tensorrt_rtx_bindings")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return export_random(tmp_path_factory.mktemp("model") / "small.onnx")


def build(trt, path, target, **options):
    _, card = open_model(path)
    return build_plan(trt, make_logger(trt), folded(path.read_bytes()).SerializeToString(), card, target, **options)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_becomes_an_engine(trt, recipe):
    network, card = random_network(recipe)
    model = to_onnx(network, card).SerializeToString()
    sizes = []
    for precision in (Precision.FP32, Precision.FP16):
        typed = in_precision(model, card, precision)
        assert {kind for op, kind in census(typed) if op in HEAVY} == {str(precision)}
        target = Target(product="tensorrt-rtx", precision=precision, batch=(8, 64), sms=SMS)
        plan, _ = build_plan(trt, make_logger(trt), typed.SerializeToString(), card, target)
        sizes.append(len(plan))
    # Weights in half the bytes: were they not in half precision, the plan would be as large.
    assert sizes[1] < 0.9 * sizes[0]


def test_an_engine_file_holds_what_was_put_into_it(trt, small, tmp_path):
    _, card = open_model(small)
    typed = folded(small.read_bytes()).SerializeToString()
    engine, _ = make_engine(typed, card, make_target(card, product="tensorrt-rtx", sms=SMS))
    engine.write(tmp_path / "it.engine")
    again = EngineFile.read(tmp_path / "it.engine")
    assert (again.plan, again.model, again.about) == (engine.plan, engine.model, engine.about)
    np.testing.assert_array_equal(again.windows[0], noise_windows(card)[0])
    np.testing.assert_allclose(again.answers["genre"], OnnxScorer(small).score(again.windows)["genre"], atol=1e-6)
    assert again.card == card


def test_eight_bits_become_an_engine(trt, small):
    _, card = open_model(small)
    target = Target(product="tensorrt-rtx", precision=Precision.INT8, batch=(8, 64), sms=SMS)
    typed = in_precision(small.read_bytes(), card, Precision.INT8, windows=random_windows(card, 20))
    assert build_plan(trt, make_logger(trt), typed.SerializeToString(), card, target)


def test_progress_is_told_and_may_stop_the_building(trt, small):
    told = []

    def tell(phase, done, steps):
        told.append((phase, done, steps))
        return True

    target = Target(product="tensorrt-rtx", batch=(8, 64), sms=("89",))
    assert build(trt, small, target, progress=tell)
    assert all(0 <= done <= steps for _, done, steps in told)
    assert ("Building engine", 0) in {(phase, done) for phase, done, _ in told}
    with pytest.raises(KeyboardInterrupt):
        build(trt, small, target, progress=lambda *_: False)


def test_a_broken_graph_is_refused_in_the_parsers_words(trt, small):
    _, card = open_model(small)
    graph = onnx.load(small)
    graph.graph.node[0].op_type = "NoSuchOperator"
    logger = make_logger(trt)
    target = Target(product="tensorrt-rtx", batch=(8, 64), sms=("89",))
    with pytest.raises(EngineError, match=r"parser does not read the graph of 'random': .*NoSuchOperator"):
        build_plan(trt, logger, graph.SerializeToString(), card, target)
    with pytest.raises(EngineError, match="parser does not read the graph of 'random'"):
        build_plan(trt, logger, small.read_bytes()[:5000], card, target)
    # What was said of one graph is not said of the next.
    assert build(trt, small, target)


def test_axes_worked_out_in_the_graph_are_folded_for_the_parser(trt):
    network, card = random_network("base")
    graph = to_onnx(network, card)
    mean = next(node for node in graph.graph.node if node.op_type == "ReduceMean")
    graph.graph.node.insert(0, helper.make_node("Add", [mean.input[1], "nothing"], ["worked_out"]))
    graph.graph.initializer.append(helper.make_tensor("nothing", onnx.TensorProto.INT64, [], [0]))
    mean.input[1] = "worked_out"
    target = Target(product="tensorrt-rtx", batch=(8, 64), sms=("89",))
    with pytest.raises(EngineError, match="must resolve to a build-time constant"):
        build_plan(trt, make_logger(trt), graph.SerializeToString(), card, target)
    typed = in_precision(graph.SerializeToString(), card, Precision.FP32).SerializeToString()
    assert build_plan(trt, make_logger(trt), typed, card, target)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sms": ("90",)}, "expected compute capabilities of 80, 86, 89, 120, 121, got 90"),
        ({"sms": ("89", "89")}, "expected different compute capabilities"),
        ({"sms": ("89",), "product": "tensorrt"}, "built on the card that will run it: leave --sm out"),
        ({"batch": (8, 4)}, "expected the usual batch and then the greatest, got 8 and 4"),
        ({"batch": (1, 5_000_000_000)}, "less than or equal to"),
        ({"batch": (0, 1)}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_built_is_said_at_once(given, says):
    with pytest.raises(ConfigError, match=says):
        Target.of(**{"product": "tensorrt-rtx", "batch": (8, 64), **given})


def test_an_engine_of_tensorrt_wants_the_card(small):
    _, card = open_model(small)
    with pytest.raises(EngineError, match="on the NVIDIA card that will run it"):
        make_engine(small.read_bytes(), card, make_target(card, product="tensorrt"))


def test_an_engine_for_any_rtx_card(trt, small):
    _, card = open_model(small)
    typed = folded(small.read_bytes()).SerializeToString()
    assert make_engine(typed, card, make_target(card, product="tensorrt-rtx"))[0].plan
