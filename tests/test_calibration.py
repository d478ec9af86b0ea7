import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DatasetError
from models.scorer import calibrated
from models.spec import Head
from models.vote import RunningVote, VoteClock
from train.calibration import (
    TARGET_ACCURACY,
    ScoredTracks,
    calibrate,
    choose_enter,
    end_of_range,
    fit_temperature,
    temper,
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


def scored(logits, targets):
    return ScoredTracks([calibrated(track.astype(np.float32), HEAD) for track in logits], targets, HOP_S)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(sharpness):
    logits, targets = honest_logits(np.random.default_rng(0))
    fitted = fit_temperature(scored([sharpness * track for track in logits], targets))
    assert fitted == pytest.approx(sharpness, rel=0.15)


def test_calibration_shrinks_the_error():
    logits, targets = honest_logits(np.random.default_rng(1))
    overconfident = scored([4.0 * track for track in logits], targets)
    head = calibrate(HEAD, overconfident)
    before = Reliability.of(*overconfident.flat()).error
    after = Reliability.of(*overconfident.tempered(head.temperature).flat()).error
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
        assert why in end_of_range(calibrate(HEAD, scored(logits, labels)).temperature)
    assert end_of_range(1.0) == ""


def test_nothing_to_calibrate_on_is_an_error():
    with pytest.raises(DatasetError, match="got none"):
        calibrate(HEAD, ScoredTracks([], np.empty(0, dtype=np.int64), HOP_S))


@given(st.integers(1, 30), st.floats(0.05, 20.0), st.integers(0, 2**32 - 1))
def test_what_is_calibrated_is_what_live_audio_shows(windows, half_life_s, seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), windows).astype(np.float32)
    running, clock = RunningVote(HEAD, hop_s=HOP_S, half_life_s=half_life_s), VoteClock(HOP_S)
    smoothed, labels = vote(probabilities, HEAD, half_life_s=half_life_s, hop_s=HOP_S)
    for at, row in enumerate(probabilities):
        clock.look(2.8 + at * HOP_S, silent=False)
        standing = running.update(row, elapsed_s=clock.take())
        np.testing.assert_allclose(smoothed[at], standing.smoothed, atol=1e-6)
        assert labels[at] == (-1 if standing.label is None else standing.label)


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
