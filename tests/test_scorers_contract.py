"""What every scorer must do, whatever runs the network."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from networks import LABELS, export_random, random_windows
from toy import save_toy

from models.errors import ModelFileError
from models.scorer import FeatureShapeError, Memoised, Scorer, load_scorer
from models.scorer_kind import ScorerKind

KINDS = [ScorerKind.ONNX, ScorerKind.TORCH]


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
    np.testing.assert_allclose(together, alone, atol=1e-6)
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


def test_all_scorers_agree(model):
    by_onnx, by_torch = (load_scorer(model, kind) for kind in KINDS)
    windows = random_windows(by_onnx.card, 20)
    np.testing.assert_allclose(by_torch.score(windows)["genre"], by_onnx.score(windows)["genre"], atol=1e-5)


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
