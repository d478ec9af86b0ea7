"""How new the sound is: what is compared with what, and what it makes of the vote's memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from toy import toy_card

from models.novelty import FASTEST, Before, Novelty, pace, scores
from models.spec import Head, ModelCard, NoveltySpec
from models.votes import RunningVotes

HOP_S, WINDOW_S = 0.25, 1.3
A, B = np.array([0.7, 0.2, 0.1], np.float32), np.array([0.1, 0.2, 0.7], np.float32)


def spec(*heads: str, weight: float = 2.0, bias: float = 0.0) -> NoveltySpec:
    """By how far scores have moved, whatever the direction."""
    return NoveltySpec(heads=heads, weights=tuple(map(tuple, weight * np.eye(3 * len(heads)))), bias=bias)


def hear(novelty: Novelty, *windows: np.ndarray, elapsed_s: float = HOP_S) -> list[float]:
    return [novelty.update({"h0": each}, elapsed_s=elapsed_s) for each in windows]


def test_nothing_is_new_before_a_window_has_passed_nor_while_all_windows_are_alike() -> None:
    assert hear(Novelty(spec("h0"), WINDOW_S), *[A] * 20) == pytest.approx([-math.inf] * 6 + [0.0] * 14)
    assert hear(Novelty(spec("h0"), WINDOW_S), A, B, A, B, A) == [-math.inf] * 5


def test_windows_are_compared_with_the_mean_of_some_seconds_that_they_share_no_sound_with() -> None:
    found = hear(Novelty(spec("h0"), WINDOW_S), *[A] * 40, *[B] * 40)
    difference = float(np.sum((scores(A) - scores(B)) ** 2))
    # At its newest for six hops; then the windows before are of the new sound as well, until after four seconds all.
    assert found[39] == pytest.approx(0.0)
    np.testing.assert_allclose(found[40:46], difference, rtol=1e-6)
    assert np.all(np.diff(found[45:62]) < 0)
    np.testing.assert_allclose(found[62:], 0.0, atol=1e-9)
    np.testing.assert_allclose(found[53], difference * (8 / 16) ** 2, rtol=1e-6)


def test_a_hop_of_a_whole_window_and_a_gap_leave_the_windows_before() -> None:
    for elapsed_s in (WINDOW_S, 60.0):
        found = hear(Novelty(spec("h0"), WINDOW_S), A, B, A, elapsed_s=elapsed_s)
        assert found[0] == -math.inf
        assert found[1] > 0.0
        assert found[2] > 0.0


def test_the_heads_count_that_the_card_says_and_by_its_weights() -> None:
    def found(*heads: str, **settings: float) -> float:
        novelty = Novelty(spec(*heads, **settings), WINDOW_S)
        for window in [A] * 10 + [B]:
            latest = novelty.update({"h0": window, "h1": window, "h2": A}, elapsed_s=HOP_S)
        return latest

    assert found("h0", "h1") == pytest.approx(2 * found("h0"))
    assert found("h0", "h2") == pytest.approx(found("h0"))
    assert found("h0", weight=6.0, bias=4.0) == pytest.approx(3 * found("h0") - 2.0)


def test_without_a_way_to_tell_nothing_is_new() -> None:
    assert hear(Novelty(None, WINDOW_S), *[A] * 10, B) == [-math.inf] * 11


def test_after_a_reset_there_is_nothing_to_compare_with() -> None:
    novelty = Novelty(spec("h0"), WINDOW_S)
    hear(novelty, *[A] * 10)
    novelty.reset()
    assert hear(novelty, B) == [-math.inf]


@given(st.lists(st.floats(0.01, 9.0), min_size=1, max_size=60), st.floats(0.5, 5.0))
def test_what_is_before_is_so_by_the_clock(steps: list[float], window_s: float) -> None:
    before, times = Before(window_s), np.cumsum(steps)
    for limit in (window_s, window_s + 4.0):  # rounding decides on the spot
        assume(np.abs(np.subtract.outer(times, times) - limit).min() > 1e-3)
    for at, step in enumerate(steps):
        found = before.difference(np.array([float(at)]), elapsed_s=step)
        old = np.flatnonzero(times[: at + 1] <= times[at] - window_s)
        recent = old[times[old] > times[at] - window_s - 4.0]
        expected = recent if len(recent) else old[-1:]
        if not len(old):
            assert found is None
        else:
            assert found is not None
            assert found[0] == pytest.approx(at - expected.mean())


def test_the_past_is_forgotten_fast_in_new_sound_but_not_at_once() -> None:
    assert pace(-math.inf) == pace(-20.0) == pace(0.0) == 1.0  # where the same piece is as likely, or likelier
    assert 1.0 < pace(0.1) < 1.2 < pace(5.0) < pace(9.0) < pace(20.0) < FASTEST
    assert pace(9.0) == pytest.approx((1 + FASTEST) / 2, rel=0.06)
    assert pace(1e300) == pytest.approx(FASTEST)


def card(novelty: NoveltySpec | None) -> ModelCard:
    """Of a window of 1.296 s, and two heads."""
    heads = tuple(Head(name=f"h{at}", labels=("a", "b", "c")) for at in range(2))
    return toy_card().model_copy(update={"heads": heads, "novelty": novelty})


def test_the_votes_follow_new_sound_before_they_would_by_their_half_life() -> None:
    """All heads, also one whose own answer has no say."""
    other = np.array([0.05, 0.9, 0.05], np.float32)

    def seconds_until_shown(novelty: NoveltySpec | None) -> float:
        votes = RunningVotes(card(novelty), hop_s=HOP_S, half_life_s=4.0)
        for _ in range(100):
            votes.update({"h0": A, "h1": A}, elapsed_s=HOP_S)
        return next(
            at * HOP_S
            for at in range(1, 1000)
            if votes.update({"h0": B, "h1": other}, elapsed_s=HOP_S)["h1"].label == "b"
        )

    assert seconds_until_shown(spec("h0", weight=20.0)) <= 5 * HOP_S
    assert seconds_until_shown(None) > 4.0
