"""Frames to windows: when to look, and what the network then sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.spec import ModelCard
from models.windowing import tile
from stream.level import BoolArray, FloatArray

ACTIVE_SHARE = 0.5
"""A window with less than this share of active frames is silence: its label would be about what is no longer there."""

FIRST_LOOK_S = 2.8
"""Where a network was trained on short audio, repeated, it need not wait for a long window: so much of it is enough."""


@dataclass(frozen=True, slots=True)
class Look:
    """A moment at which a verdict is due.

    ``end`` is the absolute index one past the window's last sample. ``features`` is what the network sees, (bands,
    frames) of each of its inputs; None while there is too little unbroken audio for it. ``whole`` is False while there
    has been less than one window. ``silent`` if most of it is.
    """

    end: int
    features: tuple[FloatArray, ...] | None
    whole: bool
    silent: bool


class Windows:
    """Cuts the frames of one channel into windows, one every ``hop_frames``, each wholly inside unbroken audio."""

    def __init__(self, card: ModelCard, *, hop_frames: int) -> None:
        self._clock = card.clock
        self._bands = [spec.bands for spec in card.inputs]
        self._hop = hop_frames
        self._size = card.window.frames
        tiled = card.window.short == "tile"
        self._enough = min(self._size, card.clock.frames_nearest(FIRST_LOOK_S)) if tiled else self._size
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
        first = max(0, due - self._size)
        end = self._start + self._clock.samples_for(due)
        silent = float(self._active[first - self._active_from : due - self._active_from].mean()) < ACTIVE_SHARE
        whole = due >= self._size
        if due < self._enough:
            return Look(end, None, whole, silent)
        seen = [each[first - held_from : due - held_from] for each in held]
        windows = tuple(np.ascontiguousarray((each if whole else tile(each, self._size)).T) for each in seen)
        return Look(end, windows, whole, silent)
