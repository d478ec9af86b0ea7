"""Raw PCM on standard input, as ``arecord -t raw`` or ``ffmpeg -f s16le`` write it."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Generator

import numpy as np

from models.errors import ConfigError, SourceAddressError, SourceError
from stream.pace import MAX_SPEED, NEAR_REAL_TIME, Pace, block_frames
from stream.source import Chunk, FloatArray
from stream.threaded_source import Run, ThreadedSource

AHEAD_S = 0.5
"""Audio taken at once before the clock holds it back: recorders write in pieces, up to so long, and are not to be
delayed; who writes faster than it sounds has to wait."""

_SAMPLE_BYTES = {"s16le": 2, "f32le": 4}
_FILE_HEADERS = {b"RIFF": "a WAV file", b"RF64": "a WAV file", b"fLaC": "a FLAC file", b"OggS": "an Ogg file"}
_FILE_HEADERS |= {b"ID3": "an MP3 file"}
_HEADER_BYTES = max(map(len, _FILE_HEADERS))
_EMPTY = "standard input: expected raw PCM, it was empty"
_POLL_S = 0.1
_LOUDEST = 100.0
"""No float recording is 40 dB over full scale: such numbers are something else, read as floats."""


class Pipe:
    """An open file of raw PCM that one source after another reads: what one leaves over, the next one gets.

    Else a frame would be cut where one source is closed, and the channels would be swapped for the next.
    """

    def __init__(self, descriptor: int) -> None:
        self.held = b""
        """Read and not used yet."""
        self.heard = False
        """Whether samples of it have been used."""
        self.ended = False
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def wait(self, timeout_s: float) -> bool:
        """Whether there is something to read, or the end, within the time. On Windows nothing tells: always True."""
        return sys.platform == "win32" or bool(select.select([self._descriptor], [], [], timeout_s)[0])

    def receive(self, size: int) -> bool:
        """Wait for bytes and add up to ``size`` to what is held; False at the end."""
        with self._lock:  # on Windows the thread of a source that was closed may be waiting here yet
            try:
                data = os.read(self._descriptor, size)
            except OSError as error:
                raise SourceError(f"standard input cannot be read ({error.strerror})") from error
            self.held += data
        return bool(data)

    def drop(self, size: int) -> None:
        """``size`` bytes of what is held have been used."""
        with self._lock:
            self.held = self.held[size:]


_STANDARD_INPUT = Pipe(0)


class StandardInput(ThreadedSource):
    """Samples without a header: the user says their rate, channels and format. ``pipe`` may be another open file.

    If ``live``, audio comes by the clock: who writes faster than it sounds must wait, as for a sound card.

    Raises:
        ConfigError: rate, channels or format out of range.
    """

    open_timeout_s = 0.5
    needs_audio = False  # whoever writes to the pipe may begin later

    def __init__(
        self,
        *,
        sample_rate_hz: int,
        channels: int,
        sample_format: str = "s16le",
        live: bool = True,
        pipe: Pipe = _STANDARD_INPUT,
    ) -> None:
        super().__init__("-", name="standard input", live=live, finite=True)
        if not 8_000 <= sample_rate_hz <= 192_000:
            raise ConfigError(f"standard input: expected a rate from 8000 to 192000 Hz, got {sample_rate_hz}")
        if not 1 <= channels <= 8:
            raise ConfigError(f"standard input: expected 1 to 8 channels, got {channels}")
        if sample_format not in _SAMPLE_BYTES:
            raise ConfigError(f"standard input: expected format s16le or f32le, got {sample_format!r}")
        self.sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._format = sample_format
        self._frame_bytes = _SAMPLE_BYTES[sample_format] * channels
        self._speed = NEAR_REAL_TIME if live else MAX_SPEED
        self._block_bytes = block_frames(sample_rate_hz, self._speed) * self._frame_bytes
        self._pipe = pipe

    def check(self) -> None:
        """Look at the first bytes, if there are some already; they stay to be heard.

        Raises:
            SourceAddressError: it is empty, carries a file, or its samples are not of the format given.
        """
        if sys.platform == "win32":  # it would wait for ever for who begins later
            return
        pipe = self._pipe
        while len(pipe.held) < _HEADER_BYTES and pipe.wait(self.open_timeout_s):
            if not pipe.receive(self._block_bytes):
                break
        else:
            self._whole_frames()
            return
        if not pipe.held:
            raise SourceAddressError(_EMPTY)

    def _produce(self, run: Run) -> Generator[Chunk]:
        pipe = self._pipe
        pace = Pace(self.sample_rate_hz, speed=self._speed, ahead_s=AHEAD_S)
        at = time.monotonic()
        while True:
            if pipe.heard or len(pipe.held) >= _HEADER_BYTES or pipe.ended:
                samples = self._whole_frames()
                if len(samples):
                    at = max(at, pace.due(len(samples)))
                    if not run.sleep_until(at):
                        return
                    pipe.drop(len(samples) * self._frame_bytes)
                    pipe.heard = True
                    yield Chunk(samples, captured_at=at)
            if pipe.ended:
                break
            while not pipe.wait(_POLL_S):
                if run.stopped:
                    return
            pipe.ended = not pipe.receive(self._block_bytes)
            at = time.monotonic()
        rest = len(pipe.held)
        if rest:
            pipe.drop(rest)  # said once: who opens the pipe again finds its end
            raise self._wrong(
                f"standard input ended inside a frame ({rest} of {self._frame_bytes} bytes): the channels "
                f"or format given ({self._channels} channels, {self._format}) are probably wrong"
            )
        if not pipe.heard:
            raise SourceAddressError(_EMPTY)

    def _whole_frames(self) -> FloatArray:
        """The samples (frames, channels) of what is held; they stay held."""
        held = self._pipe.held
        if not self._pipe.heard:
            _refuse_file(held)
        data = held[: len(held) - len(held) % self._frame_bytes]
        if self._format == "s16le":
            integers = np.frombuffer(data, dtype="<i2").reshape(-1, self._channels)
            return np.asarray(integers / np.float32(32_768), dtype=np.float32)
        samples = np.frombuffer(data, dtype="<f4").reshape(-1, self._channels).astype(np.float32)
        if not np.abs(samples).max(initial=0.0) <= _LOUDEST:  # so that NaN fails, too
            raise self._wrong("standard input: expected f32le samples within [-1, 1]; what came is in another format")
        return samples

    def _wrong(self, message: str) -> SourceError:
        """What is wrong before anything was heard was wrong from the beginning."""
        return (SourceError if self._pipe.heard else SourceAddressError)(message)


def _refuse_file(head: bytes) -> None:
    for magic, kind in _FILE_HEADERS.items():
        if head.startswith(magic):
            raise SourceAddressError(
                f"standard input carries {kind}, expected raw PCM: pass the file's path instead, or decode it to PCM"
            )
