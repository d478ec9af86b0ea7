import copy

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import ConfigError
from models.spec import Head
from models.vote import RunningVote, VoteClock, change_s

HEAD = Head(name="genre", labels=("a", "b", "c"), enter=0.5, leave=0.35)
HOP_S = 0.35

posteriors = arrays(np.float32, 3, elements=st.floats(0.0, 1.0, width=32)).filter(lambda p: p.sum() > 0.01)
streams = st.lists(posteriors.map(lambda p: p / p.sum()), min_size=1, max_size=60)


def run(stream, *, half_life_s=4.0, head=HEAD, hop_s=HOP_S):
    vote = RunningVote(head, hop_s=hop_s, half_life_s=half_life_s)
    return [vote.update(np.asarray(p, np.float32), elapsed_s=hop_s) for p in stream]


def seconds_of(probabilities, seconds, hop_s=HOP_S):
    return [np.array(probabilities, np.float32)] * round(seconds / hop_s)


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


@given(st.floats(1.0, 30))
def test_after_one_half_life_half_of_the_old_is_left(half_life_s):
    hop_s = half_life_s / 200
    before, after = (seconds_of(p, s, hop_s) for p, s in (([1, 0, 0], 12 * half_life_s), ([0, 1, 0], half_life_s)))
    smoothed = run([*before, *after], half_life_s=half_life_s, hop_s=hop_s)[-1].smoothed
    np.testing.assert_allclose(smoothed, [0.5, 0.5, 0], atol=5e-3)


@given(st.floats(0.5, 20), st.floats(0.0, 0.95))
def test_a_change_in_sound_that_is_no_newer_takes_no_longer_than_is_stated(half_life_s, enter):
    hop_s = 0.05
    head = HEAD.model_copy(update={"enter": enter, "leave": 0.0})
    vote = RunningVote(head, hop_s=hop_s, half_life_s=half_life_s)
    for p in seconds_of([1, 0, 0], 12 * half_life_s, hop_s):
        vote.update(p, elapsed_s=hop_s)
    after = np.array([0, 1, 0], np.float32)
    took = next(hop * hop_s for hop in range(1, 100_000) if vote.update(after, elapsed_s=hop_s).label == 1)
    # Or a hop sooner: the memory was not quite full.
    assert took == pytest.approx(change_s(half_life_s, hop_s=hop_s, pace=1.0, enter=enter), abs=1.01 * hop_s)


@given(posteriors.map(lambda p: p / p.sum()), posteriors.map(lambda p: p / p.sum()), st.floats(1.0, 60.0))
def test_what_has_aged_much_is_forgotten_and_what_has_not_is_as_if_nothing_were_said_of_it(old, new, half_life_s):
    vote = RunningVote(HEAD, hop_s=HOP_S, half_life_s=half_life_s)
    for _ in range(50):
        vote.update(old, elapsed_s=HOP_S)
    aged, same, plain = (copy.deepcopy(vote) for _ in range(3))
    for _ in range(8):
        found = aged.update(new, elapsed_s=HOP_S, aged_s=40 * half_life_s)
    np.testing.assert_allclose(found.smoothed, new, atol=1e-5)
    found, expected = same.update(new, elapsed_s=HOP_S, aged_s=HOP_S), plain.update(new, elapsed_s=HOP_S)
    np.testing.assert_array_equal(found.smoothed, expected.smoothed)


@pytest.mark.parametrize("half_life_s", [1.0, 4.0, 16.0])
def test_new_sound_brings_its_label_within_some_windows_where_the_network_is_sure(half_life_s):
    vote = RunningVote(HEAD, hop_s=HOP_S, half_life_s=half_life_s)
    for p in seconds_of([1, 0, 0], 60):
        vote.update(p, elapsed_s=HOP_S)
    sure, unsure = copy.deepcopy(vote), copy.deepcopy(vote)
    new = [sure.update(np.array([0, 0.9, 0.1], np.float32), elapsed_s=HOP_S, aged_s=999.0).label for _ in range(4)]
    # One window proves nothing, however new it is.
    assert new[0] != 1
    assert new[-1] == 1
    # Where it is likelier than any other, but not by far, the old one is not shown any more, and nothing else is yet.
    for _ in range(8):
        after = unsure.update(np.array([0.2, 0.5, 0.3], np.float32), elapsed_s=HOP_S, aged_s=999.0).label
    assert after is None


