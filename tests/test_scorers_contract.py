"""What every scorer must do, whatever runs the network. TensorRT's has tests of its own, for it needs a card to run."""

import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import onnxruntime
import pytest
import torch
from networks import LABELS, export_random, random_windows
from onnx import helper
from toy import RATE_HZ, SPEC, save_toy, toy_card, toy_graph

from models.errors import ModelFileError
from models.model_file import CARD_KEY
from models.onnx_cuda_scorer import PROVIDER
from models.scorer import DEFAULT_MODEL, FeatureShapeError, Memoised, Scorer, load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Raw

NO_CUDA = PROVIDER not in onnxruntime.get_available_providers() or shutil.which("nvidia-smi") is None
KINDS = [
    ScorerKind.ONNX,
    ScorerKind.TORCH,
    ScorerKind.OPENVINO,
    pytest.param(
        ScorerKind.ONNX_CUDA,
        marks=[pytest.mark.gpu, pytest.mark.skipif(NO_CUDA, reason="needs onnxruntime-gpu and an NVIDIA GPU")],
    ),
]
WITHOUT_TORCH = [kind for kind in KINDS if kind is not ScorerKind.TORCH]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export_random(tmp_path_factory.mktemp("model") / "random.onnx")


@pytest.fixture(params=KINDS)
def scorer(model, request):
    return load_scorer(model, request.param)


def test_is_a_scorer(scorer):
    assert isinstance(scorer, Scorer)
    assert scorer.name
    assert scorer.card.head.labels == LABELS


@pytest.mark.parametrize("n", [0, 1, 2, 37])
def test_probabilities_of_any_batch(scorer, n):
    scorer.score(random_windows(scorer.card, 2))  # nothing of this may be left
    scores = scorer.score(random_windows(scorer.card, n))
    assert set(scores) == {"genre"}
    assert scores["genre"].shape == (n, len(LABELS))
    assert scores["genre"].dtype == np.float32
    assert (scores["genre"] >= 0).all()
    np.testing.assert_allclose(scores["genre"].sum(axis=1), 1.0, atol=1e-6)


def test_a_window_scores_the_same_in_any_company(scorer):
    windows = random_windows(scorer.card, 9)
    together = scorer.score(windows)["genre"]
    alone = np.concatenate([scorer.score(tuple(each[i : i + 1] for each in windows))["genre"] for i in range(9)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together, axis=0).max() > 1e-3  # the windows do differ


def test_the_same_windows_score_the_same_and_are_left_alone(scorer):
    windows = random_windows(scorer.card, 5)
    before = [each.copy() for each in windows]
    first = scorer.score(windows)["genre"].copy()
    np.testing.assert_array_equal(scorer.score(windows)["genre"], first)
    for each, kept in zip(windows, before, strict=True):
        np.testing.assert_array_equal(each, kept)


def test_windows_may_be_views_and_read_only(scorer):
    (windows,) = random_windows(scorer.card, 6)
    views = np.moveaxis(np.ascontiguousarray(np.moveaxis(windows, 1, 2)), 1, 2)[::2]
    views.setflags(write=False)
    np.testing.assert_allclose(scorer.score((views,))["genre"], scorer.score((windows[::2],))["genre"], atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 80), (2, 39, 80), (2, 40, 81), (2, 80, 40), (1, 2, 40, 80)])
def test_other_shapes_are_refused_by_name(scorer, shape):
    with pytest.raises(FeatureShapeError, match=r"expected windows of shape \[\('n', 40, 80\)\], got \[\("):
        scorer.score((np.zeros(shape, dtype=np.float32),))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused(model, tmp_path, kind):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match=r"damaged\.onnx"):
        load_scorer(damaged, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 20])
def test_all_scorers_agree(model, kind, n):
    reference, scorer = load_scorer(model), load_scorer(model, kind)
    windows = random_windows(reference.card, n)
    # Tight enough to tell half precision, in which a runtime may calculate without a word.
    np.testing.assert_allclose(scorer.score(windows)["genre"], reference.score(windows)["genre"], atol=1e-5)


@pytest.mark.parametrize("kind", WITHOUT_TORCH)
def test_several_inputs_and_heads(tmp_path, kind):
    raw = Raw(sample_rate_hz=RATE_HZ, n_fft=SPEC.hop_samples, hop_samples=SPEC.hop_samples)
    spec = SPEC.model_copy(update={"n_fft": SPEC.hop_samples})
    path = save_toy(tmp_path / "two.onnx", toy_card(spec, raw, others=("quiet",)))
    reference, scorer = load_scorer(path), load_scorer(path, kind)
    windows = random_windows(scorer.card, 7)
    scores, expected = scorer.score(windows), reference.score(windows)
    assert list(scores) == ["pitch", "quiet"]
    for name in scores:
        np.testing.assert_allclose(scores[name], expected[name], atol=1e-5)
    swapped = tuple(reversed(windows))
    with pytest.raises(FeatureShapeError):
        scorer.score(swapped)


