"""The TensorRT scorer over a fake that is as strict as the bindings of both majors, and whose engines really answer."""

import io
import logging
import re
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import pytest
from cuda_fake import FakeCuda, Status
from networks import export_random, random_windows
from tensorrt_fake import VERSIONS, fake_tensorrt
from toy import SPEC, save_toy, toy_card

import models.cuda
import models.tensorrt_build
import models.tensorrt_engines
import models.tensorrt_scorer
from models.cuda import Gpu
from models.engine_file import EngineFile
from models.errors import EngineError, ModelFileError
from models.example_windows import noise_windows
from models.model_file import open_model
from models.onnx_scorer import OnnxScorer
from models.precision import in_precision
from models.precision_kind import Precision
from models.scorer import FeatureShapeError, Scorer
from models.spec import LogMel
from models.tensorrt_engines import make_engine, make_target
from models.tensorrt_scorer import TensorRtScorer, available


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def cuda(monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setattr(models.cuda, "runtime", lambda: cuda)
    return cuda


@pytest.fixture
def trt(version, cuda, monkeypatch):
    trt = fake_tensorrt(version, cuda)
    for module in (models.tensorrt_build, models.tensorrt_engines, models.tensorrt_scorer):
        monkeypatch.setattr(module, "tensorrt_module", lambda product: trt)
    monkeypatch.setattr(models.tensorrt_scorer, "installed_modules", lambda product: ["tensorrt"])
    return trt


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export_random(tmp_path_factory.mktemp("model") / "random.onnx")


@pytest.fixture
def scorer(trt, model, tmp_path):
    return TensorRtScorer(model, "tensorrt", cache=tmp_path / "cache")


def engine_of(model, tmp_path, *, name="it.engine", **target):
    _, card = open_model(model)
    wanted = make_target(card, product="tensorrt", **target)
    path = tmp_path / name
    typed = in_precision(model.read_bytes(), card, wanted.precision).SerializeToString()
    engine, _ = make_engine(typed, card, wanted, gpu=Gpu(0, "Fake 4090", "89"))
    engine.write(path)
    return path


def test_is_a_scorer(scorer, trt):
    assert isinstance(scorer, Scorer)
    assert scorer.name == f"TensorRT {trt.__version__} (Fake 4090, fp32)"


@pytest.mark.parametrize("n", [0, 1, 2, 37])
def test_answers_as_onnx_runtime_does(scorer, model, n):
    windows = random_windows(scorer.card, n)
    found, expected = scorer.score(windows)["genre"], OnnxScorer(model).score(windows)["genre"]
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_more_windows_than_an_engine_takes_go_in_turns_through_both_places(trt, cuda, model, tmp_path):
    scorer = TensorRtScorer(engine_of(model, tmp_path, batch=(4, 8)), cache=tmp_path / "cache")
    windows = random_windows(scorer.card, 43)
    expected = OnnxScorer(model).score(windows)["genre"]
    for _ in range(4):  # enough for graphs of 8 windows and of 3
        np.testing.assert_allclose(scorer.score(windows)["genre"], expected, atol=1e-6)
    assert cuda.launches


def test_a_batch_that_comes_often_becomes_a_graph_and_gets_the_same_answers(scorer, cuda, model):
    expected = OnnxScorer(model)
    before = len(cuda.graphs)
    for seed in range(6):
        (windows,) = random_windows(scorer.card, 5)
        windows = (windows + seed,)
        np.testing.assert_allclose(scorer.score(windows)["genre"], expected.score(windows)["genre"], atol=1e-6)
    assert len(cuda.graphs) == before + 1
    assert cuda.launches == 4


def test_graphs_are_few(scorer, cuda):
    for n in range(1, 30):
        for _ in range(3):
            scorer.score(random_windows(scorer.card, n))
    assert len(cuda.graphs) == 8


def test_an_earlier_answer_stays_as_it_was(scorer):
    first = scorer.score(random_windows(scorer.card, 3))["genre"]
    kept = first.copy()
    (others,) = random_windows(scorer.card, 3)
    scorer.score((others[::-1] * 2,))
    np.testing.assert_array_equal(first, kept)


def test_several_heads_and_inputs(trt, tmp_path):
    card = toy_card(SPEC, LogMel(**{**SPEC.model_dump(), "n_mels": 20}), others=("mood",))
    path = save_toy(tmp_path / "toy.onnx", card)
    scorer = TensorRtScorer(path, "tensorrt", cache=tmp_path / "cache")
    windows = random_windows(card, 9)
    expected = OnnxScorer(path).score(windows)
    for name, found in scorer.score(windows).items():
        np.testing.assert_allclose(found, expected[name], atol=1e-6)


def test_other_shapes_are_refused(scorer):
    with pytest.raises(FeatureShapeError, match="expected windows of shape"):
        scorer.score((np.zeros((2, 39, 80), dtype=np.float32),))


def test_all_that_was_taken_is_given_back(scorer, cuda):
    for _ in range(4):
        scorer.score(random_windows(scorer.card, 2))
    scorer.close()
    assert [cuda.device, cuda.pinned, cuda.streams, cuda.graphs] == [{}, {}, {}, []]


def test_an_engine_is_built_once_and_kept(trt, model, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    TensorRtScorer(model, "tensorrt", cache=cache)
    assert len(list(cache.glob("*.engine"))) == 1
    trt.behaviour.refuses = "build"
    assert TensorRtScorer(model, "tensorrt", cache=cache).score(noise_windows(open_model(model)[1]))


def test_another_model_version_or_card_has_another_engine(trt, cuda, model, tmp_path):
    cache = tmp_path / "cache"

    def kept(path):
        TensorRtScorer(path, "tensorrt", cache=cache).close()
        return len(list(cache.glob("*.engine")))

    assert kept(model) == kept(model) == 1
    assert kept(save_toy(tmp_path / "toy.onnx")) == 2
    trt.__version__ = "99.0"
    assert kept(model) == 3
    cuda.name = b"Fake 5090"
    assert kept(model) == 4


def test_any_thread_scores_on_the_scorers_card(trt, model, tmp_path, monkeypatch):
    monkeypatch.setattr(models.cuda, "runtime", lambda: cuda)
    cuda = FakeCuda(devices=2)
    trt.behaviour._cuda = cuda
    scorer = TensorRtScorer(model, "tensorrt", device=1, cache=tmp_path / "cache")
    windows = random_windows(scorer.card, 3)
    with ThreadPoolExecutor(1) as pool:
        found = [pool.submit(scorer.score, windows).result() for _ in range(4)]
    np.testing.assert_array_equal(found[-1]["genre"], scorer.score(windows)["genre"])


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign plan"])
def test_a_kept_engine_that_is_stale_is_built_again_once(trt, model, tmp_path, caplog, damage):
    cache = tmp_path / "cache"
    TensorRtScorer(model, "tensorrt", cache=cache)
    (kept,) = cache.glob("*.engine")
    if damage == "foreign plan":
        engine = EngineFile.read(kept)
        EngineFile(engine.about, engine.model, b"something else", engine.windows, engine.answers).write(kept)
    else:
        kept.write_bytes(kept.read_bytes()[:2000] if damage == "cut" else b"")
    with caplog.at_level(logging.WARNING):
        TensorRtScorer(model, "tensorrt", cache=cache)
    assert "built again" in caplog.text
    caplog.clear()
    TensorRtScorer(model, "tensorrt", cache=cache)
    assert not caplog.text


def test_an_engine_file_of_another_version_is_built_again_and_left_alone(cuda, model, tmp_path, monkeypatch, caplog):
    def use(version):
        trt = fake_tensorrt(version, cuda)
        for module in (models.tensorrt_build, models.tensorrt_engines, models.tensorrt_scorer):
            monkeypatch.setattr(module, "tensorrt_module", lambda product: trt)

    use("10.16")
    path = engine_of(model, tmp_path)
    before = path.read_bytes()
    use("11.4")
    scorer = TensorRtScorer(path, cache=tmp_path / "cache")
    windows = random_windows(scorer.card, 4)
    np.testing.assert_allclose(scorer.score(windows)["genre"], OnnxScorer(model).score(windows)["genre"], atol=1e-6)
    assert "building it again" in caplog.text
    assert path.read_bytes() == before


def test_an_engine_that_answers_otherwise_is_refused(trt, cuda, model, tmp_path):
    path = engine_of(model, tmp_path)
    engine = EngineFile.read(path)
    wrong = {name: np.roll(values, 1, axis=1) for name, values in engine.answers.items()}
    EngineFile(engine.about, engine.model, engine.plan, engine.windows, wrong).write(path)
    with pytest.raises(EngineError, match=r"not answer as ONNX Runtime does: probabilities of 'genre' differ by 0"):
        TensorRtScorer(path, cache=tmp_path / "cache")
    assert [cuda.device, cuda.pinned, cuda.streams] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("refuses", "says"),
    [
        ("plan", "refuses the engine that it has just built: this is no plan"),
        ("build", r"tensorrt cannot build 'random' in fp32: no tactic for anything"),
        ("profile", r"batches of \(16, \d+\) windows of 'random' are refused"),
        ("context", "no room on the card for the engine's work: out of memory"),
        ("execute", r"does not score \d+ windows: an illegal address"),
        ("edges", "fp32 at its edges, features, genre is in other numbers"),
    ],
)
def test_what_tensorrt_refuses_is_said_in_its_words_and_leaves_nothing(trt, cuda, model, tmp_path, *, refuses, says):
    trt.behaviour.refuses = refuses
    with pytest.raises(EngineError, match=says):
        TensorRtScorer(model, "tensorrt", cache=tmp_path / "cache")
    assert [cuda.device, cuda.pinned, cuda.streams, cuda.graphs] == [{}, {}, {}, []]


@pytest.mark.parametrize("memory", [1_000, 1_300_000])
def test_too_little_memory_is_an_error_and_leaves_nothing(trt, model, tmp_path, monkeypatch, memory):
    cuda = FakeCuda(memory=memory)
    monkeypatch.setattr(models.cuda, "runtime", lambda: cuda)
    with pytest.raises(EngineError, match="cudaMalloc: cudaErrorMemoryAllocation"):
        TensorRtScorer(model, "tensorrt", cache=tmp_path / "cache")
    assert [cuda.device, cuda.pinned, cuda.streams] == [{}, {}, {}]


def test_a_graph_that_cannot_be_made_costs_nothing_but_speed(scorer, cuda, model, monkeypatch, caplog):
    monkeypatch.setattr(cuda, "cudaGraphInstantiate", failing := FailingCall())
    windows = random_windows(scorer.card, 4)
    for _ in range(5):
        np.testing.assert_allclose(scorer.score(windows)["genre"], OnnxScorer(model).score(windows)["genre"], atol=1e-6)
    assert failing.asked == 1  # of the place that live audio uses; once
    assert "goes on without further CUDA graphs" in caplog.text


class FailingCall:
    __name__ = "cudaGraphInstantiate"

    def __init__(self):
        self.asked = 0

    def __call__(self, *_):
        self.asked += 1
        return Status.cudaErrorMemoryAllocation, None


def test_a_closed_scorer_says_so(scorer):
    scorer.close()
    with pytest.raises(EngineError, match="has been closed"):
        scorer.score(random_windows(scorer.card, 1))


def test_without_a_card_the_reason_is_said(trt, model, monkeypatch):
    monkeypatch.setattr(models.cuda, "runtime", lambda: FakeCuda(devices=0))
    with pytest.raises(EngineError, match="expected an NVIDIA card and a driver"):
        TensorRtScorer(model, "tensorrt")
    assert "expected an NVIDIA card" in (available("tensorrt") or "")


def test_a_card_that_is_not_there(trt, model):
    with pytest.raises(EngineError, match="a number below 1, got 3"):
        TensorRtScorer(model, "tensorrt", device=3)


def test_a_usable_product(trt, cuda):
    assert available("tensorrt") is None


def test_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(models.tensorrt_build, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=re.escape('pip install -c constraints.txt -e ".[tensorrt-rtx]"')):
        models.tensorrt_build.tensorrt_module("tensorrt-rtx")


def test_bindings_without_their_libraries(monkeypatch):
    broken = ModuleType("broken")
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", None)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(models.tensorrt_build, "find_spec", lambda name: broken)
    with pytest.raises(EngineError, match="installed, but it cannot be loaded"):
        models.tensorrt_build.tensorrt_module("tensorrt")


def test_an_engine_of_the_other_product(trt, model, tmp_path):
    with pytest.raises(EngineError, match="expected one of tensorrt-rtx, this is one of tensorrt"):
        TensorRtScorer(engine_of(model, tmp_path), "tensorrt-rtx")


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "an onnx model"])
def test_a_damaged_engine_file(trt, model, tmp_path, damage):
    path = engine_of(model, tmp_path)
    contents = {"empty": b"", "cut": path.read_bytes()[:-500], "text": b"hello", "an onnx model": model.read_bytes()}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    with pytest.raises(ModelFileError, match=r"it\.engine"):
        TensorRtScorer(path)


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {member.filename: archive.read(member) for member in archive.infolist()}


