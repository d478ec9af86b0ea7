"""The running vote: from a probability for each window to a label that a person can watch.

An average that forgets exponentially, its memory stated as a half-life in seconds; where the sound is new it forgets
many times as fast (``models.novelty``). Steady while a piece goes on, quick when another begins. Here and not in
``stream``, because confidence is calibrated in training for the vote that runs live.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
import numpy.typing as npt

from models.half_life import DEFAULT_HALF_LIFE_S, checked_half_life
from models.spec import Head

FloatArray = npt.NDArray[np.float32]

_AT_ONCE: Final = 3.0
"""Half-lives by which a window of new sound ages what was before, at most: a word or a cough takes no label."""
_LEAD: Final = 0.55
"""By how much more probability a label takes the place of the one shown last: most of what there is."""
_LEAD_IN_PIECE: Final = 0.15
"""Or by so much in the mean of a piece of which enough has been heard."""
_ENOUGH: Final = 5.0
"""Half-lives of it that are enough, by weight."""
_LONG: Final = 10.0
"""The memory of a piece is so many times as long; after a gap of so many half-lives nobody remembers the last label,
and after being less likely for as long half of the lead in the piece will do."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The vote after one window: ``label`` is an index into the head's labels, or None if nothing is likely enough;
    ``confidence`` is the smoothed probability of that label (of the likeliest, where there is none); ``smoothed``
    (classes,) sums to 1."""

    label: int | None
    confidence: float
    smoothed: FloatArray


def change_s(half_life_s: float, *, hop_s: float, pace: float, enter: float) -> float:
    """After so many seconds of windows ``hop_s`` apart the vote has turned to another class that they are sure of from
    one to the next, and that enters at ``enter``, in sound that makes it forget ``pace`` times as fast as its half-life
    says."""
    if enter >= 1.0:
        return math.inf
    passed = hop_s / half_life_s
    kept = 2.0 ** -(passed + min((pace - 1.0) * passed, _AT_ONCE))
    old, new = hop_s / (1.0 - 2.0**-passed), 0.0
    for windows in count(1):  # noqa: B007  # it is what is looked for
        old, new = old * kept, new * kept + hop_s
        share = new / (old + new)
        if share >= enter and 2.0 * share - 1.0 > _LEAD:
            break
    return windows * hop_s


class _Mean:
    """A mean of probabilities (classes,), weighted by seconds, that forgets exponentially."""

    def __init__(self, classes: int) -> None:
        self.value = np.zeros(classes)
        self.weight_s = 0.0

    def take(self, new: npt.NDArray[np.float64], *, seconds: float, half_lives: float) -> None:
        """Add something of so many seconds, so many half-lives after what came before it."""
        self.weight_s *= 2.0**-half_lives
        self.weight_s += seconds
        self.value = self.value + (new - self.value) * (seconds / self.weight_s)


class RunningVote:
    """One head's vote over time, on windows ``hop_s`` seconds apart.

    The smoothed posterior is the mean of the windows, weighted by seconds and by how many half-lives ago they were. A
    label enters where it is the likeliest and reaches the head's ``enter``, and is given up below ``leave``. Then it
    stands: a piece seldom becomes another genre, and what sounds so for some windows is mostly a mistake. Another must
    lead it by far, as it does soon after the sound was new and the past forgotten, or lead it in the mean of all that
    has been heard of the piece, once that is enough.
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
        return self._recent.value.astype(np.float32) if self._recent.weight_s else None

    def reset(self) -> None:
        """Forget everything: another source."""
        self._recent, self._piece = (_Mean(len(self._head.labels)) for _ in range(2))
        self._label: int | None = None
        self._last: int | None = None  # the label shown last
        self._heard = 0.0  # half-lives since the beginning, or a gap after which nobody remembers what was before
        self._doubted_s = 0.0  # by how much longer it has not been the likeliest than it has

    def update(self, probabilities: FloatArray, *, elapsed_s: float, aged_s: float | None = None) -> Standing:
        """Take one window's probabilities (classes,), ``elapsed_s`` seconds of sound after the previous one's. What was
        heard before has aged by as much or, where the sound is new, by the more that ``aged_s`` says."""
        new = probabilities.astype(np.float64)
        new /= new.sum()
        # After a gap much is forgotten, but the window is no longer than others, and proves no more.
        window_s = min(elapsed_s, self._hop_s) if self._recent.weight_s else self._hop_s
        passed = elapsed_s / self._half_life_s
        by_newness = 0.0 if aged_s is None else min((aged_s - elapsed_s) / self._half_life_s, _AT_ONCE)
        self._recent.take(new, seconds=window_s, half_lives=passed + by_newness)
        self._piece.take(new, seconds=window_s, half_lives=passed / _LONG + by_newness)
        self._heard = window_s / self._half_life_s + (0.0 if passed >= _LONG else self._heard)
        self._decide(elapsed_s)
        smoothed = self._recent.value
        shown = int(smoothed.argmax()) if self._label is None else self._label
        return Standing(self._label, float(smoothed[shown]), smoothed.astype(np.float32))

    def _decide(self, elapsed_s: float) -> None:
        smoothed = self._recent.value
        leader = int(smoothed.argmax())
        self._doubted_s = max(0.0, self._doubted_s + (elapsed_s if leader != self._last else -elapsed_s))
        if leader != self._label and smoothed[leader] >= self._head.enter and self._may_follow(leader):
            if self._lead(self._recent, leader) > _LEAD:
                # Another piece, also where nobody heard it begin: the mean of the one before must not take it back.
                self._piece = copy(self._recent)
            self._label = self._last = leader
            self._doubted_s = 0.0
        elif self._label is not None and smoothed[self._label] < self._head.leave:
            self._label = None

    def _may_follow(self, leader: int) -> bool:
        """Whether it leads the label shown last by enough, or that is the first impression of the first moments."""
        if self._last is None or leader == self._last or self._heard < 1.0:
            return True
        enough = self._piece.weight_s >= _ENOUGH * self._half_life_s
        in_piece = _LEAD_IN_PIECE * 2.0 ** (-self._doubted_s / (_LONG * self._half_life_s))
        return self._lead(self._recent, leader) > _LEAD or (enough and self._lead(self._piece, leader) > in_piece)

    def _lead(self, mean: _Mean, leader: int) -> float:
        """By how much it leads the label shown last."""
        return 0.0 if self._last is None else float(mean.value[leader] - mean.value[self._last])


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
