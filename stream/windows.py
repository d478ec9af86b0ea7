"""Frames to windows: when to look, and what the network then sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.spec import ModelCard
from models.windowing import tile
from stream.level import BoolArray, FloatArray

ACTIVE_SHARE = 0.5
"""Where less than this share of the frames is active it is silent: a label would be about what is no longer there."""

GATE_S = 2.8
"""What is newest decides whether there is silence, so much of it: a long window would go on about music long over.
One that waits to be whole, and is at most twice as long, is itself what decides."""

FIRST_LOOK_S = 2.8
"""Where a network was trained on short audio, repeated, it need not wait for a long window: so much of it is enough."""


@dataclass(frozen=True, slots=True)
class Look:
    """A moment at which a verdict is due.

    ``end`` is the absolute index one past the window's last sample. ``features`` is what the network sees, (bands,
    frames) of each of its inputs; None while there is too little unbroken sound for it. ``heard_samples`` is how much
    there is, at most the window. ``silent`` if most of what is newest is: then there is nothing to see.
    """

    end: int
    features: tuple[FloatArray, ...] | None
    heard_samples: int
    silent: bool


def first_look_s(card: ModelCard) -> float:
    """Seconds of unbroken sound after which there is a first look, at what may be a part of the window."""
    return card.clock.samples_for(_frames_enough(card)) / card.clock.sample_rate_hz


def _frames_enough(card: ModelCard) -> int:
    size = card.window.frames
    return min(size, card.clock.frames_nearest(FIRST_LOOK_S)) if card.window.short == "tile" else size


def _gate_frames(card: ModelCard) -> int:
    """The newest frames that decide whether there is silence."""
    # A window a little longer than the gate, most of it silent but not of the gate, would have no label for a moment.
    if card.window.short == "wait" and card.window_seconds <= 2 * GATE_S:
        return card.window.frames
    return min(card.window.frames, card.clock.frames_nearest(GATE_S))


class Windows:
    """Cuts the frames of one channel into windows, one every ``hop_frames``, each wholly inside unbroken audio.

    A window is the longest end of the newest audio that is not mostly silent: after a long rest a long window fills
    anew, as after a gap. Windows of up to ``2 * GATE_S`` that are never filled by repeating are either silent or whole.
    """

    def __init__(self, card: ModelCard, *, hop_frames: int) -> None:
        self._clock = card.clock
        self._bands = [spec.bands for spec in card.inputs]
        self._hop = hop_frames
        self._size = card.window.frames
        self._enough = _frames_enough(card)
        self._gate = _gate_frames(card)
        self.reset(0)

    def reset(self, start: int) -> None:
        """Begin afresh: the next frame is the first, and starts at absolute sample ``start``."""
        self._start = start
        self._count = 0  # frames since the reset
        self._frames: list[FloatArray] = [np.empty((0, bands), dtype=np.float32) for bands in self._bands]
        self._active: BoolArray = np.empty(0, dtype=np.bool_)
        self._active_from = 0  # which hop since the reset _active[0] is about

    @property
    def hop_samples(self) -> int:
        """Samples between two looks."""
        return self._hop * self._clock.hop_samples

    @property
    def samples_until_due(self) -> int:
        """How far the audio since the reset must go on (in samples from ``start``) for the next look to be due."""
        return self._clock.samples_for(self._due())

    def feed(self, frames: Sequence[FloatArray], active: BoolArray) -> list[Look]:
        """Take new frames of each input, (n, bands), and the activity of new hops (m,); return the looks now due.

        Hops are shorter than frames, so activity runs ahead of the frames by a few.
        """
        self._active = np.concatenate([self._active, active])
        new = len(frames[0])
        if not new:
            return []
        held_from = self._count - len(self._frames[0])
        held = [np.concatenate(pair) for pair in zip(self._frames, frames, strict=True)]
        self._count += new
        looks = []
        due = self._due_after(self._count - new)
        while due <= self._count:
            looks.append(self._look(due, held, held_from))
            due += self._hop
        keep = min(self._size - 1, self._count)
        self._frames = [each[len(each) - keep :].copy() for each in held]
        oldest = self._count - keep
        self._active = self._active[oldest - self._active_from :]
        self._active_from = oldest
        return looks

    def _due(self) -> int:
        return self._due_after(self._count)

    def _due_after(self, count: int) -> int:
        # Looks fall on the grid that has one at exactly the first full window, also while that still fills.
        return count + 1 + (self._size - count - 1) % self._hop

    def _look(self, due: int, held: Sequence[FloatArray], held_from: int) -> Look:
        end = self._start + self._clock.samples_for(due)
        active = self._active[max(0, due - self._size) - self._active_from : due - self._active_from]
        if active[-self._gate :].mean() < ACTIVE_SHARE:
            return Look(end, None, 0, silent=True)
        heard = _longest_active_end(active)
        heard_samples = self._clock.samples_for(heard)
        if heard < self._enough:
            return Look(end, None, heard_samples, silent=False)
        seen = [each[due - heard - held_from : due - held_from] for each in held]
        windows = tuple(np.ascontiguousarray(tile(each, self._size).T) for each in seen)
        return Look(end, windows, heard_samples, silent=False)


def _longest_active_end(active: BoolArray) -> int:
    """How many of the last frames of ``active`` (n,) can be taken at most if no more than half of them may be silent.

    The newest are active enough: the gate has seen to it.
    """
    from_the_end = np.cumsum(active[::-1])
    enough = from_the_end >= ACTIVE_SHARE * np.arange(1, len(active) + 1)
    return int(np.flatnonzero(enough)[-1]) + 1
