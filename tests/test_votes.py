"""The votes of several heads: each by itself, but for those that another head says are not meant."""

from __future__ import annotations

import numpy as np
import pytest
from toy import toy_card

from models.spec import Given, Head, ModelCard, NoveltySpec
from models.vote import RunningVote
from models.votes import RunningVotes

HOP_S = 0.5
GENRE, KIND = ("blues", "jazz"), ("music", "speech")
MUSIC, SPEECH = np.array([0.9, 0.1], np.float32), np.array([0.1, 0.9], np.float32)
BLUES, JAZZ = np.array([0.9, 0.1], np.float32), np.array([0.1, 0.9], np.float32)


def card(*, given: bool = True) -> ModelCard:
    genre = Head(name="genre", labels=GENRE, given=Given(head="kind", label="music") if given else None)
    return toy_card().model_copy(update={"heads": (genre, Head(name="kind", labels=KIND))})


def votes(**settings: bool) -> RunningVotes:
    """Of a model that cannot tell how new the sound is: see test_novelty.py."""
    return RunningVotes(card(**settings), hop_s=HOP_S, half_life_s=2.0)


def play(votes: RunningVotes, kind: np.ndarray, genre: np.ndarray, windows: int) -> dict[str, str | None]:
    """The labels shown after so many equal windows."""
    for _ in range(windows):
        shown = votes.update({"genre": genre, "kind": kind}, elapsed_s=HOP_S)
    assert shown["kind"].instead is None
    assert shown["genre"].instead in (None, "speech")
    assert shown["genre"].label is None or shown["genre"].instead is None
    assert shown["genre"].confidence is None or shown["genre"].instead is None
    return {name: each.label for name, each in shown.items()}


def test_heads_that_are_given_nothing_vote_by_themselves() -> None:
    together, alone = votes(given=False), RunningVote(card().head, hop_s=HOP_S, half_life_s=2.0)
    random = np.random.default_rng(0)
    for _ in range(50):
        genre, kind = random.dirichlet((1, 1), 2).astype(np.float32)
        found = together.update({"genre": genre, "kind": kind}, elapsed_s=HOP_S)["genre"]
        expected = alone.update(genre, elapsed_s=HOP_S)
        assert found.label == (None if expected.label is None else GENRE[expected.label])
        assert found.confidence == expected.confidence


def test_speech_has_no_genre_and_what_it_sounds_like_does_not_count() -> None:
    ours = votes()
    assert play(ours, SPEECH, JAZZ, 15) == {"genre": None, "kind": "speech"}
    assert ours.smoothed("genre") is None
    assert play(ours, MUSIC, BLUES, 15) == {"genre": "blues", "kind": "music"}
    before = ours.smoothed("genre")
    assert play(ours, SPEECH, JAZZ, 15) == {"genre": None, "kind": "speech"}
    np.testing.assert_array_equal(ours.smoothed("genre"), before)


def test_a_word_over_the_music_does_not_take_its_label_though_it_is_new() -> None:
    novelty = NoveltySpec(heads=("genre", "kind"), weights=tuple(map(tuple, 8.0 * np.eye(4))), bias=10.0)
    ours = RunningVotes(card().model_copy(update={"novelty": novelty}), hop_s=HOP_S)
    play(ours, MUSIC, BLUES, 20)
    assert play(ours, SPEECH, JAZZ, 1) == {"genre": "blues", "kind": "music"}
    play(ours, MUSIC, BLUES, 20)
    before = ours.smoothed("genre")
    assert play(ours, SPEECH, JAZZ, 10) == {"genre": None, "kind": "speech"}
    # What was heard of the music has aged by as long as the speech was, and not by how new that sounded.
    play(ours, MUSIC, BLUES, 1)
    assert ours.smoothed("genre")[0] == pytest.approx(before[0], abs=0.01)


def test_what_counts_and_what_is_shown_hang_on_the_same_thing() -> None:
    """Likeliest music by a hair, or by a hair not: never a label that nothing feeds any more."""
    ours = votes()
    play(ours, MUSIC, BLUES, 20)
    assert play(ours, np.array([0.51, 0.49], np.float32), JAZZ, 40)["genre"] == "jazz"
    assert play(ours, np.array([0.49, 0.51], np.float32), BLUES, 400)["genre"] is None


def test_time_passes_for_a_head_whose_windows_are_left_out() -> None:
    """After a long speech the first music counts for much more than it would have otherwise."""
    ours, uninterrupted = votes(), votes()
    for each in (ours, uninterrupted):
        play(each, MUSIC, BLUES, 20)
    play(ours, SPEECH, JAZZ, 40)
    for each in (ours, uninterrupted):
        play(each, MUSIC, JAZZ, 1)
    assert ours.smoothed("genre")[1] > 2 * uninterrupted.smoothed("genre")[1]


def test_a_reset_forgets_all_heads_and_the_half_life_is_all_heads() -> None:
    ours = votes()
    play(ours, MUSIC, BLUES, 20)
    ours.set_half_life(1e6)
    ours.reset()
    assert (ours.smoothed("genre"), ours.smoothed("kind")) == (None, None)
    play(ours, MUSIC, BLUES, 1)
    play(ours, MUSIC, JAZZ, 1)
    assert ours.smoothed("genre")[0] == pytest.approx(0.5, abs=1e-3)
