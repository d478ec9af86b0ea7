"""How far a network's answers move within a piece, and from one piece to another: from tracks that it has not heard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag, helmert

from models.novelty import Before, Scores, scores
from models.spec import Head, NoveltySpec

_SHRINKAGE = 0.1
"""So much of each covariance is taken for chance, but for the variances: tracks are few, and their windows alike."""
_LEAST_VARIANCE = 1e-3
"""Answers that never move differ by rounding."""
_DIGITS = 5


def fit_novelty(
    tracks: Sequence[Mapping[str, npt.NDArray[np.floating]]], heads: Sequence[Head], *, hop_s: float, window_s: float
) -> NoveltySpec | None:
    """What tells pieces apart by the answers of ``heads``, from the probabilities (n, classes) that each gives of the
    windows of every track, ``hop_s`` apart and ``window_s`` long.

    As live: each window against those before it, within its track and where another track follows. None where tracks
    are too few to tell how their answers vary, or too short.
    """
    # Scores of a head add up to nothing: there is a direction less than there are labels.
    basis = block_diag(*(helmert(len(head.labels)) for head in heads))
    heard = [np.hstack([scores(track[head.name]) for head in heads]) for track in tracks]
    within, between = _differences(heard, hop_s=hop_s, window_s=window_s)
    if len(heard) <= len(basis) or not within or not between:
        return None
    same, other = (_covariance(np.array(differences) @ basis.T) for differences in (within, between))
    weights = basis.T @ (np.linalg.inv(same) - np.linalg.inv(other)) @ basis
    bias = np.linalg.slogdet(other).logabsdet - np.linalg.slogdet(same).logabsdet
    rows = tuple(tuple(float(f"{each:.{_DIGITS}g}") for each in row) for row in weights)
    return NoveltySpec(heads=tuple(head.name for head in heads), weights=rows, bias=float(bias))


def _differences(heard: Sequence[Scores], *, hop_s: float, window_s: float) -> tuple[list[Scores], list[Scores]]:
    """By how much windows differ from those before, within tracks and where one follows another (chosen at random)."""
    within: list[Scores] = []
    between: list[Scores] = []
    order = np.random.default_rng(0).permutation(len(heard))
    for at, following in zip(order, np.roll(order, -1), strict=True):
        before = Before(window_s)
        moved = [before.difference(window, elapsed_s=hop_s) for window in heard[at]]
        within += [each for each in moved if each is not None]
        # Its windows that begin within its first are set against the track before.
        new = heard[following][: math.ceil(window_s / hop_s - 1e-6)] if following != at else ()
        elapsed = [window_s, *[hop_s] * len(new)]
        moved = [before.difference(window, elapsed_s=step) for window, step in zip(new, elapsed, strict=False)]
        between += [each for each in moved if each is not None]
    return within, between


def _covariance(differences: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """About nothing: a window differs from those before as they differ from it."""
    found = differences.T @ differences / len(differences)
    variances = np.diag(np.diag(found))
    return np.asarray((1 - _SHRINKAGE) * found + _SHRINKAGE * variances + _LEAST_VARIANCE * np.eye(len(found)))
