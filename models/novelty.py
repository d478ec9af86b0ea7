"""How new the sound is: by what all heads say of it now and said just before. The running vote forgets by it.

A novelty function sets what is heard after a moment against what was heard before it (Foote 2000, "Automatic audio
segmentation using a measure of audio novelty"). Here the two are windows that follow each other, and what is
compared is the network's answers: two pieces that are named alike still differ in how likely the other labels are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from models.spec import ModelCard
from models.vote import FloatArray

_TINY: Final = 1e-6
"""Probabilities below count as this much: single precision knows no better."""
_NEW: Final = 1.2
"""From this novelty on the past is forgotten faster: seldom reached within a piece, where it is about 1."""
_STEEPNESS: Final = 8
"""How fast it grows from there: by half as much again it is as fast as it gets."""
FASTEST: Final = 24.0
"""One window does not wipe out the memory at the default half-life, however new it sounds: a word, a cough."""


def scores(probabilities: FloatArray) -> npt.NDArray[np.float64]:
    """Log-probabilities less their mean, of windows (..., classes): logits, whatever was added to all of them."""
    logs = np.log(np.maximum(probabilities, _TINY, dtype=np.float64))
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))


def pace(novelty: float) -> float:
    """How many times as fast as its half-life says the vote is to forget, 1 or more."""
    return float(np.clip(novelty / _NEW, 1.0, FASTEST ** (1 / _STEEPNESS)) ** _STEEPNESS)


class Novelty:
    """Sets each window against the newest one that is at least a window older, and so shares no sound with it.

    The novelty of a window is the root mean square of the differences of ``scores``, over the labels of all heads that
    have a ``spread``, each in units of its head's: about 1 while a piece goes on.
    """

    def __init__(self, card: ModelCard) -> None:
        self._spreads = {head.name: head.spread for head in card.heads if head.spread is not None}
        self._window_s = card.window_seconds
        self.reset()

    def reset(self) -> None:
        """Forget everything: another source."""
        self._at_s = 0.0
        self._heard: deque[tuple[float, npt.NDArray[np.float64]]] = deque()

    def update(self, probabilities: Mapping[str, FloatArray], *, elapsed_s: float) -> float:
        """The novelty of a window with these probabilities (classes,) of each head, ``elapsed_s`` seconds of sound
        after the previous one; 0 where there is none to set it against."""
        if not self._spreads:
            return 0.0
        self._at_s += elapsed_s
        now = np.concatenate([scores(probabilities[name]) / spread for name, spread in self._spreads.items()])
        self._heard.append((self._at_s, now))
        apart = self._at_s - self._window_s * (1 - 1e-6)
        while len(self._heard) > 1 and self._heard[1][0] <= apart:
            self._heard.popleft()
        at_s, before = self._heard[0]
        return float(np.sqrt(np.mean((now - before) ** 2))) if at_s <= apart else 0.0
