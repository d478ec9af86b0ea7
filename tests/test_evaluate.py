from dataclasses import replace

import numpy as np
import pytest
from networks import random_network
from toy import SPEC, toy_card

from models.errors import ConfigError, DatasetError
from models.frontend import features
from models.spec import FileDecision, Head, LogMel, Magnitude, Mfcc, ModelCard, Raw, WindowSpec
from train.decision import LIVE
from train.evaluate import at_level, evaluate, score_windows, trainable_parameters, windows_of
from train.findings import find
from train.record import Record
from train.statistics import confusion, metrics
from train.track import Track

CARD = random_network()[1].model_copy(update={"decision": LIVE})


class Oracle:
    """Gives the probabilities it was told, file by file."""

    name = "oracle"

    def __init__(self, card: ModelCard, answers):
        self.card = card
        self._answers = iter(answers)

    def score(self, windows):
        return {self.card.head.name: np.tile(np.array(next(self._answers), dtype=np.float32), (len(windows[0]), 1))}


A, B, C = [0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]


def silent(tracks, frames=100):
    return {track.path: (np.zeros((frames, 40), dtype=np.float32),) for track in tracks}


@pytest.fixture
def tracks(tmp_path) -> list[Track]:
    truths = ["a", "a", "b", "c", "c"]
    return [
        Track(tmp_path / "music" / f"{i}.mp3", label, 0, group=f"artist {i}", source="one" if i % 2 else "two")
        for i, label in enumerate(truths)
    ]


@pytest.fixture
def evaluation(tracks) -> Record:
    """Two of a (one taken for b), one of b, two of c (one taken for a)."""
    return evaluate(Oracle(CARD, [A, B, B, C, A]), tracks, silent(tracks))


def test_figures_by_hand(evaluation):
    np.testing.assert_array_equal(confusion([evaluation], "live"), [[1, 1, 0], [0, 1, 0], [1, 0, 1]])
    found = metrics(evaluation)
    assert found["files"] == 5
    assert found["file_accuracy"] == 0.6
    assert found["file_balanced_accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["file_macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3, abs=1e-4)
    assert found["window_accuracy"] == 0.6
    # Confidences .8 (2 files, 1 right), .7 (2 files, 1 right), .6 (1 file, right), each in a bin of its own.
    assert found["ece_windows_after"] == pytest.approx((2 * 0.3 + 2 * 0.2 + 0.4) / 5, abs=1e-4)
    assert found["decided_share"] == 1.0


def test_files_are_as_sure_as_classify_says(tracks):
    head = CARD.head.model_copy(update={"temperature": 0.9, "file_temperature": 0.5})
    sharp = CARD.model_copy(update={"heads": (head,)})
    # 11 windows of 2.79 s, 0.35 s apart, are as long as 2.25 side by side: of the way to four, 0.4165.
    found = evaluate(Oracle(sharp, [A, B, B, C, A]), tracks, silent(tracks, frames=180))
    assert len(found.files) == 5
    share = 10 * sharp.hop_seconds / sharp.window_seconds / 3
    expected = np.array(A) ** (2.0**share)
    np.testing.assert_allclose(found.files[0].live.probabilities, expected / expected.sum(), atol=1e-5)
    right = [0, 2, 3]
    confidences = np.array([max(each.live.probabilities) for each in found.files])
    bins = np.floor(confidences * 15)
    error = sum(
        abs(np.isin(np.flatnonzero(bins == each), right).mean() - confidences[bins == each].mean())
        * (bins == each).sum()
        for each in np.unique(bins)
    )
    assert metrics(found)["ece_files"] == pytest.approx(error / 5, abs=1e-4)


def test_several_heads_are_scored_together_and_each_by_its_own_tracks(tracks):
    genre, kind = CARD.head, Head(name="kind", labels=("x", "y"))
    card = CARD.model_copy(update={"heads": (genre, kind, Head(name="other", labels=("x", "y")))})

    class Moving:
        """Answers that differ from window to window."""

        name = "moving"

        def __init__(self):
            self.card = card

        def score(self, windows):
            random = np.random.default_rng(0)
            return {
                head.name: random.dirichlet(np.ones(len(head.labels)), len(windows[0])).astype(np.float32)
                for head in card.heads
            }

    asked = {genre.name: tracks, "kind": [replace(track, label="y") for track in tracks[:2]]}
    scored = score_windows(Moving(), asked, silent(tracks, frames=400), heads=[genre.name, "kind"])
    assert {name: each.targets.tolist() for name, each in scored.items()} == {
        genre.name: [0, 0, 1, 2, 2],
        "kind": [1, 1],
    }
    # What is new in a track does not hang on the question: the same heads are heard for all.
    heard, other = scored[genre.name].answers[0], scored["kind"].answers[0]
    assert heard.keys() == other.keys() == {genre.name, "kind"}
    for name, answers in heard.items():
        np.testing.assert_array_equal(answers, other[name])
        np.testing.assert_allclose(answers, Moving().score((np.empty(len(answers)),))[name])


def test_a_record_tells_the_files_apart_and_where_they_come_from(evaluation):
    assert [each.name for each in evaluation.files] == [f"music/{i}.mp3" for i in range(5)]
    assert evaluation.files[1].source == "one"
    assert evaluation.files[1].group == "artist 1"
    assert evaluation.files[1].windows == (0, 3, 0)
    assert evaluation.fold == 0
    assert evaluation.parameters == 562_433  # 3,630 of the filters, 558,200 of the hidden layer, 603 of the head
    assert find([evaluation]).sources == (
        ("a", "one", 1, 0),
        ("a", "two", 1, 1),
        ("c", "one", 1, 1),
        ("c", "two", 1, 0),
    )


