"""`genrescope bench scorers`: what it measures, with a stand-in clock; and what it prints."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from toy import save_toy

import genrescope
import models.scorer_bench
from models.choose import Measured
from models.errors import ModelFileError
from models.graph_cost import Ceilings, GraphCost
from models.onnx_scorer import OnnxScorer
from models.scorer_bench import ModelBench, Timing, run, time_by_turns
from models.scorer_kind import ScorerKind

ONNX, OPENVINO, TENSORRT = ScorerKind.ONNX, ScorerKind.OPENVINO, ScorerKind.TENSORRT


@pytest.fixture
def model(tmp_path):
    return save_toy(tmp_path / "toy.onnx")


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    """TensorRT is not here, wherever the tests run: a real one would build engines first."""
    stand_in = SimpleNamespace(available=lambda product: f"{product} has no card here")
    monkeypatch.setitem(sys.modules, "models.tensorrt_scorer", stand_in)
    monkeypatch.setattr("models.graph_cost._SECONDS", 0.01)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0, called=[])
    monkeypatch.setattr(models.scorer_bench, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


class StandIn:
    """Takes a while for each call and for each window, by the stand-in clock."""

    def __init__(self, clock, model, name, *, call_s, window_s, at_most=math.inf):
        self.card, self.name = OnnxScorer(model).card, name
        self.clock, self.call_s, self.window_s, self.at_most = clock, call_s, window_s, at_most

    def score(self, windows):
        n = len(windows[0])
        if n > self.at_most:
            raise ModelFileError(f"{self.name} has no room for {n} windows")
        self.clock.now += self.call_s + n * self.window_s
        self.clock.called.append(self.name)
        return {}


def bench_of(path, scorers):
    measured = {kind: Measured(kind, each.name, each.call_s + each.window_s, 0.0) for kind, each in scorers.items()}
    cost, ceilings = GraphCost(500, 100, 0), Ceilings(flops=1e6, bytes=1e6)
    card = scorers[ONNX].card
    return ModelBench(path, card, scorers, measured, {}, cost, ceilings, None)


def windows_of(scorer, n):
    return tuple(np.zeros((n, *shape), np.float32) for shape in scorer.card.input_shapes)


def test_scorers_take_turns_and_each_is_first_in_its_turn(clock, model):
    scorers = {
        ONNX: StandIn(clock, model, "a", call_s=0.008, window_s=0.001),
        OPENVINO: StandIn(clock, model, "b", call_s=0.002, window_s=0.001),
    }
    ours, theirs = time_by_turns(
        scorers, windows_of(scorers[ONNX], 2), seconds=1.0, joules=lambda: {"cpu": 3 * clock.now}
    )
    assert ours == Timing(ONNX, 2, pytest.approx(0.010), pytest.approx(0.010), 1.0, {"cpu": pytest.approx(0.015)})
    assert theirs == Timing(
        OPENVINO, 2, pytest.approx(0.004), pytest.approx(0.004), pytest.approx(2.5), {"cpu": pytest.approx(0.006)}
    )
    assert theirs.windows_per_s == pytest.approx(500)
    turns = [name for at, name in enumerate(clock.called) if at < 2 or name != clock.called[at - 1]]
    # One call each before, then ten rounds: a b, b a, a b, ...
    assert turns[:6] == ["a", "b", "a", "b", "a", "b"]
    # A second each, in tenths.
    assert clock.called.count("a") in range(101, 113)
    assert clock.called.count("b") in range(251, 263)


def test_a_counter_that_begins_again_from_nothing_changes_no_figure(clock, model):
    scorer = StandIn(clock, model, "a", call_s=0.01, window_s=0.0)
    readings = {"cpu": lambda: (100 * clock.now) % 31}
    (timing,) = time_by_turns(
        {ONNX: scorer}, windows_of(scorer, 1), seconds=1.0, joules=lambda: {"cpu": readings["cpu"]()}
    )
    assert timing.joules["cpu"] == pytest.approx(1.0)


def test_what_would_take_too_long_is_left_out_and_said(clock, model):
    scorers = {
        ONNX: StandIn(clock, model, "slow", call_s=0.0, window_s=0.010),
        OPENVINO: StandIn(clock, model, "fast", call_s=0.009, window_s=0.001),
    }
    bench = bench_of(model, scorers)
    assert list(run(bench, [64, 8, 1], seconds=0.9, joules=dict)) == [1, 8, 64]
    assert [(timing.kind, timing.batch) for timing in bench.timings] == [
        (ONNX, 1),
        (OPENVINO, 1),
        (ONNX, 8),
        (OPENVINO, 8),
        # It takes a hundredth of a second for one window, but does not need sixty-four for as many.
        (OPENVINO, 64),
    ]
    (skipped,) = bench.skipped
    assert (skipped.kinds, skipped.batch) == ((ONNX,), 64)
    assert "more than 0.3 s: give more --seconds" in skipped.reason
    assert bench.timings[-1].ratio is None  # what it would be compared with is not there
    assert bench.floor_s(bench.timings[0]) == pytest.approx(0.001)


@pytest.mark.parametrize("counted", [True, False])
def test_what_might_not_fit_is_left_out(clock, model, monkeypatch, counted):
    bench = bench_of(model, {ONNX: StandIn(clock, model, "a", call_s=0.001, window_s=0.0)})
    (shape,) = bench.card.input_shapes
    window_bytes = bench.cost.activation_bytes if counted else 100 * 4 * shape[0] * shape[1]
    bench.cost = bench.cost if counted else None
    monkeypatch.setattr(models.scorer_bench, "memory_bytes", lambda: 2 * 100 * window_bytes)
    assert list(run(bench, [8, 4096], seconds=0.1, joules=dict)) == [8, 4096]
    assert [timing.batch for timing in bench.timings] == [8]
    assert bench.skipped[0].batch == 4096
    assert "memory" in bench.skipped[0].reason


def test_one_that_fails_with_many_does_not_end_the_others(clock, model):
    scorers = {
        ONNX: StandIn(clock, model, "a", call_s=0.001, window_s=0.0),
        TENSORRT: StandIn(clock, model, "b", call_s=0.001, window_s=0.0, at_most=8),
    }
    bench = bench_of(model, scorers)
    assert list(run(bench, [8, 64], seconds=0.1, joules=dict)) == [8, 64]
    assert [(timing.kind, timing.batch) for timing in bench.timings] == [(ONNX, 8), (TENSORRT, 8), (ONNX, 64)]
    assert bench.skipped[0].reason == "b has no room for 64 windows"
    assert bench.floor_s(bench.timings[1]) is None  # it is not one thread


@pytest.fixture
def bench(monkeypatch, capsys, model):
    """Run the command on the toy; gives (exit status, stdout, stderr)."""

    def call(*arguments):
        given = ["bench", "scorers", "--model", model, "--scorer", "openvino", "--seconds", "0.03", *arguments]
        monkeypatch.setattr(sys, "argv", ["genrescope", *map(str, given)])
        with pytest.raises(SystemExit) as stopped:
            genrescope.main()
        said = capsys.readouterr()
        return stopped.value.code or 0, said.out, said.err

    return call


def test_the_command_prints_a_table_and_writes_its_figures(bench, tmp_path):
    status, out, err = bench("--batch", 8, "--batch", 1, "--report", tmp_path / "out")
    assert status == 0
    for words in (
        "genrescope bench scorers",
        "toy: 12 mel bands",
        "windows/s",
        "x floor",
        "openvino: OpenVINO",
        "floor: ",
    ):
        assert words in out
    assert "Scoring by turns" in err
    figures = json.loads((tmp_path / "out/scorers.json").read_text())
    (measured,) = figures["models"]
    assert [(each["kind"], each["batch"]) for each in measured["timings"]] == [
        ("onnx", 1),
        ("openvino", 1),
        ("onnx", 8),
        ("openvino", 8),
    ]
    assert measured["cost"]["multiply_adds"] == 3 * 12
    assert measured["timings"][0]["floor_s"] > 0
    assert (tmp_path / "out/scorers.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_all_there_is_on_standard_output(bench):
    status, out, _ = bench("--batch", 1, "--json")
    assert status == 0
    figures = json.loads(out)
    assert figures["command"].startswith("genrescope bench scorers --model")
    assert figures["models"][0]["timings"][0]["ratio"] == 1.0
    assert "NaN" not in out


def test_without_the_package_that_counts_there_is_no_floor(bench, monkeypatch):
    monkeypatch.setattr(models.scorer_bench.importlib.util, "find_spec", lambda name: None)
    status, out, _ = bench("--batch", 1)
    assert status == 0
    assert "no floor: counting needs the package onnx" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scorer", "auto"], "--scorer auto is none of its own"),
        (["--scorer", "tensorrt"], "--scorer tensorrt: tensorrt has no card here"),
        (["--model", "gone.onnx"], "gone.onnx: cannot be read"),
        (["--model", "base.engine"], "give the one it was made from"),
    ],
)
def test_wrong_use_is_one_sentence(bench, arguments, says):
    status, _, err = bench("--batch", 1, *arguments)
    assert status == 2
    (line,) = err.strip().splitlines()
    assert says in line
