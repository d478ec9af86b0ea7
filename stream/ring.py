"""The ring between a source and the engine: fixed size, one writer, one reader, and an exact account of what is lost.

Positions are absolute sample indices. A gap (samples known to be missing) and an overrun (samples overwritten before
they were read) both show as a jump in the index, so a reader needs one rule: what does not follow on starts afresh.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import ConfigError

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples (n,); the first has absolute index ``start``.

    ``captured_at`` is the ``time.monotonic()`` of the last one. ``reason`` says why samples before it are missing, if
    they are.
    """

    start: int
    samples: FloatArray
    captured_at: float
    reason: str = ""

    @property
    def end(self) -> int:
        """Absolute index one past the last sample."""
        return self.start + len(self.samples)


@dataclass(slots=True)
class _Written:
    """Samples that one write put in: ``length`` of them from absolute index ``start`` on."""

    start: int
    length: int
    captured_at: float
    reason: str


class Ring:
    """Mono samples from one writer to one reader, through a buffer of ``capacity`` samples."""

    def __init__(self, capacity: int, *, start: int = 0, on_write: Callable[[], None] | None = None) -> None:
        if capacity < 1:
            raise ConfigError(f"expected a ring of at least one sample, got {capacity}")
        self._samples: FloatArray = np.zeros(capacity, dtype=np.float32)
        self._runs: deque[_Written] = deque()
        self._held = 0
        self._head = 0  # where in the buffer the next sample goes
        self._next = start  # absolute index of the next sample written
        self._lost = 0
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._on_write = on_write

    @property
    def capacity(self) -> int:
        """Samples that fit."""
        return len(self._samples)

    @property
    def written(self) -> int:
        """Absolute index of the next sample to be written."""
        return self._next

    @property
    def held(self) -> int:
        """Samples waiting to be read."""
        return self._held

    @property
    def lost(self) -> int:
        """Samples overwritten before they were read, so far."""
        return self._lost

    def write(self, samples: FloatArray, *, captured_at: float | None = None) -> None:
        """Append mono samples (n,), overwriting the oldest unread ones where there is no room."""
        if not len(samples):
            return
        captured_at = time.monotonic() if captured_at is None else captured_at
        with self._lock:
            start = self._next
            self._next += len(samples)
            if len(samples) > self.capacity:
                self._lost += len(samples) - self.capacity
                samples = samples[-self.capacity :]
                start = self._next - self.capacity
            self._make_room(len(samples))
            self._store(samples)
            self._runs.append(_Written(start, len(samples), captured_at, ""))
            self._held += len(samples)
        if self._on_write is not None:
            self._on_write()

    def skip(self, samples: int, reason: str) -> None:
        """State that ``samples`` samples (at least one) are missing here: the index moves on without them."""
        with self._lock:
            self._next += max(1, samples)
            # An empty run carries the reason to the reader; two in a row say no more than the last.
            if self._runs and not self._runs[-1].length:
                self._runs.pop()
            self._runs.append(_Written(self._next, 0, time.monotonic(), reason))

    def wait_for_room(self, samples: int, timeout_s: float) -> bool:
        """Wait until ``samples`` more fit without loss: for a writer that may not lose any."""
        wanted = min(samples, self.capacity)
        with self._room:
            return self._room.wait_for(lambda: self.capacity - self._held >= wanted, timeout_s)

    def read(self) -> list[Block]:
        """Take all that waits: one block for each unbroken run of samples, oldest first. The samples are copies."""
        with self._room:
            blocks: list[Block] = []
            position = (self._head - self._held) % self.capacity
            reason = ""
            while self._runs:
                first = self._runs.popleft()
                if not first.length:
                    reason = first.reason
                    continue
                length, captured_at = first.length, first.captured_at
                while self._runs and self._runs[0].length and self._runs[0].start == first.start + length:
                    following = self._runs.popleft()
                    length += following.length
                    captured_at = following.captured_at
                blocks.append(Block(first.start, self._copy(position, length), captured_at, first.reason or reason))
                position = (position + length) % self.capacity
                reason = ""
            if reason:  # the gap is not over yet: keep it for the next read
                self._runs.append(_Written(self._next, 0, time.monotonic(), reason))
            self._held = 0
            self._room.notify_all()
            return blocks

    def _make_room(self, wanted: int) -> None:
        excess = self._held + wanted - self.capacity
        while excess > 0:
            oldest = self._runs[0]
            taken = min(excess, oldest.length)
            if taken == oldest.length:
                self._runs.popleft()
            else:
                oldest.start += taken
                oldest.length -= taken
            if self._runs:
                self._runs[0].reason = self._runs[0].reason or "overrun"
            self._held -= taken
            self._lost += taken
            excess -= taken

    def _store(self, samples: FloatArray) -> None:
        first = min(len(samples), self.capacity - self._head)
        self._samples[self._head : self._head + first] = samples[:first]
        self._samples[: len(samples) - first] = samples[first:]
        self._head = (self._head + len(samples)) % self.capacity

    def _copy(self, position: int, length: int) -> FloatArray:
        first = min(length, self.capacity - position)
        return np.concatenate([self._samples[position : position + first], self._samples[: length - first]])