def test_figures_without_decided_time_fit_a_card(tracks):
    head = CARD.head.model_copy(update={"enter": 1.0})
    card = CARD.model_copy(update={"heads": (head,)})
    found = metrics(evaluate(Oracle(card, [A, B, B, C, A]), tracks, silent(tracks)))
    assert found["decided_share"] == 0.0
    assert "decided_accuracy" not in found
    ModelCard.from_json(card.model_copy(update={"metrics": found}).to_json())


def test_files_are_judged_as_live_and_as_published(tmp_path):
    class ByTime:
        """Sure of the first window, of another mind about the others."""

        name = "by time"
        card = CARD.model_copy(update={"decision": FileDecision(windows="first")})

        def score(self, windows):
            return {"genre": np.where(windows[0][:, :1, 0] == 0, [A], [B]).astype(np.float32)}

    sound = np.arange(100, dtype=np.float32)[:, None].repeat(40, axis=1)
    (found,) = evaluate(ByTime(), [Track(tmp_path / "x", "a", 2)], {tmp_path / "x": (sound,)}).files
    assert (found.published.given, found.live.given) == (0, 1)
    assert found.windows == (1, 2, 0)


def test_short_files_are_tiled_or_skipped_as_the_card_says(tmp_path, capsys):
    both = [Track(tmp_path / "short", "a", 0), Track(tmp_path / "long", "a", 0)]
    sounds = {each.path: (np.zeros((n, 40), dtype=np.float32),) for each, n in zip(both, (30, 90), strict=True)}
    record = evaluate(Oracle(CARD, [A, A]), both, sounds)
    assert [each.name.split("/")[-1] for each in record.files] == ["long"]
    assert record.skipped == 1
    assert "short: shorter than one window of 2.82 s" in capsys.readouterr().err
    card = CARD.model_copy(update={"window": WindowSpec(frames=80, hop_frames=10, short="tile")})
    assert len(evaluate(Oracle(card, [A, A]), both, sounds).files) == 2


def test_files_of_one_name_in_two_places_keep_apart(tmp_path):
    both = [Track(tmp_path / side / "music/1.mp3", "a", 0, source="music") for side in ("x", "y")]
    names = [each.name for each in evaluate(Oracle(CARD, [A, A]), both, silent(both)).files]
    assert names == [str(each.path) for each in both]


def test_calibration_is_fitted_to_the_windows_of_live_audio(tracks):
    name = CARD.head.name
    scored = score_windows(Oracle(CARD, [A, B, B, C, A]), {name: tracks}, silent(tracks), heads=[name])[name]
    assert scored.paths == [each.path for each in tracks]
    assert [len(each[CARD.head.name]) for each in scored.answers] == [3] * 5
    assert scored.targets.tolist() == [0, 0, 1, 2, 2]
    assert scored.hop_s == pytest.approx(10 * 768 / 22_050)


def test_windows_are_those_of_live_audio():
    frames = np.random.default_rng(0).standard_normal((107, 40)).astype(np.float32)
    (windows,) = windows_of([frames], CARD)
    assert windows.shape == (3, 40, 80)
    for index, window in enumerate(windows):
        start = index * CARD.window.hop_frames
        np.testing.assert_array_equal(window, frames[start : start + 80].T)
    assert len(windows_of([frames], CARD, at_most=2)[0]) == 2


@pytest.mark.parametrize(
    "spec",
    [
        CARD.clock,
        LogMel(sample_rate_hz=8_000, n_fft=512, hop_samples=256, n_mels=12, fmax_hz=4_000, unit="dB"),
        Magnitude(sample_rate_hz=8_000, n_fft=512, hop_samples=256),
        Raw(sample_rate_hz=8_000, n_fft=256, hop_samples=256),
    ],
)
def test_another_level_is_the_features_of_softer_audio(spec):
    sound = np.random.default_rng(0).standard_normal(20_000).astype(np.float32) * 0.1
    shifted = at_level(features(sound, spec), -20.0, spec)
    np.testing.assert_allclose(shifted, features(sound * np.float32(0.1), spec), atol=1e-5, rtol=1e-5)
    assert shifted.dtype == np.float32


def test_softer_audio_does_not_fall_through_the_floor():
    assert at_level(np.full((1, 12), -9.5, dtype=np.float32), -20.0, SPEC).min() == -10.0


def test_the_level_of_cepstra_cannot_be_changed(tracks):
    mfcc = Mfcc(sample_rate_hz=8_000, n_fft=512, hop_samples=256, n_mels=12, n_mfcc=5, fmax_hz=4_000)
    with pytest.raises(ConfigError, match="level can be changed"):
        at_level(np.zeros((3, 5), dtype=np.float32), 3.0, mfcc)


def test_a_network_that_this_version_cannot_build_has_no_count():
    assert trainable_parameters(toy_card()) is None


def test_nothing_to_measure_is_an_error(tracks):
    with pytest.raises(DatasetError, match="got none"):
        evaluate(Oracle(CARD, []), [], {})
    with pytest.raises(DatasetError, match="at least one window"):
        evaluate(Oracle(CARD, []), tracks, silent(tracks, frames=10))


def test_labels_that_the_model_does_not_know_are_named(tmp_path):
    polka = [Track(tmp_path / "x", "polka", 0)]
    with pytest.raises(DatasetError, match=r"\(a, b, c\), the tracks have \['polka'\]"):
        evaluate(Oracle(CARD, [A]), polka, silent(polka))
