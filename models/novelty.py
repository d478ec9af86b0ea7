"""How new the sound is: by what all heads say of it now and said just before. The running vote forgets by it.

A novelty function sets what is heard after a moment against what was heard before it (Foote 2000, "Automatic audio
segmentation using a measure of audio novelty"). Here the network's answers are compared: two pieces that are named
alike still differ in how likely the other labels are. How far answers move within a piece, and in which directions,
and how far from one piece to another, the card knows from tracks; a likelihood ratio tells the two apart, as it tells
speakers apart (Chen & Gopalakrishnan 1998, "Speaker, environment and channel change detection").
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from models.spec import NoveltySpec
from models.vote import FloatArray

Scores = npt.NDArray[np.float64]

_TINY: Final = 1e-6
"""Probabilities below count as this much: half precision, and eight-bit numbers, know no better."""
_BEFORE_S: Final = 4.0
"""So many seconds of what was heard before are compared with a window: their mean."""
_NEW: Final = 9.0
"""Where the past is forgotten about half as fast as it gets: seldom reached within a piece."""
_SOFTNESS: Final = 3.0
"""How far about it the pace goes from slow to fast."""
FASTEST: Final = 60.0
"""The pace of sound that cannot be of the same piece."""


def scores(probabilities: npt.NDArray[np.floating]) -> Scores:
    """Log-probabilities less their mean, of windows (..., classes): logits, whatever was added to all of them."""
    logs = np.log(np.maximum(probabilities, _TINY, dtype=np.float64))
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))


def pace(novelty: float) -> float:
    """How many times as fast as its half-life says the vote is to forget: 1 unless another piece is the likelier."""
    if novelty <= 0.0:
        return 1.0
    none, share = (0.5 + 0.5 * math.tanh((each - _NEW) / (2.0 * _SOFTNESS)) for each in (0.0, novelty))
    return 1.0 + (FASTEST - 1.0) * (share - none) / (1.0 - none)


class Before:
    """Sets the scores of each window, ``window_s`` long, against the mean of those of some seconds before: of windows
    that are at least a window older, and so share no sound with it."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s * (1 - 1e-6)
        self.reset()

    def reset(self) -> None:
        """Forget everything: another source."""
        self._at_s = 0.0
        self._near: deque[tuple[float, Scores]] = deque()
        self._before: deque[tuple[float, Scores]] = deque()

    def difference(self, heard: Scores, *, elapsed_s: float) -> Scores | None:
        """By how much a window's scores (n,), ``elapsed_s`` seconds of sound after the previous one's, differ from
        those before; None where there are none."""
        self._at_s += elapsed_s
        self._near.append((self._at_s, heard))
        while self._near[0][0] <= self._at_s - self._window_s:
            self._before.append(self._near.popleft())
        # After a gap those before are all old, and the newest is left to compare with.
        while len(self._before) > 1 and self._before[0][0] <= self._at_s - self._window_s - _BEFORE_S:
            self._before.popleft()
        if not self._before:
            return None
        return np.asarray(heard - np.mean([each for _, each in self._before], axis=0))


class Novelty:
    """How new each window of ``window_s`` seconds sounds to a model, if its card has a ``spec`` for it: the logarithm
    of how much likelier another piece is to differ so from what was heard before than the same one."""

    def __init__(self, spec: NoveltySpec | None, window_s: float) -> None:
        self._spec = spec
        self._weights = np.array(() if spec is None else spec.weights)
        self._before = Before(window_s)

    def reset(self) -> None:
        """Forget everything: another source."""
        self._before.reset()

    def update(self, probabilities: Mapping[str, FloatArray], *, elapsed_s: float) -> float:
        """The novelty of a window with these probabilities (classes,) of each head, ``elapsed_s`` seconds of sound
        after the previous one; minus infinity where there is nothing to set it against."""
        if self._spec is None:
            return -math.inf
        heard = np.concatenate([scores(probabilities[name]) for name in self._spec.heads])
        moved = self._before.difference(heard, elapsed_s=elapsed_s)
        return -math.inf if moved is None else float(moved @ self._weights @ moved - self._spec.bias) / 2.0
