"""How new the sound is: what is compared with what, and what it makes of the vote's memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_card

from models.novelty import FASTEST, Novelty, pace, scores
from models.spec import Head, ModelCard
from models.votes import RunningVotes

HOP_S = 0.25
A, B = np.array([0.7, 0.2, 0.1], np.float32), np.array([0.1, 0.2, 0.7], np.float32)


def card(*spreads: float | None) -> ModelCard:
    """Of a window of 1.296 s, six hops, and a head for each spread."""
    heads = tuple(Head(name=f"h{at}", labels=("a", "b", "c"), spread=spread) for at, spread in enumerate(spreads))
    return toy_card().model_copy(update={"heads": heads})


def hear(novelty: Novelty, *windows: np.ndarray, elapsed_s: float = HOP_S) -> list[float]:
    return [novelty.update({"h0": each}, elapsed_s=elapsed_s) for each in windows]


def test_nothing_is_new_before_a_window_has_passed_nor_while_all_windows_are_alike() -> None:
    assert hear(Novelty(card(1.0)), *[A] * 20) == [0.0] * 20
    assert hear(Novelty(card(1.0)), A, B, A, B, A) == [0.0] * 5


def test_windows_are_compared_that_share_no_sound() -> None:
    found = hear(Novelty(card(1.0)), *[A] * 10, *[B] * 10)
    # New for six hops, until the window before is of the new sound as well.
    assert np.flatnonzero(found).tolist() == [10, 11, 12, 13, 14, 15]
    np.testing.assert_allclose(found[10:16], np.sqrt(np.mean((scores(A) - scores(B)) ** 2)), rtol=1e-6)


def test_a_hop_of_a_whole_window_and_a_gap_leave_the_window_before() -> None:
    for elapsed_s in (card(1.0).window_seconds, 60.0):
        assert [each > 0.0 for each in hear(Novelty(card(1.0)), A, B, B, A, elapsed_s=elapsed_s)] == [
            False,
            True,
            False,
            True,
        ]


def test_each_head_counts_by_its_spread_and_one_without_does_not() -> None:
    def found(*spreads: float | None) -> float:
        novelty = Novelty(card(*spreads))
        for window in [A] * 10 + [B]:
            latest = novelty.update({f"h{at}": window for at in range(len(spreads))}, elapsed_s=HOP_S)
        return latest

    one = found(1.0)
    assert found(2.0) == pytest.approx(one / 2)
    assert found(1.0, 2.0) == pytest.approx(one * np.sqrt((1 + 1 / 4) / 2))
    assert found(1.0, None) == pytest.approx(one)
    assert found(None) == 0.0


@given(st.floats(0.5, 2.0), st.integers(0, 2**32 - 1))
def test_a_temperature_is_undone_by_the_spread(temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).uniform(-2, 2, (12, 3))

    def found(t: float) -> list[float]:
        powers = np.exp(logits / t)
        return hear(Novelty(card(1 / t)), *(powers / powers.sum(axis=1, keepdims=True)))

    np.testing.assert_allclose(found(temperature), found(1.0), rtol=1e-4, atol=1e-6)


def test_after_a_reset_there_is_nothing_to_compare_with() -> None:
    novelty = Novelty(card(1.0))
    hear(novelty, *[A] * 10)
    novelty.reset()
    assert hear(novelty, B) == [0.0]


def test_the_past_is_forgotten_fast_in_new_sound_but_not_at_once() -> None:
    assert pace(0.0) == pace(1.0) == 1.0
    assert 2.0 < pace(1.5) < pace(1.8) < FASTEST
    assert pace(3.0) == pace(1e300) == pytest.approx(FASTEST)


def test_the_votes_follow_new_sound_before_they_would_by_their_half_life() -> None:
    """All heads, also one whose own answer stays the same."""
    other = np.array([0.05, 0.9, 0.05], np.float32)

    def seconds_until_shown(*, spread: float | None) -> float:
        votes = RunningVotes(card(spread, None), hop_s=HOP_S, half_life_s=4.0)
        for _ in range(100):
            votes.update({"h0": A, "h1": A}, elapsed_s=HOP_S)
        return next(
            at * HOP_S
            for at in range(1, 1000)
            if votes.update({"h0": B, "h1": other}, elapsed_s=HOP_S)["h1"].label == "b"
        )

    assert seconds_until_shown(spread=0.5) <= 5 * HOP_S
    assert seconds_until_shown(spread=None) > 4.0
