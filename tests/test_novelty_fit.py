"""How far answers move within a piece and between two, as it is fitted to tracks."""

from __future__ import annotations

import numpy as np
import pytest

from models.novelty import Novelty, pace, scores
from models.spec import Head
from train.novelty_fit import _differences, fit_novelty

HEADS = (Head(name="genre", labels=("a", "b", "c")), Head(name="mood", labels=("x", "y")))
HOP_S, WINDOW_S = 0.5, 1.0


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def piece(random: np.random.Generator, windows: int = 40) -> dict[str, np.ndarray]:
    """Genre wanders within a piece, mood hardly; both are others in the next."""
    genre = random.normal(0, 0.3, 3) + random.normal(0, 2, (windows, 3))
    mood = random.normal(0, 2, 2) + random.normal(0, 0.1, (windows, 2))
    return {"genre": softmax(genre), "mood": softmax(mood)}


def pieces(number: int = 60) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return [piece(random) for _ in range(number)]


def novelties(spec, *tracks: dict[str, np.ndarray]) -> np.ndarray:
    """Of all windows of tracks that follow each other."""
    novelty = Novelty(spec, WINDOW_S)
    return np.array(
        [
            novelty.update({name: each[at] for name, each in track.items()}, elapsed_s=HOP_S)
            for track in tracks
            for at in range(len(track["genre"]))
        ]
    )


def test_another_piece_is_told_from_the_same_one_by_what_hardly_moves_within_one() -> None:
    spec = fit_novelty(pieces(), HEADS, hop_s=HOP_S, window_s=WINDOW_S)
    assert spec is not None
    assert spec.heads == ("genre", "mood")
    random = np.random.default_rng(1)
    found = [novelties(spec, piece(random), piece(random)) for _ in range(40)]
    within = np.concatenate([each[2:40] for each in found])
    assert (within > 0).mean() < 0.05
    assert np.mean([each[40:42].max() > 0 for each in found]) > 0.8
    # The same by genre alone, which wanders: nobody could tell.
    genre = fit_novelty(pieces(), HEADS[:1], hop_s=HOP_S, window_s=WINDOW_S)
    found = [novelties(genre, piece(random), piece(random)) for _ in range(40)]
    assert np.mean([each[40:42].max() > 0 for each in found]) < 0.6


def test_what_is_added_to_all_scores_of_a_head_has_no_say() -> None:
    spec = fit_novelty(pieces(), HEADS, hop_s=HOP_S, window_s=WINDOW_S)
    assert spec is not None
    weights = np.array(spec.weights)
    np.testing.assert_allclose(weights, weights.T, rtol=1e-3)
    np.testing.assert_allclose(weights @ np.array([1, 1, 1, 0, 0]), 0.0, atol=1e-3 * np.abs(weights).max())
    np.testing.assert_allclose(weights @ np.array([0, 0, 0, 1, 1]), 0.0, atol=1e-3 * np.abs(weights).max())


def test_windows_share_no_sound_with_the_track_that_they_follow() -> None:
    """The first of them is whole: all of the track before is heard, and the newest four seconds of it count."""
    random = np.random.default_rng(2)
    heard = [np.hstack([scores(said) for said in piece(random).values()]) for _ in range(12)]
    within, between = _differences(heard, hop_s=HOP_S, window_s=WINDOW_S)
    assert len(within) == 12 * 38
    assert len(between) == 12 * 2
    for at, count in ((0, 8), (1, 7)):
        expected = {tuple(np.round(new[at] - old[-count:].mean(axis=0), 6)) for new in heard for old in heard}
        assert {tuple(np.round(each, 6)) for each in between[at::2]} <= expected


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 0.7, 1.0, 2.5])
def test_any_hop_will_do(hop_s: float) -> None:
    assert fit_novelty(pieces(10), HEADS, hop_s=hop_s, window_s=WINDOW_S) is not None


@pytest.mark.parametrize("windows", [[], [40], [40] * 3, [2] * 10, [1] * 10])
def test_tracks_that_are_too_few_or_too_short_tell_nothing(windows: list[int]) -> None:
    tracks = [{name: each[:count] for name, each in piece(np.random.default_rng(0)).items()} for count in windows]
    assert fit_novelty(tracks, HEADS, hop_s=HOP_S, window_s=WINDOW_S) is None


def test_answers_that_never_move_do_no_harm() -> None:
    still = [{"genre": np.full((10, 3), 1 / 3), "mood": np.full((10, 2), 0.5)} for _ in range(5)]
    spec = fit_novelty(still, HEADS, hop_s=HOP_S, window_s=WINDOW_S)
    assert spec is not None
    assert {pace(each) for each in novelties(spec, *still)} == {1.0}
