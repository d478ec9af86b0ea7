"""How a whole file is judged: which of its windows a network sees, and what their probabilities come to."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import ConfigError
from models.scorer import Scorer, WindowBatch, windows_at_once
from models.spec import FileDecision, ModelCard
from models.windowing import tile

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

LIVE = FileDecision()
"""As live audio is judged: every window, one every hop of the card, and the mean of their probabilities."""


class Answer(NamedTuple):
    """``given`` is the index of the file's label; ``probabilities`` (classes,) are the windows' mean or, where their
    majority decides, the share of the windows that named each label."""

    given: int
    probabilities: FloatArray


def describe(decision: FileDecision) -> str:
    """The decision in words: ``majority of 15 random windows of 2 joined slices``."""
    number = f"{decision.count} " if decision.count else ""
    windows = {
        "hop": f"{number or 'all '}windows, one every hop",
        "first": "first window alone",
        "consecutive": f"{number or 'all '}consecutive windows"
        + (f", {decision.overlap:.0%} overlapped" if decision.overlap else ""),
        "random": f"{number}random windows" + (f" of {decision.slices} joined slices" if decision.slices > 1 else ""),
    }[decision.windows]
    return windows if decision.windows == "first" else f"{decision.rule} of {windows}"


def places(frames: int, card: ModelCard, decision: FileDecision, *, seed: int = 0) -> IntArray:
    """Where each window's slices begin in a file of ``frames`` frames: (windows, slices). None if it is too short.

    Raises:
        ConfigError: the card's window is not a whole number of the decision's slices.
    """
    size = card.window.frames
    if size % decision.slices:
        raise ConfigError(f"expected a window of {decision.slices} equal slices, model {card.name!r} has {size} frames")
    room = frames - size // decision.slices + 1
    if room < 1:
        return np.empty((0, decision.slices), dtype=np.int64)
    if decision.windows == "random":
        return np.random.default_rng(seed).integers(room, size=(decision.count, decision.slices))
    if decision.windows == "first":
        return np.zeros((1, 1), dtype=np.int64)
    step = card.window.hop_frames
    if decision.windows == "consecutive":
        step = max(1, round(size * (1 - decision.overlap)))
    starts = np.arange(0, room, step)[:, None]
    return starts[: decision.count] if decision.count else starts


def cut(features: Sequence[FloatArray], starts: IntArray, card: ModelCard) -> WindowBatch:
    """The windows whose slices begin at ``starts`` (n, slices), from features (frames, bands) of each input."""
    size = card.window.frames // starts.shape[1]
    rows = (starts[:, :, None] + np.arange(size)).reshape(len(starts), card.window.frames)
    return tuple(np.ascontiguousarray(each[rows].transpose(0, 2, 1), dtype=np.float32) for each in features)


def score(scorer: Scorer, features: Sequence[FloatArray], starts: IntArray) -> dict[str, FloatArray]:
    """Probabilities (n, classes) of each head for the windows at ``starts``, one at least; a bounded batch a time."""
    card = scorer.card
    batch = windows_at_once(card)
    scored = [
        scorer.score(cut(features, starts[first : first + batch], card)) for first in range(0, len(starts), batch)
    ]
    return {head.name: np.concatenate([each[head.name] for each in scored]) for head in card.heads}


def decide(probabilities: FloatArray, decision: FileDecision) -> Answer:
    """What windows with ``probabilities`` (n, classes), n at least 1, say of their file."""
    mean = probabilities.mean(axis=0, dtype=np.float64)
    if decision.rule != "majority":
        return Answer(int(mean.argmax()), mean.astype(np.float32))
    votes = np.bincount(probabilities.argmax(axis=1), minlength=len(mean))
    tied = np.where(votes == votes.max(), mean, -1.0)
    return Answer(int(tied.argmax()), (votes / len(probabilities)).astype(np.float32))


def judge(scorer: Scorer, features: Sequence[FloatArray], *, seed: int = 0) -> Answer:
    """What a file, features (frames, bands) of each input, is by the decision of the scorer's card.

    As in training, a file is repeated only if it is shorter than one slice of a window, and the card repeats at all.

    Raises:
        ConfigError: the decision does not fit the window, or the file is shorter than a slice and must not be repeated.
    """
    card, decision = scorer.card, scorer.card.decision
    frames, size = min(len(each) for each in features), card.window.frames // decision.slices
    sound = tuple(each[:frames] for each in features)
    if frames < size and card.window.short == "tile":
        sound = tuple(tile(each, size) for each in sound)
    starts = places(len(sound[0]), card, decision, seed=seed)
    if not len(starts):
        raise ConfigError(f"expected at least {size} frames to decide on, the file has {frames}")
    return decide(score(scorer, sound, starts)[card.head.name], decision)


def seed_of(name: str, seed: int) -> int:
    """A file's own seed, whatever other files are judged beside it."""
    return zlib.crc32(f"{seed}/{name}".encode())
