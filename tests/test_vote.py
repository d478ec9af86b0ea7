import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import ConfigError
from models.spec import Head
from stream.vote import RunningVote, step_delay_s

HEAD = Head(name="genre", labels=("a", "b", "c"), enter=0.5, leave=0.35)
HOP_S = 0.35

posteriors = arrays(np.float32, 3, elements=st.floats(0.0, 1.0, width=32)).filter(lambda p: p.sum() > 0.01)
streams = st.lists(posteriors.map(lambda p: p / p.sum()), min_size=1, max_size=60)


def run(stream, *, half_life_s=2.0, min_hold_s=2.0):
    vote = RunningVote(HEAD, half_life_s=half_life_s, min_hold_s=min_hold_s)
    return [vote.update(p, elapsed_s=HOP_S) for p in stream]


@given(streams, st.floats(0.05, 60))
def test_smoothed_is_a_distribution_within_what_was_seen(stream, half_life_s):
    standings = run(stream, half_life_s=half_life_s)
    seen = np.array(stream)
    for standing in standings:
        assert standing.smoothed.sum() == pytest.approx(1.0, abs=1e-5)
        assert np.all(standing.smoothed >= seen.min(axis=0) - 1e-5)
        assert np.all(standing.smoothed <= seen.max(axis=0) + 1e-5)


@given(posteriors.map(lambda p: p / p.sum()), st.integers(1, 20))
def test_a_steady_input_is_a_fixed_point(p, windows):
    np.testing.assert_allclose(run([p] * windows)[-1].smoothed, p, atol=1e-5)


@given(st.floats(0.1, 30))
def test_after_one_half_life_half_of_the_old_is_left(half_life_s):
    vote = RunningVote(HEAD, half_life_s=half_life_s)
    vote.update(np.array([1, 0, 0], np.float32), elapsed_s=0.0)
    standing = vote.update(np.array([0, 1, 0], np.float32), elapsed_s=half_life_s)
    np.testing.assert_allclose(standing.smoothed, [0.5, 0.5, 0.0], atol=1e-6)


@given(streams)
def test_time_cut_into_more_windows_changes_nothing(stream):
    # The memory is in seconds, not in windows: each window given twice at half the distance ends in the same place.
    once = RunningVote(HEAD, half_life_s=2.0)
    twice = RunningVote(HEAD, half_life_s=2.0)
    for p in stream:
        once.update(p, elapsed_s=HOP_S)
        twice.update(p, elapsed_s=HOP_S / 2)
        twice.update(p, elapsed_s=HOP_S / 2)
    np.testing.assert_allclose(once.smoothed, twice.smoothed, atol=1e-5)


@given(streams)
def test_a_label_is_held_for_its_minimum_time(stream):
    held, since = None, 0
    for at, standing in enumerate(run(stream)):
        if standing.label != held:
            assert held is None or (at - since) * HOP_S >= 2.0 - 1e-9
            held, since = standing.label, at


@given(streams)
def test_labels_enter_above_one_threshold_and_stay_above_the_other(stream):
    before = None
    for standing in run(stream, min_hold_s=0.0):
        label = standing.label
        if label is None:
            assert standing.smoothed.max() < HEAD.enter + 1e-6
        elif label != before:
            assert standing.smoothed[label] >= HEAD.enter - 1e-6
        else:
            assert standing.smoothed[label] >= HEAD.leave - 1e-6
        assert standing.confidence == pytest.approx(
            float(standing.smoothed[label] if label is not None else standing.smoothed.max())
        )
        before = label


@given(streams, st.permutations(range(3)))
def test_the_order_of_the_classes_does_not_matter(stream, order):
    # A tie, or what rounding makes of one, is broken by order, and by nothing else.
    assume(all(np.diff(np.sort(p)).min() > 1e-3 for p in stream))
    straight = run(stream)
    permuted = run([p[list(order)] for p in stream])
    for one, other in zip(straight, permuted, strict=True):
        np.testing.assert_allclose(one.smoothed[list(order)], other.smoothed, atol=1e-6)


def test_the_delay_stated_to_the_user_is_the_delay_of_the_vote():
    half_life_s = 3.0
    stated = step_delay_s(half_life_s, HEAD.enter)
    vote = RunningVote(HEAD, half_life_s=half_life_s, min_hold_s=0.0)
    vote.update(np.array([1, 0, 0], np.float32), elapsed_s=0.0)
    step = 0.01
    took = next(
        n * step for n in range(1, 10_000) if vote.update(np.array([0, 1, 0], np.float32), elapsed_s=step).label == 1
    )
    assert took == pytest.approx(stated, abs=2 * step)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_half_life_that_is_no_time_is_refused(seconds):
    with pytest.raises(ConfigError, match="half-life"):
        RunningVote(HEAD, half_life_s=seconds)


def test_reset_forgets():
    vote = RunningVote(HEAD)
    vote.update(np.array([1, 0, 0], np.float32), elapsed_s=0.0)
    vote.reset()
    assert vote.smoothed is None
    assert vote.update(np.array([0, 1, 0], np.float32), elapsed_s=9.0).label == 1
