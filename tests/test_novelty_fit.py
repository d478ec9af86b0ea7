"""How far answers move within a piece and between two, as it is fitted to tracks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.confidence import temper
from models.novelty import Novelty
from models.spec import Head
from train.novelty_fit import fit_novelty, tempered

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


@given(st.floats(0.5, 2.0), st.floats(0.5, 2.0))
def test_temperatures_change_nothing(genre: float, mood: float) -> None:
    tracks = pieces(5)
    spec = fit_novelty(tracks, HEADS, hop_s=HOP_S, window_s=WINDOW_S)
    assert spec is not None
    heads = [head.model_copy(update={"temperature": t}) for head, t in zip(HEADS, (genre, mood), strict=True)]
    warm = {"genre": temper(tracks[0]["genre"], genre), "mood": temper(tracks[0]["mood"], mood)}
    np.testing.assert_allclose(novelties(tempered(spec, heads), warm), novelties(spec, tracks[0]), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("windows", [[], [40], [2, 2], [1]])
def test_tracks_that_are_too_few_or_too_short_tell_nothing(windows: list[int]) -> None:
    tracks = [{name: each[:count] for name, each in piece(np.random.default_rng(0)).items()} for count in windows]
    assert fit_novelty(tracks, HEADS, hop_s=HOP_S, window_s=WINDOW_S) is None


def test_answers_that_never_move_do_no_harm() -> None:
    still = [{"genre": np.full((10, 3), 1 / 3), "mood": np.full((10, 2), 0.5)} for _ in range(3)]
    spec = fit_novelty(still, HEADS, hop_s=HOP_S, window_s=WINDOW_S)
    assert np.all(novelties(spec, *still)[2:] == 0.0)