@pytest.mark.parametrize("kind", WITHOUT_TORCH)
def test_the_model_that_ships_is_scored_alike(kind):
    reference, scorer = load_scorer(), load_scorer(DEFAULT_MODEL, kind)
    windows = random_windows(reference.card, 3)
    expected = reference.score(windows)
    for name, scores in scorer.score(windows).items():
        np.testing.assert_allclose(scores, expected[name], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_any_thread_may_score(model, kind):
    scorer = load_scorer(model, kind)
    windows, found = random_windows(scorer.card, 2), {}
    thread = threading.Thread(target=lambda: found.update(scorer.score(windows)))
    thread.start()
    thread.join()
    np.testing.assert_allclose(found["genre"], scorer.score(windows)["genre"], atol=1e-6)


def test_the_process_keeps_its_number_of_threads(model):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        scorer = load_scorer(model, ScorerKind.TORCH)
        scorer.score(random_windows(scorer.card, 1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_torch_refuses_a_network_it_does_not_know(tmp_path):
    with pytest.raises(ModelFileError, match="'toy'"):
        load_scorer(save_toy(tmp_path / "toy.onnx"), ScorerKind.TORCH)


def test_without_torch_the_message_says_what_to_install(model):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from models.errors import ModelFileError\n"
        "from models.scorer import load_scorer\n"
        "from models.scorer_kind import ScorerKind\n"
        f"path = Path({str(model)!r})\n"
        "assert load_scorer(path).card.name == 'random'\n"
        "try:\n    load_scorer(path, ScorerKind.TORCH)\n"
        "except ModelFileError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 'pip install -c constraints.txt -e ".[train]"' in done.stdout


def test_kept_answers_are_those_of_the_very_windows(model):
    asked = []

    class Counting:
        def __init__(self):
            self.inner = load_scorer(model, ScorerKind.ONNX)
            self.card, self.name = self.inner.card, self.inner.name

        def score(self, windows):
            asked.append(len(windows[0]))
            return self.inner.score(windows)

    memoised, (windows,) = Memoised(Counting()), random_windows(load_scorer(model).card, 5)
    first = memoised.score((windows,))["genre"]
    np.testing.assert_array_equal(memoised.score((windows.copy(),))["genre"], first)
    np.testing.assert_allclose(memoised.score((windows[1:],))["genre"], first[1:], atol=1e-5)
    assert asked == [5, 4]


def test_openvino_says_which_operator_it_does_not_know(tmp_path):
    card = toy_card()
    model = toy_graph(card)
    model.graph.node[-1].output[0] = "unscaled"
    scaler = helper.make_node("Scaler", ["unscaled"], [card.head.name], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    model.graph.node.append(scaler)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    helper.set_model_props(model, {CARD_KEY: card.to_json()})
    path = tmp_path / "scaled.onnx"
    path.write_bytes(model.SerializeToString())
    assert load_scorer(path).card == card
    with pytest.raises(ModelFileError, match=r"'toy': OpenVINO .* cannot run it \(.*ai\.onnx\.ml\.Scaler\)"):
        load_scorer(path, ScorerKind.OPENVINO)


def test_without_openvino_the_message_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelFileError, match=r'OpenVINO, which cannot be imported.*-e "\.\[openvino\]"'):
        load_scorer(model, ScorerKind.OPENVINO)


def test_openvino_reports_to_nobody(model, tmp_path):
    (tmp_path / "openvino_telemetry.py").write_text("print('reporting')\n")
    code = (
        "from pathlib import Path\n"
        "from models.scorer import load_scorer\n"
        "from models.scorer_kind import ScorerKind\n"
        f"print(load_scorer(Path({str(model)!r}), ScorerKind.OPENVINO).card.name)\n"
        "import openvino_telemetry\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    # The second line shows that there was one to be silenced.
    assert done.stdout.split() == ["random", "reporting"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no way to ask which cores a thread may use")
def test_openvino_ties_no_thread_to_a_core(model):
    scorer = load_scorer(model, ScorerKind.OPENVINO)
    windows, cores = random_windows(scorer.card, 1000), os.sched_getaffinity(0)
    seen = []
    thread = threading.Thread(target=lambda: scorer.score(windows))
    thread.start()
    while thread.is_alive():
        try:
            seen.append(os.sched_getaffinity(thread.native_id))
        except ProcessLookupError:
            break
    thread.join()
    assert seen
    assert all(each == cores for each in seen)


def test_an_onnx_runtime_without_cuda_says_what_to_install(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(
        ModelFileError, match=r"CUDAExecutionProvider, this one has CPUExecutionProvider: .*onnxruntime-gpu"
    ):
        load_scorer(model, ScorerKind.ONNX_CUDA)


@pytest.fixture
def cuda_without_libraries(monkeypatch):
    """ONNX Runtime as onnxruntime-gpu is where CUDA's libraries or its driver are missing: it says so, and goes on."""
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDER, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda **_: print("Failed to load libcublas.so.13: not there"))
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda data, options, providers, **_: session(data, options, providers=["CPUExecutionProvider"]),
    )


def test_falling_back_to_the_processor_is_refused(model, cuda_without_libraries, capsys):
    with pytest.raises(ModelFileError, match=r"it took CPUExecutionProvider \(Failed to load libcublas.*nvidia-smi"):
        load_scorer(model, ScorerKind.ONNX_CUDA)
    assert not capsys.readouterr().out


def test_a_card_that_fails_is_said(model, cuda_without_libraries, monkeypatch):
    session = onnxruntime.InferenceSession

    def fails(data, options, providers, **settings):
        if providers != ["CPUExecutionProvider"]:
            assert settings == {"enable_fallback": 0}
            assert providers == [(PROVIDER, {"device_id": 0, "use_tf32": 0})]
            raise RuntimeError("CUDA failure 101: invalid device ordinal\nat a place in its sources")
        return session(data, options, providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", fails)
    with pytest.raises(ModelFileError, match=r"card 0 \(CUDA failure 101: invalid device ordinal\)"):
        load_scorer(model, ScorerKind.ONNX_CUDA)


def test_code_that_does_not_say_what_runs_a_model_gets_onnx_runtime(model):
    assert load_scorer(model).name.startswith("ONNX Runtime")
