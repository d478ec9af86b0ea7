import numpy as np
import pytest
from networks import random_network

from models.errors import DatasetError
from models.frontend import features
from models.spec import ModelCard
from train.calibration import ScoredTracks
from train.dataset import Track
from train.evaluate import Evaluation, at_level, evaluate, windows_of
from train.report import draw_confusion, markdown

_, CARD = random_network()


class Oracle:
    """Gives the probabilities it was told, file by file."""

    name = "oracle"

    def __init__(self, card: ModelCard, answers):
        self.card = card
        self._answers = iter(answers)

    def score(self, windows):
        return {"genre": np.tile(np.array(next(self._answers), dtype=np.float32), (len(windows), 1))}


A, B, C = [0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]


@pytest.fixture
def evaluation(tmp_path) -> Evaluation:
    """Two of a (one taken for b), one of b, two of c (one taken for a)."""
    truths = ["a", "a", "b", "c", "c"]
    tracks = [Track(tmp_path / str(i), label, 0, source="one" if i % 2 else "two") for i, label in enumerate(truths)]
    sound = {track.path: np.zeros((100, 40), dtype=np.float32) for track in tracks}
    return evaluate(Oracle(CARD, [A, B, B, C, A]), tracks, sound)


def test_figures_by_hand(evaluation):
    np.testing.assert_array_equal(evaluation.confusion, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])
    np.testing.assert_allclose(evaluation.recall, [1 / 2, 1, 1 / 2])
    np.testing.assert_allclose(evaluation.precision, [1 / 2, 1 / 2, 1])
    metrics = evaluation.metrics()
    assert metrics["files"] == 5
    assert metrics["file_accuracy"] == 0.6
    assert metrics["file_balanced_accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert metrics["window_accuracy"] == 0.6
    # Confidences .8 (2 files, 1 right), .7 (2 files, 1 right), .6 (1 file, right), each in a bin of its own.
    assert metrics["ece_windows_after"] == pytest.approx((2 * 0.3 + 2 * 0.2 + 0.4) / 5, abs=1e-4)
    assert metrics["decided_share"] == 1.0


def test_a_file_is_judged_by_the_mean_of_its_windows():
    scored = ScoredTracks([np.array([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.0, 1.0, 0.0]])], np.array([1]), 0.35)
    assert Evaluation(CARD, (Track(None, "b", 0),), scored).decisions.tolist() == [1]


def test_figures_without_decided_time_fit_a_card(evaluation):
    head = CARD.head.model_copy(update={"enter": 1.0})
    card = CARD.model_copy(update={"heads": (head,)})
    metrics = Evaluation(card, evaluation.tracks, evaluation.scored).metrics()
    assert metrics["decided_share"] == 0.0
    assert "decided_accuracy" not in metrics
    ModelCard.from_json(card.model_copy(update={"metrics": metrics}).to_json())


def test_sources_of_a_class_are_told_apart(evaluation):
    assert evaluation.recall_by_source() == {"a": {"two": (1, 1), "one": (0, 1)}, "c": {"one": (1, 1), "two": (0, 1)}}


def test_the_page_has_every_class_and_figure(evaluation, tmp_path):
    page = markdown(evaluation, picture="x.png")
    assert "| a | 2 | 0.50 | 0.50 | b (1) |" in page
    assert "| b | 1 | 1.00 | 0.50 |  |" in page
    assert "| file_accuracy | 0.6 |" in page
    assert "| c | two | 1 | 0.00 |" in page
    draw_confusion(evaluation, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_windows_are_those_of_live_audio():
    frames = np.random.default_rng(0).standard_normal((107, 40)).astype(np.float32)
    (windows,) = windows_of(frames, CARD)
    assert windows.shape == (3, 40, 80)
    for index, window in enumerate(windows):
        start = index * CARD.window.hop_frames
        np.testing.assert_array_equal(window, frames[start : start + 80].T)


def test_another_level_is_the_features_of_softer_audio():
    sound = np.random.default_rng(0).standard_normal(20_000).astype(np.float32) * 0.1
    shifted = at_level(features(sound, CARD.clock), -20.0, CARD)
    np.testing.assert_allclose(shifted, features(sound * np.float32(0.1), CARD.clock), atol=1e-5)
    assert at_level(np.full((1, 40), -9.5, dtype=np.float32), -20.0, CARD).min() == -10.0
    assert shifted.dtype == np.float32


def test_nothing_to_measure_is_an_error():
    with pytest.raises(DatasetError, match="got none"):
        evaluate(Oracle(CARD, []), [], {})
