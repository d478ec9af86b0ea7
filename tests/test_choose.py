"""What ``--scorer auto`` takes, with stand-ins for runtimes and for the clock; and once with those that are there."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io.wavfile
from toy import RATE_HZ, save_toy, tone

import genrescope
import models.choose
from models.choose import CANDIDATES, Measured, choose, fastest, load_all, measure
from models.errors import EngineError, ModelFileError
from models.onnx_scorer import OnnxScorer
from models.scorer import load_scorer
from models.scorer_kind import ScorerKind

ONNX, OPENVINO, TENSORRT = ScorerKind.ONNX, ScorerKind.OPENVINO, ScorerKind.TENSORRT


@pytest.fixture
def model(tmp_path):
    return save_toy(tmp_path / "toy.onnx")


class StandIn:
    """Answers as ONNX Runtime does, but for what it is off by, and takes its time by the stand-in clock."""

    def __init__(self, model, clock, *, name, seconds, off=0.0, fails_at=None):
        self._real = OnnxScorer(model)
        self.card, self.name = self._real.card, name
        self.seconds, self.off, self.fails_at = seconds, off, fails_at
        self.clock, self.calls, self.closed = clock, [], False

    def score(self, windows):
        self.calls.append(len(windows[0]))
        if self.fails_at == len(windows[0]):
            raise ModelFileError(f"{self.name} is out of memory")
        self.clock.now += self.seconds
        return {name: scores + np.float32(self.off) for name, scores in self._real.score(windows).items()}

    def close(self):
        self.closed = True


@pytest.fixture
def machine(model, monkeypatch):
    """Says which runtimes this machine has; gives the stand-ins by kind, or why there is none."""
    clock = SimpleNamespace(now=0.0)
    there = {}

    def load(path, kind=ONNX):
        if isinstance(there[kind], Exception):
            raise there[kind]
        return there[kind]

    def has(**runtimes):
        for kind in CANDIDATES:
            what = runtimes.get(kind.name, ModelFileError(f"{kind} is not installed"))
            there[kind] = what if isinstance(what, Exception) else StandIn(model, clock, name=kind.name, **what)
        return there

    def available(product):
        what = there[ScorerKind(product)]
        return str(what) if isinstance(what, ModelFileError) else None

    monkeypatch.setattr(models.choose, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(models.choose, "load_scorer", load)
    monkeypatch.setitem(sys.modules, "models.tensorrt_scorer", SimpleNamespace(available=available))
    return has


@pytest.mark.parametrize(
    ("openvino_s", "taken"), [(0.020, ONNX), (0.010, ONNX), (0.0091, ONNX), (0.0089, OPENVINO), (0.001, OPENVINO)]
)
def test_another_runtime_has_to_be_a_tenth_faster(machine, model, openvino_s, taken):
    there = machine(ONNX={"seconds": 0.010}, OPENVINO={"seconds": openvino_s})
    choice = choose(model)
    assert choice.scorer is there[taken]
    assert choice.taken is not None
    assert choice.taken.latency_s == pytest.approx(min(openvino_s, 0.010) if taken is OPENVINO else 0.010)
    for name in ("ONNX", "OPENVINO", f"{1000 * openvino_s:.2f} ms", "10.00 ms"):
        assert name in choice.words
    assert len(choice.words.splitlines()) == 1


def test_the_fastest_of_all_is_taken_and_the_others_let_go(machine, model):
    there = machine(
        ONNX={"seconds": 0.010}, ONNX_CUDA={"seconds": 0.004}, OPENVINO={"seconds": 0.006}, TENSORRT={"seconds": 0.002}
    )
    assert choose(model).scorer is there[TENSORRT]
    assert not there[TENSORRT].closed
    assert all(there[kind].closed for kind in (ONNX, ScorerKind.ONNX_CUDA, OPENVINO))


@pytest.mark.parametrize("off", [0.002, math.nan])
def test_one_that_answers_otherwise_is_refused_however_fast_it_is(machine, model, off):
    there = machine(ONNX={"seconds": 0.010}, OPENVINO={"seconds": 0.001, "off": off})
    choice = choose(model)
    assert choice.scorer is there[ONNX]
    assert "its probabilities differ by" in choice.words


def test_one_that_answers_a_little_otherwise_is_not(machine, model):
    there = machine(ONNX={"seconds": 0.010}, OPENVINO={"seconds": 0.001, "off": 0.0005})
    assert choose(model).scorer is there[OPENVINO]


@pytest.mark.parametrize("at", [1, 8])
def test_one_that_fails_is_named_and_left(machine, model, at):
    there = machine(ONNX={"seconds": 0.010}, OPENVINO={"seconds": 0.001, "fails_at": at})
    choice = choose(model)
    assert choice.scorer is there[ONNX]
    assert "OPENVINO is out of memory" in choice.words


def test_runtimes_are_timed_by_turns_within_the_time_for_it(machine, model):
    there = machine(ONNX={"seconds": 0.010}, OPENVINO={"seconds": 0.010})
    choose(model)
    calls = [there[kind].calls.count(1) for kind in (ONNX, OPENVINO)]
    # Half of the time for each, after a few that are not timed.
    assert calls[1] in range(15, 20)
    assert abs(calls[0] - calls[1]) <= 3


def test_a_slow_network_is_asked_a_few_times_only(machine, model):
    there = machine(ONNX={"seconds": 1.0}, OPENVINO={"seconds": 0.8})
    assert choose(model).scorer is there[OPENVINO]
    assert max(sum(there[kind].calls) for kind in (ONNX, OPENVINO)) < 12


def test_alone_it_is_not_even_measured(machine, model):
    there = machine(ONNX={"seconds": 0.010})
    choice = choose(model)
    assert choice.scorer is there[ONNX]
    assert choice.words is None
    assert not there[ONNX].calls


def test_tensorrt_is_asked_whether_it_can_be_used_before_anything_is_built(machine, model):
    machine(ONNX={"seconds": 0.010}, TENSORRT=ModelFileError("no card"), TENSORRT_RTX=EngineError("cannot be built"))
    scorers, reasons = load_all(model, CANDIDATES)
    assert list(scorers) == [ONNX]
    assert reasons[TENSORRT] == "no card"
    assert reasons[ScorerKind.TENSORRT_RTX] == "cannot be built"


def test_a_damaged_model_is_refused_in_its_own_words(tmp_path):
    path = tmp_path / "song.onnx"
    path.write_bytes(b"ID3 no model")
    with pytest.raises(ModelFileError, match="not a complete ONNX model"):
        load_scorer(path, ScorerKind.AUTO)


def test_an_engine_is_run_by_its_own_runtime_whatever_is_asked_for(tmp_path, monkeypatch):
    asked = []

    def run(path, product=None):
        asked.append((path.name, product))
        return SimpleNamespace(name="engine")

    monkeypatch.setitem(sys.modules, "models.tensorrt_scorer", SimpleNamespace(TensorRtScorer=run))
    for kind in (ScorerKind.AUTO, ONNX, TENSORRT):
        assert load_scorer(tmp_path / "base.engine", kind).name == "engine"
    assert choose(tmp_path / "base.engine").words is None
    assert asked == [("base.engine", None)] * 4


def test_torch_is_measured_where_asked_for_but_never_taken():
    measured = [Measured(ONNX, "ONNX", 0.010, 0.0), Measured(ScorerKind.TORCH, "torch", 0.001, 0.0)]
    assert fastest(measured).kind is ONNX


def test_onnx_runtime_is_taken_even_if_it_answers_no_numbers():
    assert fastest([Measured(ONNX, "ONNX", 0.010, math.nan)]).kind is ONNX


def test_the_runtimes_that_are_there_agree(model):
    scorers = {kind: load_scorer(model, kind) for kind in (ONNX, OPENVINO)}
    measured = measure(scorers)
    assert [each.kind for each in measured] == [ONNX, OPENVINO]
    assert all(each.objection is None and 0 < each.latency_s < math.inf for each in measured)
    assert load_scorer(model, ScorerKind.AUTO).name in {each.name for each in measured}


def test_classify_says_what_auto_took_beside_its_results(model, tmp_path, monkeypatch, capfd):
    song = tmp_path / "song.wav"
    scipy.io.wavfile.write(song, RATE_HZ, tone("middle", 5))
    for more, said in (([], True), (["--scorer", "onnx"], False), (["--scorer", "openvino"], False)):
        arguments = ["genrescope", "classify", "--json", "--model", str(model), str(song), *more]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit):
            genrescope.main()
        captured = capfd.readouterr()
        assert json.loads(captured.out)["label"] == "middle"
        assert bool(captured.err) == said
        if said:
            (line,) = captured.err.splitlines()
            assert line.startswith("auto ")
            assert "OpenVINO" in line
            assert "ONNX Runtime" in line
