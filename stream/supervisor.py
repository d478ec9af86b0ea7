"""Keeps one source delivering: opens it, pumps it into the ring, and opens it again when it breaks."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from models.audio import Resampler
from models.errors import AudioError, SourceAddressError, SourceError
from stream.events import HealthState
from stream.ring import FloatArray, Ring
from stream.source import Chunk, EndOfAudio, Source

log = logging.getLogger(__name__)

_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0
_READ_TIMEOUT_S = 0.5
_STALLED_AFTER_S = 2.0
_STEADY_AFTER_S = 10.0
"""A connection that lasted this long was a good one: the next failure starts again at the shortest delay."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What the source is doing, and why, in one sentence."""

    state: HealthState
    reason: str = ""


class Supervisor:
    """One thread around one source. ``condition`` and ``reconnects`` may be read from any thread."""

    def __init__(
        self, source: Source, ring: Ring, sample_rate_hz: int, *, name: str, on_change: Callable[[], None]
    ) -> None:
        self.source = source
        self.condition = Condition(HealthState.STARTING)
        self.reconnects = 0
        self._ring = ring
        self._rate = sample_rate_hz
        self._on_change = on_change
        self._stop = threading.Event()
        self._heard_until: float | None = None  # monotonic time of the last sample
        self._broken_because = ""
        self._finished = False
        self._thread = threading.Thread(target=self._run, name=f"source {name}", daemon=True)

    def start(self) -> None:
        """Begin to open and read the source."""
        self._thread.start()

    def stop(self) -> None:
        """Have it stop reading and close; ``join`` waits for that."""
        self._stop.set()
        self.source.interrupt()

    def join(self, deadline: float) -> None:
        """Wait until it has closed, or until ``time.monotonic()`` is ``deadline``: then its daemon thread is left."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            log.warning("%s did not close in time; it is abandoned", self.source.name)

    @property
    def finished(self) -> bool:
        """True once the source has ended, or has broken in a way that it cannot come back from."""
        return self._finished

    def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._stop.is_set():
            self._live_since: float | None = None
            try:
                self._pump()
            except EndOfAudio:
                self._finish(HealthState.ENDED, "the audio has been heard to its end")
                return
            except (SourceError, AudioError) as error:
                if self._stop.is_set():
                    return  # being interrupted is no failure
                if self.source.finite:
                    # To open it again would play its beginning again.
                    self._finish(HealthState.FAILED, str(error))
                    return
                if isinstance(error, SourceAddressError | AudioError):
                    # Trying again soon will not help; but a device may be plugged in, a station come on the air.
                    self._enter(HealthState.FAILED, str(error))
                    delay_s = _LONGEST_DELAY_S
                else:
                    self._enter(HealthState.RECONNECTING, str(error))
            except Exception as error:
                # A fault of ours (or of a library) in one source: it must be seen, and must not silence the others.
                log.exception("%s: unexpected error", self.source.name)
                self._enter(HealthState.FAILED, f"unexpected {type(error).__name__}: {error}")
                delay_s = _LONGEST_DELAY_S
            finally:
                self.source.close()
            if self._live_since is not None and time.monotonic() - self._live_since > _STEADY_AFTER_S:
                delay_s = min(delay_s, _FIRST_DELAY_S)
            # Jitter: a hundred stations of one dead server must not all come back in the same instant.
            self._stop.wait(delay_s * random.uniform(0.7, 1.3))
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            self.reconnects += 1

    def _pump(self) -> None:
        source = self.source
        source.open()
        self._resampler = Resampler(source.sample_rate_hz, self._rate)
        last_at = time.monotonic()
        try:
            while not self._stop.is_set():
                chunk = source.read(_READ_TIMEOUT_S)
                if chunk is None:
                    quiet_s = time.monotonic() - last_at
                    # How long a silence may last before it is a break is for each kind of source to say, by raising.
                    if quiet_s >= _STALLED_AFTER_S:
                        self._enter(HealthState.STALLED, f"connected, but no audio for {quiet_s:.0f} s")
                    continue
                last_at = time.monotonic()
                self._take(chunk)
        finally:
            self._flush()

    def _take(self, chunk: Chunk) -> None:
        if self._live_since is None:
            self._live_since = time.monotonic()
            self._account_for_break(chunk)
        self._enter(HealthState.LIVE)
        if chunk.lost:
            # What is still in the filter belongs before the gap.
            self._flush()
            self._ring.skip(round(chunk.lost * self._rate / self.source.sample_rate_hz), "the source lost samples")
        self._heard_until = chunk.captured_at
        ready = self._resampler.feed(chunk.samples)
        self._write(ready, captured_at=chunk.captured_at - self._resampler.delay_s)

    def _flush(self) -> None:
        self._write(self._resampler.flush(), captured_at=self._heard_until or time.monotonic())
        self._resampler = Resampler(self.source.sample_rate_hz, self._rate)

    def _account_for_break(self, chunk: Chunk) -> None:
        """After a reconnection, move the sample count on by the time that was missed, so that it stays a clock."""
        if self._heard_until is None:
            return
        begins_at = chunk.captured_at - len(chunk.samples) / self.source.sample_rate_hz
        self._ring.skip(round(max(0.0, begins_at - self._heard_until) * self._rate), self._broken_because)

    def _write(self, samples: FloatArray, *, captured_at: float) -> None:
        if not self.source.live:
            # A replay may not lose anything, so it goes at the engine's pace; in pieces that the ring can hold.
            piece = self._ring.capacity // 2
            for first in range(0, len(samples), piece):
                part = samples[first : first + piece]
                while not self._ring.wait_for_room(len(part), _READ_TIMEOUT_S):
                    if self._stop.is_set():
                        return
                self._ring.write(part)
            return
        self._ring.write(samples, captured_at=captured_at)

    def _finish(self, state: HealthState, reason: str) -> None:
        self._enter(state, reason)
        self._finished = True  # last: whoever sees it must also see why
        self._on_change()

    def _enter(self, state: HealthState, reason: str = "") -> None:
        present = self.condition
        self.condition = Condition(state, reason)
        if state in (HealthState.RECONNECTING, HealthState.FAILED):
            self._broken_because = reason
        if state is present.state:
            return
        log.log(
            logging.INFO if state in (HealthState.LIVE, HealthState.ENDED) else logging.WARNING,
            "%s: %s%s",
            self.source.name,
            state.value,
            f": {reason}" if reason else "",
        )
        self._on_change()
