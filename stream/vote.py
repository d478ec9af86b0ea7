"""The running vote: from a probability for each window to a label that a person can watch.

An exponentially smoothed posterior with its memory stated as a half-life in seconds, read with hysteresis: a label
enters at one threshold, leaves at a lower one, and is held for a minimum time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import ConfigError
from models.smoothing import DEFAULT_HALF_LIFE_S, kept
from models.spec import Head

FloatArray = npt.NDArray[np.float32]

MIN_HOLD_S = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """The vote after one window: ``label`` is an index into the head's labels, or None if nothing is likely enough;
    ``confidence`` is the smoothed probability of that label (of the likeliest, where there is none); ``smoothed``
    (classes,) sums to 1."""

    label: int | None
    confidence: float
    smoothed: FloatArray


def step_delay_s(half_life_s: float, threshold: float) -> float:
    """Seconds until a class that jumps from probability 0 to 1 has a smoothed probability of ``threshold``."""
    return half_life_s * -math.log2(1.0 - threshold)


class RunningVote:
    """One head's vote over time."""

    def __init__(self, head: Head, *, half_life_s: float = DEFAULT_HALF_LIFE_S, min_hold_s: float = MIN_HOLD_S) -> None:
        self._head = head
        self._min_hold_s = min_hold_s
        self.half_life_s = half_life_s
        self.reset()

    @property
    def half_life_s(self) -> float:
        """Seconds after which a window's weight has halved; may be changed at any time."""
        return self._half_life_s

    @half_life_s.setter
    def half_life_s(self, seconds: float) -> None:
        self._half_life_s = checked_half_life(seconds)

    @property
    def smoothed(self) -> FloatArray | None:
        """The smoothed posterior (classes,); None before the first window."""
        return None if self._smoothed is None else self._smoothed.astype(np.float32)

    def reset(self) -> None:
        """Forget everything: another source."""
        self._smoothed: npt.NDArray[np.float64] | None = None
        self._label: int | None = None
        self._held_s = 0.0

    def update(self, probabilities: FloatArray, *, elapsed_s: float) -> Standing:
        """Take one window's probabilities (classes,), ``elapsed_s`` seconds of sound after the previous one's."""
        new = probabilities.astype(np.float64)
        new /= new.sum()
        if self._smoothed is None:
            self._smoothed = new
        else:
            keep = kept(elapsed_s, self._half_life_s)
            self._smoothed = keep * self._smoothed + (1.0 - keep) * new
        self._held_s += elapsed_s
        self._decide(self._smoothed)
        leader = int(self._smoothed.argmax()) if self._label is None else self._label
        return Standing(self._label, float(self._smoothed[leader]), self._smoothed.astype(np.float32))

    def _decide(self, smoothed: npt.NDArray[np.float64]) -> None:
        if self._label is not None and self._held_s < self._min_hold_s:
            return
        leader = int(smoothed.argmax())
        label: int | None = self._label
        if smoothed[leader] >= self._head.enter:
            label = leader
        elif label is not None and smoothed[label] < self._head.leave:
            label = None
        if label != self._label:
            self._label = label
            self._held_s = 0.0


def checked_half_life(seconds: float) -> float:
    """``seconds``, if it can be a half-life.

    Raises:
        ConfigError: it is not a positive number.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"expected a half-life of more than 0 seconds, and not for ever, got {seconds:g}")
    return seconds