def npy(values):
    data = io.BytesIO()
    np.save(data, values)
    return data.getvalue()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"about.json": b"{}"}, "validation error"),
        ({"about.json": b"[" * 100_000}, "recursion"),
        ({"input 0.npy": b"hello"}, "magic string"),
        ({"input 0.npy": npy(np.zeros((0, 40, 80), np.float32))}, "expected answers of the shapes"),
        ({"input 0.npy": npy(np.zeros((3, 40, 79), np.float32))}, "expected windows of shape"),
        ({"head genre.npy": npy(np.array(["a", "b"]))}, "expected numbers in float32"),
        ({"head genre.npy": npy(np.zeros((3, 3), np.float32))}, "expected answers of the shapes"),
        ({"head genre.npy": None}, "expected answers of the shapes"),
        ({"engine.plan": None}, "engine.plan"),
        ({"model.onnx": b"no model"}, "not a complete ONNX model"),
    ],
)
def test_odd_engine_files_are_refused_in_a_sentence(trt, model, tmp_path, changed, says):
    path = engine_of(model, tmp_path)
    parts = members(path) | changed
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            if data is not None:
                archive.writestr(name, data)
    with pytest.raises(ModelFileError, match=rf"it\.engine: expected a file that .*{says}"):
        EngineFile.read(path)


