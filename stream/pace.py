"""Audio by the clock: what comes faster than it sounds is held back until it is due."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Iterator

import numpy as np

from models.errors import ConfigError
from stream.source import Chunk, FloatArray
from stream.threaded_source import Run

MAX_SPEED = math.inf
"""As fast as it can be scored."""

NEAR_REAL_TIME = 1.001
"""For audio that others send at the pace of their clock, some of it ahead: played a little faster than by ours, what
has gathered grows less instead of more, whichever of the clocks is the faster."""

BLOCK_S = 0.01
"""Length of one delivery on the clock."""

LONGEST_BLOCK_S = 0.25
"""Length of one delivery in audio, however fast."""


def parse_speed(text: str) -> float:
    """A speed as a user gives it: a factor of real time, or ``max``.

    Raises:
        ConfigError: neither ``max`` nor a number above 0.
    """
    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0.0 < speed < math.inf:
        raise ConfigError(f"speed: expected 'max' or a number above 0 (1 is real time), got {text!r}")
    return speed


def block_frames(sample_rate_hz: int, speed: float) -> int:
    """How many frames to deliver at once: 10 ms of clock, and no more than 250 ms of audio."""
    return max(1, round(min(BLOCK_S * speed, LONGEST_BLOCK_S) * sample_rate_hz))


class Pace:
    """Tells when audio is due: the clock is the count of frames, at ``speed`` times real time, from the first one on.

    Whoever is late is served at once until caught up; who is later than ``max_lag_s`` (a laptop that slept) goes on
    from now on instead, so that a backlog never comes as one burst. Everything is due ``ahead_s`` seconds before it has
    sounded: so much of it may come at once.
    """

    def __init__(
        self, sample_rate_hz: int, *, speed: float = 1.0, max_lag_s: float = 1.0, ahead_s: float = 0.0
    ) -> None:
        self._frames_per_s = sample_rate_hz * speed
        self._max_lag_s = max_lag_s
        self._ahead_s = ahead_s
        self._start: float | None = None
        self._frames = 0

    def due(self, frames: int) -> float:
        """When the last of the next ``frames`` frames is due, as ``time.monotonic()``; counts them as delivered."""
        now = time.monotonic()
        if self._start is None:
            self._start = now
        self._frames += frames
        due = self._start + self._frames / self._frames_per_s - self._ahead_s
        if now - due > self._max_lag_s or math.isinf(self._frames_per_s):
            self._start, self._frames, due = now, 0, now
        return due


def blocks_of(pieces: Iterable[tuple[FloatArray, int]], frames: int) -> Iterator[tuple[FloatArray, int]]:
    """Cut pieces of audio (samples (n, channels), frames lost before them) to blocks of ``frames`` frames.

    A block ends early where audio is missing, where the number of channels changes, and at the end.
    """
    held: list[FloatArray] = []
    held_frames = 0
    lost = 0
    for samples, lost_before in pieces:
        if held and (lost_before or held[0].shape[1] != samples.shape[1]):
            yield np.concatenate(held), lost
            held, held_frames, lost = [], 0, 0
        lost += lost_before
        rest = samples
        while held_frames + len(rest) >= frames:
            need = frames - held_frames
            yield (np.concatenate([*held, rest[:need]]) if held else rest[:need]), lost
            held, held_frames, lost = [], 0, 0
            rest = rest[need:]
        if len(rest):
            held.append(rest)
            held_frames += len(rest)
    if held:
        yield np.concatenate(held), lost


def play(pieces: Iterable[tuple[FloatArray, int]], run: Run, *, sample_rate_hz: int, speed: float) -> Generator[Chunk]:
    """Pieces of audio (samples, frames lost before them) as chunks, each when it is due, until ``run`` is stopped."""
    pace = Pace(sample_rate_hz, speed=speed)
    for samples, lost in blocks_of(pieces, block_frames(sample_rate_hz, speed)):
        due = pace.due(len(samples) + lost)
        if not run.sleep_until(due):
            return
        yield Chunk(samples, captured_at=due, lost=lost)
