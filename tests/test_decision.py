from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_card

from models.errors import ConfigError
from models.spec import FileDecision, WindowSpec
from models.windowing import filled
from train.decision import LIVE, cut, decide, describe, judge, places, score, seed_of
from train.question import Question
from train.segments import LabelledFrames, RandomSegments
from train.track import Track

CARD = toy_card(frames=40, hop_frames=5)
FRAMES = np.arange(107 * 12, dtype=np.float32).reshape(107, 12)


def tiled(short="tile"):
    return CARD.model_copy(update={"window": WindowSpec(frames=40, hop_frames=5, short=short)})


@pytest.mark.parametrize(
    ("decision", "starts"),
    [
        (LIVE, range(0, 68, 5)),
        (FileDecision(windows="first"), [0]),
        (FileDecision(windows="consecutive"), [0, 40]),
        (FileDecision(windows="consecutive", overlap=0.5), [0, 20, 40, 60]),
        (FileDecision(windows="consecutive", count=1), [0]),
        (FileDecision(windows="hop", count=3), [0, 5, 10]),
    ],
)
def test_windows_of_a_file(decision, starts):
    assert places(107, CARD, decision).tolist() == [[start] for start in starts]


def test_windows_are_cut_frequency_by_time():
    (windows,) = cut([FRAMES], places(107, CARD, LIVE), CARD)
    assert windows.shape == (14, 12, 40)
    for index, window in enumerate(windows):
        np.testing.assert_array_equal(window, FRAMES[5 * index : 5 * index + 40].T)


@given(st.integers(20, 300), st.integers(0, 2**32 - 1))
def test_random_slices_lie_within_the_file_and_are_joined(frames, seed):
    decision = FileDecision(windows="random", count=15, slices=2, rule="majority")
    starts = places(frames, CARD, decision, seed=seed)
    assert starts.shape == (15, 2)
    assert starts.min() >= 0
    assert starts.max() <= frames - 20
    sound = np.arange(frames * 12, dtype=np.float32).reshape(frames, 12)
    (windows,) = cut([sound], starts, CARD)
    first, second = starts[3]
    np.testing.assert_array_equal(
        windows[3], np.concatenate([sound[first : first + 20], sound[second : second + 20]]).T
    )


def test_random_windows_of_a_file_are_the_same_every_time_and_others_for_another_file():
    decision = FileDecision(windows="random", count=15)
    first, again, other = (places(900, CARD, decision, seed=seed_of(name, 0)) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_both_inputs_are_cut_at_the_same_frames():
    wave = np.arange(107 * 3, dtype=np.float32).reshape(107, 3)
    windows = cut([FRAMES, wave], places(107, CARD, LIVE), CARD)
    assert [each.shape for each in windows] == [(14, 12, 40), (14, 3, 40)]
    np.testing.assert_array_equal(windows[1][2], wave[10:50].T)


def test_a_short_file_is_repeated_only_where_the_card_says_so():
    short = FRAMES[:15]
    (whole,) = filled([short], tiled())
    np.testing.assert_array_equal(whole, np.concatenate([short, short, short[:10]]))
    assert len(places(len(filled([short], tiled("wait"))[0]), CARD, LIVE)) == 0
    assert len(filled([FRAMES[:0]], tiled())[0]) == 0


@pytest.mark.parametrize("frames", [30, 15])
def test_a_file_shorter_than_a_window_is_cut_as_in_training(frames):
    # Two slices of 20: of 30 frames, unrepeated ones; 15 frames are repeated to fill one.
    sound, seen = FRAMES[:frames], []

    class Recording:
        card = tiled().model_copy(update={"decision": FileDecision(windows="random", count=400, slices=2)})

        def score(self, windows):
            seen.append(windows[0])
            return {"pitch": np.full((len(windows[0]), 3), 1 / 3, dtype=np.float32)}

    judge(Recording(), [sound])
    path = Path("short.wav")
    data = LabelledFrames.join([Question.about("x", [Track(path, "a", 0)])], {path: (sound,)})
    (batch,) = RandomSegments(data, 40, 400, seed=1, per_file=400, slices=2)

    def slices(windows):
        return {half.tobytes() for each in windows for half in np.ascontiguousarray(each.T).reshape(2, 20, 12)}

    judged, trained = slices(np.concatenate(seen)), slices(batch.windows[0].numpy())
    assert judged == trained
    assert len(judged) == (11 if frames == 30 else 1)
    assert all(np.frombuffer(each, np.float32)[0] <= sound[frames - 20, 0] for each in judged if frames == 30)


def test_a_file_too_short_to_decide_on_is_refused():
    class Scoring:
        card = tiled("wait")

    with pytest.raises(ConfigError, match="at least 40 frames to decide on, the file has 15"):
        judge(Scoring(), [FRAMES[:15]])


def test_inputs_of_unequal_length_are_cut_to_the_shorter():
    assert [len(each) for each in filled([FRAMES, FRAMES[:100]], CARD)] == [100, 100]


def test_a_window_that_is_no_whole_number_of_slices_is_refused():
    with pytest.raises(ConfigError, match="3 equal slices"):
        places(107, CARD, FileDecision(windows="random", count=2, slices=3))


PROBABILITIES = np.array([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.0, 1.0, 0.0]], dtype=np.float32)


def test_rules():
    for rule in ("mean", "sum"):
        given_label, probabilities = decide(PROBABILITIES, FileDecision(rule=rule))
        assert given_label == 1
        np.testing.assert_allclose(probabilities, [1 / 3, 0.6, 0.2 / 3], atol=1e-6)
    given_label, shares = decide(PROBABILITIES, FileDecision(rule="majority"))
    assert given_label == 0
    np.testing.assert_allclose(shares, [2 / 3, 1 / 3, 0])


def test_a_tied_majority_goes_to_the_greater_mean():
    tied = np.array([[0.6, 0.4, 0.0], [0.1, 0.9, 0.0]], dtype=np.float32)
    assert decide(tied, FileDecision(rule="majority")).given == 1
    # The greatest mean of all does not win if it is not among the tied.
    tied = np.array([[0.5, 0.0, 0.49], [0.0, 0.51, 0.49]] * 2, dtype=np.float32)
    assert decide(tied, FileDecision(rule="majority")).given == 1


def test_scoring_takes_a_bounded_batch_at_a_time(monkeypatch):
    sizes = []

    class Counting:
        card = CARD
        name = "counting"

        def score(self, windows):
            sizes.append(len(windows[0]))
            return {"pitch": np.tile(windows[0][:, :1, 0], (1, 3))}

    monkeypatch.setattr("models.scorer._BATCH_BYTES", 4 * 12 * 40 * 5)
    scores = score(Counting(), [FRAMES], places(107, CARD, LIVE))["pitch"]
    assert sizes == [5, 5, 4]
    np.testing.assert_array_equal(scores[:, 0], FRAMES[0:68:5, 0])


def test_decisions_in_words():
    assert describe(LIVE) == "mean of all windows, one every hop"
    xu = FileDecision(windows="random", count=15, slices=2, rule="majority")
    assert describe(xu) == "majority of 15 random windows of 2 joined slices"
    overlapped = FileDecision(windows="consecutive", overlap=0.5, rule="sum")
    assert describe(overlapped) == "sum of all consecutive windows, 50% overlapped"
    assert describe(FileDecision(windows="first")) == "first window alone"