def test_a_packed_engine_file_is_refused_before_it_fills_the_memory(trt, model, tmp_path):
    path = engine_of(model, tmp_path)
    parts = members(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(ModelFileError, match="its parts are packed"):
        EngineFile.read(path)


def test_the_folder_of_engines_does_not_grow_for_ever(trt, model, tmp_path, monkeypatch):
    monkeypatch.setattr(models.tensorrt_engines, "_MOST_KEPT", 2)
    for version in ("1", "2", "3", "4"):
        trt.__version__ = version
        TensorRtScorer(model, "tensorrt", cache=tmp_path).close()
    assert len(list(tmp_path.glob("*.engine"))) == 2


def test_every_flipped_byte_of_an_engine_file_is_seen(trt, model, tmp_path):
    path = engine_of(model, tmp_path)
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    for at in random.integers(100, len(data) - 400, 20):
        damaged = bytes([*data[:at], data[at] ^ 0x10, *data[at + 1 :]])
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            EngineFile.read(path)


def test_halves(trt, model, tmp_path):
    scorer = TensorRtScorer(engine_of(model, tmp_path, precision=Precision.FP16), cache=tmp_path / "cache")
    windows = random_windows(scorer.card, 6)
    np.testing.assert_allclose(scorer.score(windows)["genre"], OnnxScorer(model).score(windows)["genre"], atol=1e-2)


def test_a_full_disk_costs_the_cache_and_not_the_scorer(trt, model, tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    scorer = TensorRtScorer(model, "tensorrt", cache=tmp_path / "file" / "cache")
    assert scorer.score(noise_windows(scorer.card))
    assert "not kept" in caplog.text
