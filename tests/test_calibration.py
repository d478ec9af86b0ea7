import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_card

from models.confidence import calibrated, of_whole_file, temper
from models.errors import DatasetError
from models.spec import Head, NoveltySpec
from models.vote import VoteClock
from models.votes import RunningVotes
from train.calibration import (
    TARGET_ACCURACY,
    ScoredTracks,
    ages,
    calibrate,
    choose_enter,
    end_of_range,
    fit_file_temperature,
    fit_temperature,
    vote,
)
from train.reliability import Reliability

LABELS = ("a", "b", "c", "d")
HEAD = Head(name="genre", labels=LABELS)
HOP_S = 0.35


def honest_logits(random, *, tracks=400, windows=12):
    """Logits whose softmax is the true probability of each label; the same over a track: smoothing changes nothing."""
    logits = random.normal(0.0, 1.5, (tracks, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([random.choice(4, p=p) for p in probabilities])
    return [np.repeat(row[None], windows, axis=0) for row in logits], targets


def scored(logits, targets, *, window_s=2.8):
    windows = [calibrated(track.astype(np.float32), HEAD) for track in logits]
    return ScoredTracks(windows, [np.full(len(each), HOP_S) for each in windows], targets, HOP_S, window_s)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(sharpness):
    logits, targets = honest_logits(np.random.default_rng(0))
    fitted = fit_temperature(scored([sharpness * track for track in logits], targets))
    assert fitted == pytest.approx(sharpness, rel=0.15)


def test_calibration_shrinks_the_error():
    logits, targets = honest_logits(np.random.default_rng(1))
    overconfident = scored([4.0 * track for track in logits], targets)
    before = Reliability.of(*overconfident.flat()).error
    after = Reliability.of(*overconfident.tempered(fit_temperature(overconfident)).flat()).error
    assert before > 0.15
    assert after < 0.05


def test_the_enter_threshold_is_the_lowest_that_is_right_often_enough():
    logits, targets = honest_logits(np.random.default_rng(2))
    tracks = scored(logits, targets)
    enter = choose_enter(HEAD, tracks).enter
    probabilities, truths = tracks.smoothed().flat()
    confidences, hits = probabilities.max(axis=1), probabilities.argmax(axis=1) == truths
    assert hits[confidences >= enter].mean() >= TARGET_ACCURACY
    assert hits[confidences >= enter - 0.01].mean() < TARGET_ACCURACY


def test_a_hopeless_network_still_gets_valid_thresholds():
    random = np.random.default_rng(3)
    logits, _ = honest_logits(random, tracks=50)
    head = calibrate(HEAD, scored(logits, random.integers(0, 4, 50)))
    assert 0.0 < head.leave < head.enter <= 0.9
    assert head.labels == LABELS


def test_a_temperature_at_the_end_of_its_range_is_told():
    logits, _ = honest_logits(np.random.default_rng(4), tracks=50)
    for targets, why in (("argmax", "too few mistakes"), ("argmin", "too few right answers")):
        labels = np.array([getattr(track[0], targets)() for track in logits])
        assert why in end_of_range(fit_temperature(scored(logits, labels)))
    assert end_of_range(1.0) == ""


def test_nothing_to_calibrate_on_is_an_error():
    with pytest.raises(DatasetError, match="got none"):
        calibrate(HEAD, ScoredTracks([], [], np.empty(0, dtype=np.int64), HOP_S, 2.8))


def test_whole_files_are_as_sure_as_they_are_right():
    """Windows of a track err in different directions: their mean is right more often than it is sure."""
    random = np.random.default_rng(5)
    logits, targets = honest_logits(random)
    noisy = [track + random.normal(0.0, 3.0, track.shape) for track in logits]
    for window_s, side_by_side in ((HOP_S, 12.0), (4 * HOP_S, 3.75)):
        windows = scored(noisy, targets, window_s=window_s)
        temperature = fit_file_temperature(windows)
        means = np.array([each.mean(axis=0) for each in windows.windows])
        after = np.array([of_whole_file(mean, temperature, windows=side_by_side) for mean in means])
        assert temperature < 0.8
        assert Reliability.of(after, targets).error < Reliability.of(means, targets).error / 2
        np.testing.assert_array_equal(after.argmax(axis=1), means.argmax(axis=1))
    # Of a single window nothing was averaged.
    np.testing.assert_allclose(of_whole_file(means[0], temperature, windows=1.0), means[0], atol=1e-6)


@given(st.integers(1, 30), st.floats(0.05, 20.0), st.integers(0, 2**32 - 1))
def test_what_is_calibrated_is_what_live_audio_shows(windows, half_life_s, seed):
    genre, kind = HEAD, Head(name="kind", labels=("x", "y"))
    random = np.random.default_rng(seed)
    weights = random.uniform(-1.0, 2.0, (6, 6))
    novelty = NoveltySpec(heads=("kind", "genre"), weights=tuple(map(tuple, weights)), bias=random.normal())
    card = toy_card(hop_frames=10).model_copy(update={"heads": (genre, kind), "novelty": novelty})
    hop_s = card.hop_seconds
    answers = {
        head.name: random.dirichlet(np.ones(len(head.labels)), windows).astype(np.float32) for head in card.heads
    }
    running, clock = RunningVotes(card, hop_s=hop_s, half_life_s=half_life_s), VoteClock(hop_s)
    aged_s = ages(answers, novelty, hop_s=hop_s, window_s=card.window_seconds)
    smoothed, labels = vote(answers["genre"], aged_s, genre, half_life_s=half_life_s, hop_s=hop_s)
    for at in range(windows):
        clock.look(2.8 + at * hop_s, silent=False)
        shown = running.update({name: each[at] for name, each in answers.items()}, elapsed_s=clock.take())
        np.testing.assert_allclose(smoothed[at], running.smoothed("genre"), atol=1e-5)
        assert shown["genre"].label == (None if labels[at] < 0 else LABELS[labels[at]])


@given(st.floats(0.2, 5.0), st.integers(0, 2**32 - 1))
def test_tempering_probabilities_is_tempering_logits(temperature, seed):
    logits = np.random.default_rng(seed).normal(0, 3, (5, 4)).astype(np.float32)
    hot = HEAD.model_copy(update={"temperature": temperature})
    once = temper(calibrated(logits, HEAD), temperature)
    np.testing.assert_allclose(once, calibrated(logits, hot), atol=1e-5)
    np.testing.assert_allclose(temper(once, 1 / temperature), calibrated(logits, HEAD), atol=1e-5)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    # 0.9: half right, gap 0.4, weight 2/4. 0.6: both right, gap 0.4, weight 2/4.
    assert Reliability.of(probabilities, np.array([0, 1, 0, 1])).error == pytest.approx(0.4)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_reliabilities_add_up_over_any_cut(cut, seed):
    random = np.random.default_rng(seed)
    probabilities, targets = random.dirichlet(np.ones(4), 41), random.integers(0, 4, 41)
    parts = Reliability.of(probabilities[:cut], targets[:cut]) + Reliability.of(probabilities[cut:], targets[cut:])
    whole = Reliability.of(probabilities, targets)
    assert parts.answers == whole.answers
    assert parts.right == whole.right
    assert parts.error == pytest.approx(whole.error)
    assert whole.accuracy == pytest.approx((probabilities.argmax(axis=1) == targets).mean())
