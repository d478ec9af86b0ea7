"""Raw PCM on standard input, as ``arecord -t raw`` or ``ffmpeg -f s16le`` write it."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Generator

import numpy as np

from models.errors import ConfigError, SourceAddressError, SourceError
from stream.source import Chunk, FloatArray
from stream.threaded_source import Run, ThreadedSource

_SAMPLE_BYTES = {"s16le": 2, "f32le": 4}
_FILE_HEADERS = {b"RIFF": "a WAV file", b"RF64": "a WAV file", b"fLaC": "a FLAC file", b"OggS": "an Ogg file"}
_FILE_HEADERS |= {b"ID3": "an MP3 file"}
_HEADER_BYTES = max(map(len, _FILE_HEADERS))
_EMPTY = "standard input: expected raw PCM, it was empty"
_READ_BYTES = 65_536
_POLL_S = 0.1
_LOUDEST = 100.0
"""No float recording is 40 dB over full scale: such numbers are something else, read as floats."""


class StandardInput(ThreadedSource):
    """Samples without a header: the user says their rate, channels and format. ``fd`` may be another open file.

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
        fd: int = 0,
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
        self._fd = fd
        self._ended = False
        self._begun = False
        # What has been read and not yet delivered outlives a closing: a frame must not be cut by it.
        self._held = b""

    def check(self) -> None:
        """Look at the first bytes, if there are some already; they stay to be heard.

        Raises:
            SourceAddressError: it is empty, or carries a file.
        """
        if sys.platform == "win32":  # nothing there tells whether a pipe has something to read
            return
        while len(self._held) < _HEADER_BYTES and select.select([self._fd], [], [], self.open_timeout_s)[0]:
            data = self._read(_HEADER_BYTES - len(self._held))
            if not data:
                break
            self._held += data
        else:
            _refuse_file(self._held)
            return
        if not self._held:
            raise SourceAddressError(_EMPTY)

    def _produce(self, run: Run) -> Generator[Chunk]:
        if self._ended:
            return
        at = time.monotonic()
        while True:
            if not self._begun and len(self._held) >= _HEADER_BYTES:
                _refuse_file(self._held)
                self._begun = True
            whole = len(self._held) - len(self._held) % self._frame_bytes
            if self._begun and whole:
                data, self._held = self._held[:whole], self._held[whole:]
                yield Chunk(self._samples(data), captured_at=at)
            data = self._receive(run)
            if not data:
                break
            at = time.monotonic()
            self._held += data
        if not run.stopped:
            yield from self._finish()

    def _finish(self) -> Generator[Chunk]:
        self._ended = True  # a pipe ends once: who opens it again finds the end, not an error for ever
        if not self._begun and not self._held:
            raise SourceAddressError(_EMPTY)
        if len(self._held) % self._frame_bytes:
            raise SourceError(
                f"standard input ended inside a frame ({len(self._held)} of {self._frame_bytes} bytes): the channels "
                f"or format given ({self._channels} channels, {self._format}) are probably wrong"
            )
        if self._held:
            yield Chunk(self._samples(self._held), captured_at=time.monotonic())

    def _receive(self, run: Run) -> bytes:
        """Bytes as soon as there are some; none at the end or when the source is closed."""
        if sys.platform != "win32":  # there select() cannot wait for a pipe: the thread blocks until the next bytes
            while not select.select([self._fd], [], [], _POLL_S)[0]:
                if run.stopped:
                    return b""
        return self._read(_READ_BYTES)

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise SourceError(f"standard input cannot be read ({error.strerror})") from error

    def _samples(self, data: bytes) -> FloatArray:
        if self._format == "s16le":
            integers = np.frombuffer(data, dtype="<i2").reshape(-1, self._channels)
            return np.asarray(integers / np.float32(32_768), dtype=np.float32)
        samples = np.frombuffer(data, dtype="<f4").reshape(-1, self._channels).astype(np.float32)
        if not np.abs(samples).max() <= _LOUDEST:  # so that NaN fails, too
            raise SourceError("standard input: expected f32le samples within [-1, 1]; what came is in another format")
        return samples


def _refuse_file(head: bytes) -> None:
    for magic, kind in _FILE_HEADERS.items():
        if head.startswith(magic):
            raise SourceAddressError(
                f"standard input carries {kind}, expected raw PCM: pass the file's path instead, or decode it to PCM"
            )
