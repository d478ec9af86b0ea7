import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from toy import SPEC, toy_card

from stream.windows import FIRST_LOOK_S, GATE_S, Windows

CARD = toy_card(frames=8, hop_frames=3)
BANDS = SPEC.n_mels


def numbered(frames: int) -> np.ndarray:
    """Frames whose every value is their own number."""
    return np.repeat(np.arange(frames, dtype=np.float32)[:, np.newaxis], BANDS, axis=1)


def looks_of(sizes, *, start=0, hop=3, active=None):
    windows = Windows(CARD, hop_frames=hop)
    windows.reset(start)
    total = sum(sizes)
    frames = numbered(total)
    # Activity runs ahead of the frames, as hops do.
    active = np.ones(total + 2, dtype=np.bool_) if active is None else active
    looks, at, given_active = [], 0, 0
    for size in sizes:
        until = min(len(active), at + size + 2)
        looks += windows.feed([frames[at : at + size]], active[given_active:until])
        at, given_active = at + size, until
    return looks


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 8))
def test_any_chunking_gives_the_same_looks_on_the_same_grid(sizes, hop):
    looks = looks_of(sizes, hop=hop, start=100)
    total = sum(sizes)
    due = [count for count in range(1, total + 1) if (count - 8) % hop == 0]
    assert [look.end for look in looks] == [100 + SPEC.samples_for(count) for count in due]
    for count, look in zip(due, looks, strict=True):
        if count < 8:
            assert look.features is None
        else:
            assert look.heard_samples == CARD.window_samples
            (window,) = look.features
            assert (window.shape,) == CARD.input_shapes
            np.testing.assert_array_equal(window[0], np.arange(count - 8, count))
        assert not look.silent


def test_a_window_is_silent_when_most_of_it_is():
    active = np.array([True] * 8 + [False] * 14)
    silent = {(look.end - SPEC.n_fft) // SPEC.hop_samples + 1: look.silent for look in looks_of([20], active=active)}
    assert silent == {2: False, 5: False, 8: False, 11: False, 14: True, 17: True, 20: True}


def test_no_window_spans_a_reset():
    windows = Windows(CARD, hop_frames=3)
    windows.feed([numbered(10)], np.ones(12, np.bool_))
    windows.reset(50_000)
    looks = windows.feed([numbered(8) + 100], np.ones(10, np.bool_))
    assert [look.features is None for look in looks] == [True, True, False]
    assert looks[-1].end == 50_000 + SPEC.samples_for(8)
    assert looks[-1].features[0].min() == 100


def test_it_knows_how_much_audio_the_next_look_needs():
    windows = Windows(CARD, hop_frames=3)
    assert windows.samples_until_due == SPEC.samples_for(2)
    windows.feed([numbered(2)], np.ones(4, np.bool_))
    assert windows.samples_until_due == SPEC.samples_for(5)


def test_where_training_repeated_short_audio_a_long_window_is_looked_at_while_it_fills():
    size, hop = 200, 10
    card = toy_card(frames=size, hop_frames=hop, short="tile")
    windows = Windows(card, hop_frames=hop)
    looks = windows.feed([numbered(260)], np.ones(262, np.bool_))
    enough = round(FIRST_LOOK_S / SPEC.seconds_per_frame)
    for look in looks:
        heard = SPEC.frames_in(look.end)
        assert look.heard_samples == min(look.end, card.window_samples)
        if heard < enough:
            assert look.features is None
            continue
        (window,) = look.features
        expected = np.arange(size) % heard if heard < size else np.arange(heard - size, heard)
        np.testing.assert_array_equal(window[0], expected)
    assert {look.features is None for look in looks} == {True, False}


@given(st.lists(st.booleans(), min_size=1, max_size=400), st.integers(5, 40), st.sampled_from(["wait", "tile"]))
def test_a_look_sees_the_longest_end_that_is_mostly_sound(active, piece, short):
    # Longer than two gates: up to there a window that waits is its own gate.
    size, gate = 200, round(GATE_S / SPEC.seconds_per_frame)
    card = toy_card(frames=size, hop_frames=7, short=short)
    assert card.window_seconds > 2 * GATE_S
    windows = Windows(card, hop_frames=7)
    # Stretches of sound and of silence, long enough to matter.
    active = np.repeat(np.array(active), 5)
    frames = numbered(len(active))
    looks = []
    for at in range(0, len(frames), piece):
        looks += windows.feed([frames[at : at + piece]], active[at : at + piece])
    for look in looks:
        due = SPEC.frames_in(look.end)
        assert look.silent == (active[max(0, due - gate) : due].mean() < 0.5)
        if look.silent:
            assert (look.features, look.heard_samples) == (None, 0)
            continue
        heard = max(n for n in range(1, min(size, due) + 1) if active[due - n : due].mean() >= 0.5)
        assert look.heard_samples == SPEC.samples_for(heard)
        assert (look.features is None) == (heard < (gate if short == "tile" else size))
        if look.features is not None:
            (window,) = look.features
            np.testing.assert_array_equal(window[0], due - heard + np.arange(size) % heard)


@given(st.lists(st.integers(1, 150), min_size=2, max_size=8), st.sampled_from([-1, 0, 1, 2, 70]))
def test_a_window_that_waits_and_is_about_as_long_as_the_gate_is_silent_or_whole(stretches, longer):
    size = round(GATE_S / SPEC.seconds_per_frame) + longer
    windows = Windows(toy_card(frames=size, hop_frames=1), hop_frames=1)
    # Sound and silence in turns.
    active = np.concatenate([np.full(size, True), *(np.full(n, turn % 2) for turn, n in enumerate(stretches))])
    looks = windows.feed([numbered(len(active))], active.astype(np.bool_))
    for due, look in enumerate(looks[size - 1 :], size):
        assert look.silent == (active[due - size : due].mean() < 0.5)
        assert (look.features is None) == look.silent


def test_two_inputs_are_cut_at_the_same_frames():
    spec = SPEC.model_copy(update={"n_mels": 5})
    card = toy_card(SPEC, spec, frames=8)
    windows = Windows(card, hop_frames=3)
    looks = windows.feed([numbered(12), numbered(12)[:, :5] + 1000], np.ones(14, np.bool_))
    first, second = looks[-1].features
    assert (first.shape, second.shape) == card.input_shapes == ((12, 8), (5, 8))
    np.testing.assert_array_equal(first[:5] + 1000, second)
