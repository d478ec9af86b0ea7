"""The running vote: from a probability for each window to a label that a person can watch.

An average that forgets exponentially, its memory stated as a half-life in seconds, and a detector of changes that cuts
the memory short when the music changes: fast then, steady otherwise. Here and not in ``stream``, because confidence is
calibrated in training for the vote that runs live.
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

_EVIDENCE_OF_HALF_LIFE: Final = 0.5
"""What a rival must gather to be a change, in nats times seconds, for each second of the half-life."""
_DRIFT: Final = 0.3
"""What it loses meanwhile, in nats: to be a little likelier now and then is no change."""
_FLOOR: Final = 0.01
"""Probabilities below count as this much, so that a window's evidence is bounded: 4.3 nats, however sure it is."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The vote after one window: ``label`` is an index into the head's labels, or None if nothing is likely enough;
    ``confidence`` is the smoothed probability of that label (of the likeliest, where there is none); ``smoothed``
    (classes,) sums to 1."""

    label: int | None
    confidence: float
    smoothed: FloatArray


def change_delay_s(half_life_s: float, odds: float) -> float:
    """Seconds until the vote turns to a class that the windows find ``odds`` times as likely as the one before, from
    one moment to the next; infinite where the difference is too small to be a change."""
    gain = math.log(odds) - _DRIFT
    return _EVIDENCE_OF_HALF_LIFE * half_life_s / gain if gain > 0 else math.inf


class RunningVote:
    """One head's vote over time, on windows ``hop_s`` seconds apart.

    The smoothed posterior is the mean of the windows since the last change, weighted by seconds and by how many
    half-lives ago they were. A change is found by a cumulative sum for each class (Page 1954) of how much likelier it
    is than the present one: where one passes its threshold, the windows since it last was zero are those after the
    change, and the memory becomes their mean. A label enters at the head's ``enter`` and is given up below ``leave``;
    another takes its place at a change only.
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
        self._oppose(0)

    def _oppose(self, present: int) -> None:
        """Rivals begin to gather evidence against this class."""
        classes = len(self._head.labels)
        self._present = present
        self._evidence = np.zeros(classes)  # nats times seconds that each class has gathered against it
        self._since = np.zeros((classes, classes))  # sum of the windows since it began to, times their seconds
        self._since_s = np.zeros(classes)

    def update(self, probabilities: FloatArray, *, elapsed_s: float) -> Standing:
        """Take one window's probabilities (classes,), ``elapsed_s`` seconds of sound after the previous one's."""
        new = probabilities.astype(np.float64)
        new /= new.sum()
        # After a gap much is forgotten, but the window is no longer than others, and proves no more.
        window_s = min(elapsed_s, self._hop_s) if self._weight_s else self._hop_s
        kept = 2.0 ** (-elapsed_s / self._half_life_s)
        self._weight_s = self._weight_s * kept + window_s
        self._smoothed += (new - self._smoothed) * (window_s / self._weight_s)
        present = int(self._smoothed.argmax()) if self._label is None else self._label
        if present != self._present:
            self._oppose(present)
        changed = self._watch_for_change(new, window_s, kept, missed_s=elapsed_s - window_s)
        self._decide(changed=changed)
        leader = int(self._smoothed.argmax()) if self._label is None else self._label
        return Standing(self._label, float(self._smoothed[leader]), self._smoothed.astype(np.float32))

    def _watch_for_change(self, new: npt.NDArray[np.float64], window_s: float, kept: float, *, missed_s: float) -> bool:
        logs = np.log(np.maximum(new, _FLOOR))
        gathered = self._evidence * 2.0 ** (-missed_s / self._half_life_s)
        self._evidence = np.maximum(0.0, gathered + (logs - logs[self._present] - _DRIFT) * window_s)
        gathering = self._evidence > 0.0
        self._since = np.where(gathering[:, np.newaxis], self._since * kept + new * window_s, 0.0)
        self._since_s = np.where(gathering, self._since_s * kept + window_s, 0.0)
        rival = int(self._evidence.argmax())
        if self._evidence[rival] <= _EVIDENCE_OF_HALF_LIFE * self._half_life_s:
            return False
        self._weight_s = float(self._since_s[rival])
        self._smoothed = self._since[rival] / self._weight_s
        return True

    def _decide(self, *, changed: bool) -> None:
        leader = int(self._smoothed.argmax())
        label = self._label
        if label is None or (changed and leader != label):
            label = leader if self._smoothed[leader] >= self._head.enter else None
        elif self._smoothed[label] < self._head.leave:
            label = None
        if changed or label != self._label:
            self._oppose(leader if label is None else label)
        self._label = label


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
