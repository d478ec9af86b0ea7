"""Sound input in a process of its own, because a stalled sound server makes PortAudio hang for ever.

The child sends what ``Microphone`` receives: ``Opened`` once, then ``Captured`` as audio comes, or the error that ended
it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from models.errors import SourceError
from stream.devices import InputDevice, find_input, portaudio, query_inputs
from stream.source import FloatArray

MAX_CHANNELS = 2
SEND_S = 0.01
"""Pause between two messages: devices deliver every 2 ms, and a message for each would cost more than scoring it."""

RING_S = 2.0
"""Audio held while the parent does not take it; what comes then is counted as lost."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The device is open and will be heard at this rate and with this many channels."""

    device: str
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Captured:
    """Samples (frames, channels); ``at`` and ``lost`` as in ``Chunk``."""

    samples: FloatArray
    at: float
    lost: int


class CaptureRing:
    """Between PortAudio's thread, which may not wait, and the sender: fixed memory, and it counts what it loses.

    One thread calls ``write``, another ``take``. Each attribute is set by one of them only, and published last.
    """

    def __init__(self, frames: int, channels: int, sample_rate_hz: int) -> None:
        self._samples = np.zeros((frames, channels), dtype=np.float32)
        self._sample_rate_hz = sample_rate_hz
        self._written = (0, 0.0)  # position, and when the sample before it came
        self._taken = 0
        self._delivered_at = 0.0
        self._lost = 0
        # (position, when the sample before it came, frames lost between the two); at most one per block held
        self._gaps: deque[tuple[int, float, int]] = deque()
        self.arrived = threading.Event()

    def write(self, samples: FloatArray, at: float, *, overflowed: bool) -> None:
        """Take in what the device delivered at monotonic time ``at``; drop it where the ring is full."""
        frames = len(samples)
        position, written_at = self._written
        if overflowed and self._delivered_at:
            # PortAudio says that input was lost, not how much: what the clock says is missing, at least one frame.
            self._lost += max(1, round((at - self._delivered_at) * self._sample_rate_hz) - frames)
        self._delivered_at = at
        if position + frames - self._taken > len(self._samples):
            self._lost += frames
            return
        start = position % len(self._samples)
        first = min(frames, len(self._samples) - start)
        self._samples[start : start + first] = samples[:first]
        self._samples[: frames - first] = samples[first:]
        if self._lost:
            self._gaps.append((position, written_at, self._lost))
            self._lost = 0
        self._written = (position + frames, at)
        self.arrived.set()

    def take(self) -> Captured | None:
        """Everything up to the next gap, or None."""
        self.arrived.clear()
        end, at = self._written
        if end == self._taken:
            return None
        lost = self._gaps.popleft()[2] if self._gaps and self._gaps[0][0] == self._taken else 0
        if self._gaps and self._gaps[0][0] < end:
            end, at, _ = self._gaps[0]
        frames = end - self._taken
        start = self._taken % len(self._samples)
        first = min(frames, len(self._samples) - start)
        samples = np.concatenate((self._samples[start : start + first], self._samples[: frames - first]))
        self._taken = end
        return Captured(samples, at, lost)


def send_devices(connection: Connection) -> None:
    """Child: send the tuple of inputs, or the error."""
    _settle_in()
    try:
        connection.send(query_inputs())
    except SourceError as error:
        connection.send(error)


def send_audio(name: str | None, connection: Connection) -> None:
    """Child: capture from the input called ``name`` (None: the default) until killed, orphaned or failed."""
    _settle_in()
    try:
        _capture(find_input(query_inputs(), name), connection)
    except SourceError as error:
        connection.send(error)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone: nobody listens


def _capture(device: InputDevice, connection: Connection) -> None:
    sounddevice = portaudio()
    channels = min(device.channels, MAX_CHANNELS)
    ring = CaptureRing(round(RING_S * device.sample_rate_hz), channels, device.sample_rate_hz)
    finished = threading.Event()

    def callback(samples: FloatArray, _frames: int, _times: Any, status: Any) -> None:
        ring.write(samples, time.monotonic(), overflowed=status.input_overflow)

    def on_finished() -> None:
        finished.set()
        ring.arrived.set()

    try:
        stream = sounddevice.InputStream(
            device=device.index,
            samplerate=device.sample_rate_hz,
            channels=channels,
            dtype="float32",
            latency="low",
            callback=callback,
            finished_callback=on_finished,
        )
        stream.start()
    except sounddevice.PortAudioError as error:
        raise SourceError(f"microphone {device.name!r} could not be opened: {error}") from error
    connection.send(Opened(device.name, device.sample_rate_hz, channels))
    while not finished.is_set():
        captured = ring.take()
        if captured is not None:
            connection.send(captured)
            time.sleep(SEND_S)
        elif not ring.arrived.wait(1.0) and _orphaned():
            return
    raise SourceError(f"microphone {device.name!r} stopped: it was unplugged, or its sound server ended")


def _orphaned() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _settle_in() -> None:
    """Ctrl-C is the parent's to answer, and ALSA's library prints its guesses on the user's terminal: stop both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr = os.fdopen(os.dup(2), "w")  # Python's own tracebacks still come through
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)
