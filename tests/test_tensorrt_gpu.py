"""What only a machine with an NVIDIA card can say: real engines, in a real card's memory, by real graphs."""

import threading

import numpy as np
import pytest
from networks import export_random, random_windows

from models.cuda import Cuda
from models.engine_file import Target
from models.example_windows import noise_windows
from models.model_file import open_model
from models.onnx_scorer import OnnxScorer
from models.precision import in_precision
from models.precision_kind import Precision
from models.scorer import Scorer
from models.tensorrt_build import MODULES
from models.tensorrt_engines import make_engine
from models.tensorrt_scorer import TOLERANCE, TensorRtScorer, available
from train.recipes import RECIPES

pytestmark = pytest.mark.gpu


@pytest.fixture(params=MODULES)
def product(request):
    if (reason := available(request.param)) is not None:
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_answers_as_onnx_runtime_does(product, recipe, tmp_path):
    path = export_random(tmp_path / "model.onnx", recipe)
    scorer = TensorRtScorer(path, product, cache=tmp_path / "cache")
    assert isinstance(scorer, Scorer)
    windows = random_windows(scorer.card, 19)
    for _ in range(5):  # by hand, then by graph
        np.testing.assert_allclose(scorer.score(windows)["genre"], OnnxScorer(path).score(windows)["genre"], atol=1e-3)
    scorer.close()


@pytest.mark.parametrize("precision", Precision)
def test_every_precision_and_both_places(product, precision, tmp_path):
    path = export_random(tmp_path / "model.onnx", "base")
    _, card = open_model(path)
    target = Target(product=product, precision=precision, batch=(8, 16))
    typed = in_precision(path.read_bytes(), card, precision, windows=noise_windows(card)).SerializeToString()
    engine, _ = make_engine(typed, card, target, gpu=Cuda().gpu)
    engine.write(tmp_path / "it.engine")
    scorer = TensorRtScorer(tmp_path / "it.engine", cache=tmp_path / "cache")
    (tmp_path / "typed.onnx").write_bytes(engine.model)
    windows = random_windows(card, 70)
    expected = OnnxScorer(tmp_path / "typed.onnx").score(windows)["genre"]
    for _ in range(5):
        np.testing.assert_allclose(scorer.score(windows)["genre"], expected, atol=TOLERANCE[precision])


def test_any_thread_may_score(product, tmp_path):
    path = export_random(tmp_path / "model.onnx")
    scorer = TensorRtScorer(path, product, cache=tmp_path / "cache")
    windows, found = random_windows(scorer.card, 5), {}
    thread = threading.Thread(target=lambda: found.update(scorer.score(windows)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found["genre"], scorer.score(windows)["genre"])
