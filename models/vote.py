"""The running vote: from a probability for each window to a label that a person can watch.

An average that forgets exponentially, its memory stated as a half-life in seconds; where the sound is new it forgets
many times as fast (``models.novelty``). Steady while a piece goes on, quick when another begins. Here and not in
``stream``, because confidence is calibrated in training for the vote that runs live.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.half_life import DEFAULT_HALF_LIFE_S, checked_half_life
from models.spec import Head

FloatArray = npt.NDArray[np.float32]

_LEAD: Final = 0.6
"""By how much more probability a label takes the place of the one shown last: most of what there is."""
_YIELDS: Final = 2.0
"""Half-lives of not being the likeliest after which the one shown last is followed for half of that lead."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The vote after one window: ``label`` is an index into the head's labels, or None if nothing is likely enough;
    ``confidence`` is the smoothed probability of that label (of the likeliest, where there is none); ``smoothed``
    (classes,) sums to 1."""

    label: int | None
    confidence: float
    smoothed: FloatArray


def change_s(half_life_s: float, *, pace: float, enter: float) -> float:
    """Within so many seconds the vote turns to another class that the windows are sure of from one moment to the next,
    and that enters at ``enter``, in sound that makes it forget ``pace`` times as fast as its half-life says."""
    if enter >= 1.0:
        return math.inf
    new_to_old = max((1.0 + _LEAD) / (1.0 - _LEAD), enter / (1.0 - enter))
    # When it begins to forget faster, the memory is full: of so many times the windows that it will come to hold.
    return half_life_s / pace * math.log2(1.0 + pace * new_to_old)


class RunningVote:
    """One head's vote over time, on windows ``hop_s`` seconds apart.

    The smoothed posterior is the mean of the windows, weighted by seconds and by how many half-lives ago they were. A
    label enters where it is the likeliest and reaches the head's ``enter``, and is given up below ``leave``. To follow
    another it must lead it by far, or for long: soon after a change the mean is of few windows, and the first of them
    are of both pieces.
    """

    def __init__(self, head: Head, *, hop_s: float, half_life_s: float = DEFAULT_HALF_LIFE_S) -> None:
        self._head = head
        self._hop_s = hop_s
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
        return self._smoothed.astype(np.float32) if self._weight_s else None

    def reset(self) -> None:
        """Forget everything: another source."""
        self._smoothed = np.zeros(len(self._head.labels))
        self._weight_s = 0.0
        self._label: int | None = None
        self._last: int | None = None  # the label shown last
        self._doubted_s = 0.0  # by how much longer it has not been the likeliest than it has

    def update(self, probabilities: FloatArray, *, elapsed_s: float, aged_s: float | None = None) -> Standing:
        """Take one window's probabilities (classes,), ``elapsed_s`` seconds of sound after the previous one's. What was
        heard before has aged by as much or, where the sound is new, by the more that ``aged_s`` says."""
        new = probabilities.astype(np.float64)
        new /= new.sum()
        # After a gap much is forgotten, but the window is no longer than others, and proves no more.
        window_s = min(elapsed_s, self._hop_s) if self._weight_s else self._hop_s
        self._weight_s *= 2.0 ** (-(elapsed_s if aged_s is None else aged_s) / self._half_life_s)
        self._weight_s += window_s
        self._smoothed += (new - self._smoothed) * (window_s / self._weight_s)
        self._decide(elapsed_s)
        shown = int(self._smoothed.argmax()) if self._label is None else self._label
        return Standing(self._label, float(self._smoothed[shown]), self._smoothed.astype(np.float32))

    def _decide(self, elapsed_s: float) -> None:
        leader = int(self._smoothed.argmax())
        self._doubted_s = max(0.0, self._doubted_s + (elapsed_s if leader != self._last else -elapsed_s))
        if leader != self._label and self._smoothed[leader] >= self._head.enter and self._may_follow(leader):
            self._label = self._last = leader
            self._doubted_s = 0.0
        elif self._label is not None and self._smoothed[self._label] < self._head.leave:
            self._label = None

    def _may_follow(self, leader: int) -> bool:
        """Whether it leads the label shown last by enough."""
        if self._last is None or leader == self._last:
            return True
        lead = _LEAD * 2.0 ** (-self._doubted_s / (_YIELDS * self._half_life_s))
        return bool(self._smoothed[leader] - self._smoothed[self._last] > lead)


class VoteClock:
    """How much time the vote has to forget: ``hop_s`` seconds apart, looks at silence do not count, gaps do."""

    def __init__(self, hop_s: float) -> None:
        self._hop_s = hop_s
        self.reset()

    def reset(self) -> None:
        """Begin anew: another source."""
        self._last_s: float | None = None
        self._unvoted_s = 0.0

    def look(self, at_s: float, *, silent: bool) -> None:
        """A look is due at so many seconds."""
        if self._last_s is not None:
            passed_s = at_s - self._last_s
            self._unvoted_s += max(0.0, passed_s - self._hop_s) if silent else passed_s
        self._last_s = at_s

    def take(self) -> float:
        """Seconds since the last window that was voted on, which this one is."""
        elapsed_s, self._unvoted_s = self._unvoted_s, 0.0
        return elapsed_s
