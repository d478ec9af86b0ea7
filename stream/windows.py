"""Frames to windows: when to look, and what the network then sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.spec import ModelCard
from stream.level import BoolArray, FloatArray

ACTIVE_SHARE = 0.5
"""A window with less than this share of active frames is silence: its label would be about what is no longer there."""


@dataclass(frozen=True, slots=True)
class Look:
    """A moment at which a verdict is due.

    ``end`` is the absolute index one past the window's last sample. ``features`` (n_mels, frames) is what the network
    sees; None while there has been less than one window of unbroken audio. ``silent`` if most of it is.
    """

    end: int
    features: FloatArray | None
    silent: bool


class Windows:
    """Cuts the frames of one channel into windows, one every ``hop_frames``, each wholly inside unbroken audio."""

    def __init__(self, card: ModelCard, *, hop_frames: int) -> None:
        self._card = card
        self._hop = hop_frames
        self._size = card.window.frames
        self.reset(0)

    def reset(self, start: int) -> None:
        """Begin afresh: the next frame is the first, and starts at absolute sample ``start``."""
        self._start = start
        self._count = 0  # frames since the reset
        self._frames: FloatArray = np.empty((0, self._card.features.n_mels), dtype=np.float32)
        self._active: BoolArray = np.empty(0, dtype=np.bool_)
        self._active_from = 0  # which hop since the reset _active[0] is about

    @property
    def hop_samples(self) -> int:
        """Samples between two looks."""
        return self._hop * self._card.features.hop_samples

    @property
    def samples_until_due(self) -> int:
        """How far the audio since the reset must go on (in samples from ``start``) for the next look to be due."""
        return self._card.features.samples_for(self._due())

    def feed(self, frames: FloatArray, active: BoolArray) -> list[Look]:
        """Take new frames (n, n_mels) and the activity of new hops (m,); return the looks that are now due.

        Hops are shorter than frames, so activity runs ahead of the frames by a few.
        """
        self._active = np.concatenate([self._active, active])
        if not len(frames):
            return []
        held = np.concatenate([self._frames, frames])
        held_from = self._count - len(self._frames)
        self._count += len(frames)
        looks = []
        due = self._due_after(self._count - len(frames))
        while due <= self._count:
            looks.append(self._look(due, held, held_from))
            due += self._hop
        keep = self._size - 1
        self._frames = held[-keep:].copy() if keep else held[:0]
        oldest = max(0, self._count - keep)
        self._active = self._active[oldest - self._active_from :]
        self._active_from = oldest
        return looks

    def _due(self) -> int:
        return self._due_after(self._count)

    def _due_after(self, count: int) -> int:
        # Looks fall on the grid that has one at exactly the first full window, also while that still fills.
        return count + 1 + (self._size - count - 1) % self._hop

    def _look(self, due: int, held: FloatArray, held_from: int) -> Look:
        first = due - self._size
        end = self._start + self._card.features.samples_for(due)
        seen = self._active[max(0, first) - self._active_from : due - self._active_from]
        silent = float(seen.mean()) < ACTIVE_SHARE
        if first < 0:
            return Look(end, None, silent)
        return Look(end, np.ascontiguousarray(held[first - held_from : due - held_from].T), silent)