def test_a_label_that_another_leads_by_a_little_is_kept_for_a_while_but_not_for_ever():
    # With the low thresholds that calibration finds for heads that are nearly always right, too.
    for enter, leave in ((0.5, 0.35), (0.3, 0.15), (0.0, 0.0)):
        head = HEAD.model_copy(update={"enter": enter, "leave": leave})
        # Of the first few seconds the wrong one is likelier, of the piece the other.
        standings = run([*seconds_of([0.6, 0.4, 0.0], 5), *seconds_of([0.4, 0.6, 0.0], 60)], head=head)
        labels = [standing.label for standing in standings]
        changed = labels.index(1) * HOP_S - 5.0
        assert 15.0 < changed < 40.0
        assert set(labels[: labels.index(1)]) == {0}
        assert set(labels[labels.index(1) :]) == {1}


def test_the_mean_of_the_piece_before_does_not_take_a_label_back():
    """Also where nobody heard the other one begin."""
    stream = [*seconds_of([0.9, 0.05, 0.05], 120), *seconds_of([0.1, 0.8, 0.1], 20), *seconds_of([0.65, 0.3, 0.05], 10)]
    labels = [standing.label for standing in run(stream)]
    after = labels[labels.index(1) :]
    assert set(after) == {1} or set(after) == {1, None}


def test_of_new_sound_the_first_impression_stands_until_enough_has_been_heard():
    """What was before the change has no part in the mean of the piece."""
    head = HEAD.model_copy(update={"enter": 0.3, "leave": 0.1})
    vote = RunningVote(head, hop_s=HOP_S)
    for p in seconds_of([0.1, 0.2, 0.7], 300):
        vote.update(p, elapsed_s=HOP_S)
    for _ in range(9):
        vote.update(np.array([0.9, 0.1, 0.0], np.float32), elapsed_s=HOP_S, aged_s=99.0)
    labels = [vote.update(p, elapsed_s=HOP_S).label for p in seconds_of([0.35, 0.65, 0.0], 60)]
    changed = labels.index(1) * HOP_S
    assert 20.0 < changed < 35.0
    assert set(labels[: labels.index(1)]) == {0}


def test_of_new_sound_that_nothing_leads_by_far_the_mean_tells_once_enough_has_been_heard():
    """However long the piece before it was."""
    vote = RunningVote(HEAD.model_copy(update={"enter": 0.3, "leave": 0.1}), hop_s=HOP_S)
    for p in seconds_of([0.9, 0.1, 0.0], 300):
        vote.update(p, elapsed_s=HOP_S)
    after = seconds_of([0.4, 0.6, 0.0], 60)
    labels = [vote.update(p, elapsed_s=HOP_S, aged_s=99.0 if at < 9 else None).label for at, p in enumerate(after)]
    assert 20.0 < labels.index(1) * HOP_S < 35.0


def test_a_longer_half_life_does_not_make_a_label_give_way():
    vote = RunningVote(HEAD, hop_s=HOP_S, half_life_s=1.0)
    for p in seconds_of([0.9, 0.1, 0.0], 12):
        vote.update(p, elapsed_s=HOP_S)
    vote.half_life_s = 16.0
    assert {vote.update(p, elapsed_s=HOP_S).label for p in seconds_of([0.2, 0.8, 0.0], 3)} <= {0, None}


def test_a_change_that_comes_and_goes_does_not_move_the_label():
    # A jingle of a second, every ten: the label stays; the plain average with a short memory would not.
    stream = [*seconds_of([0.8, 0.1, 0.1], 10), *seconds_of([0.1, 0.8, 0.1], 0.7)] * 10
    assert {standing.label for standing in run(stream)} == {0}


@given(streams)
def test_labels_enter_above_one_threshold_and_stay_above_the_other(stream):
    before = None
    for standing in run(stream):
        label = standing.label
        if label is None:
            pass  # another may be likely enough, but does not lead the last one by enough
        elif label != before:
            assert standing.smoothed[label] >= HEAD.enter - 1e-6
        else:
            assert standing.smoothed[label] >= HEAD.leave - 1e-6
        assert standing.confidence == pytest.approx(
            float(standing.smoothed[label] if label is not None else standing.smoothed.max())
        )
        before = label


def test_a_label_that_is_given_up_is_not_followed_by_a_likelier_one_that_is_not_likely():
    head = Head(name="x", labels=("a", "b", "c", "d"), enter=0.5, leave=0.15)
    standings = run([*seconds_of([0.9, 0.1, 0, 0], 20), *seconds_of([0.12, 0.4, 0.24, 0.24], 60)], head=head)
    assert standings[-1].label is None
    assert standings[-1].smoothed.argmax() == 1


@given(streams, st.permutations(range(3)))
def test_the_order_of_the_classes_does_not_matter(stream, order):
    # A tie, or what rounding makes of one, is broken by order, and by nothing else.
    assume(all(np.diff(np.sort(p)).min() > 1e-3 for p in stream))
    straight = run(stream)
    permuted = run([p[list(order)] for p in stream])
    for one, other in zip(straight, permuted, strict=True):
        assume(np.diff(np.sort(one.smoothed)).min() > 1e-4)
        np.testing.assert_allclose(one.smoothed[list(order)], other.smoothed, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_half_life_that_is_no_time_is_refused(seconds):
    with pytest.raises(ConfigError, match="half-life"):
        RunningVote(HEAD, hop_s=HOP_S, half_life_s=seconds)


def test_reset_forgets():
    vote = RunningVote(HEAD, hop_s=HOP_S)
    vote.update(np.array([1, 0, 0], np.float32), elapsed_s=0.0)
    vote.reset()
    assert vote.smoothed is None
    assert vote.update(np.array([0, 1, 0], np.float32), elapsed_s=9.0).label == 1


def test_after_an_outage_the_past_and_its_label_are_forgotten():
    vote = RunningVote(HEAD, hop_s=HOP_S)
    for p in seconds_of([1, 0, 0], 70):
        vote.update(p, elapsed_s=HOP_S)
    other = np.array([0.25, 0.75, 0], np.float32)
    short, long = copy.deepcopy(vote), copy.deepcopy(vote)
    assert short.update(other, elapsed_s=3.15).label == 0  # a gap of a moment, and the window fills again
    after = long.update(other, elapsed_s=3600.0)
    np.testing.assert_allclose(after.smoothed, other, atol=1e-3)
    assert after.label == 1  # nobody remembers the one before


def test_the_first_window_counts_like_any_other():
    first, second = run([[0.9, 0.1, 0], [0.3, 0.7, 0]], half_life_s=1000.0)
    assert first.smoothed[0] == pytest.approx(0.9)
    np.testing.assert_allclose(second.smoothed, [0.6, 0.4, 0.0], atol=1e-3)


@pytest.mark.parametrize("hop_s", [0.05, 0.35, 2.0])
def test_another_hop_changes_nothing(hop_s):
    standings = run(
        [*seconds_of([1, 0, 0], 90, hop_s), *seconds_of([0, 1, 0], 60, hop_s)], half_life_s=12.0, hop_s=hop_s
    )
    changed = next(at for at, standing in enumerate(standings) if standing.label == 1) - round(90 / hop_s) + 1
    assert changed * hop_s == pytest.approx(change_s(12.0, hop_s=0.35, pace=1.0, enter=HEAD.enter), abs=2.0)


def test_silence_is_no_time_and_a_gap_is():
    clock = VoteClock(HOP_S)
    clock.look(10.0, silent=False)
    assert clock.take() == 0.0
    clock.look(10.0 + HOP_S, silent=True)
    clock.look(10.0 + 2 * HOP_S, silent=False)
    assert clock.take() == pytest.approx(HOP_S)
    clock.look(40.0, silent=True)
    clock.look(40.0 + HOP_S, silent=False)
    assert clock.take() == pytest.approx(30.0 - 2 * HOP_S)
