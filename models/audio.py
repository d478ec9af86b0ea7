"""Decoding and resampling: from any file that PyAV opens to mono samples at a model's rate.

Both training and live audio come through here, so that a model hears the same resampler in both.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt
import soxr

from models.errors import AudioError

FloatArray = npt.NDArray[np.float32]


class Readable(Protocol):
    """What a decoder needs of an open file: to read it. It may also ``seek`` and ``tell``."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


SHORTEST_LOSS_S = 0.01
"""A smaller jump of the timestamps is no damage, which costs a packet: chained Opus streams are off by 6 ms."""

VORBIS_WOBBLE_SAMPLES = 2048
"""A Vorbis stream's timestamps run ahead where its blocks change size, at every transient, and fall back afterwards: by
a quarter of the difference, so by less than a quarter of the longest block, 8192. Only a larger jump proves a loss."""

LONGEST_LOSS_S = 60.0
"""A larger jump is no damage either, but a station that began to count anew."""

_NOTHING_ELSE = {"protocol_whitelist": "none"}
"""What a file says cannot make the decoder open others: playlists are recognised by their content."""


class Decoder:
    """The first audio stream of a path, an open file or (a ``str``) an address, decoded piece by piece.

    ``sample_rate_hz`` and ``channels`` are the file's own. ``options`` are FFmpeg's; ``timeout_s`` (opening, each read)
    matters for addresses only.

    Raises:
        AudioError: missing, empty, not audio, or nothing in it decodes.
    """

    def __init__(
        self,
        file: Path | str | Readable,
        *,
        name: str | None = None,
        options: dict[str, str] | None = None,
        timeout_s: tuple[float, float] | None = None,
    ) -> None:
        self.name = name or str(file)
        options = dict(options or {})
        if not isinstance(file, str):
            options |= _NOTHING_ELSE
        with ExitStack() as opened:
            if isinstance(file, Path):
                check_readable(file)
                # FFmpeg is not given the path, because it takes "2001: A Space Odyssey.mp3" for an address.
                file = opened.enter_context(file.open("rb", buffering=0))
            try:
                # Tags in the wild are often Latin-1: a title that is not UTF-8 must not stop the music.
                container = av.open(file, mode="r", metadata_errors="replace", options=options, timeout=timeout_s)
            except (av.error.FFmpegError, OSError) as error:
                raise AudioError(
                    f"{self.name}: expected an audio file, could not decode it ({_words(error)})"
                ) from error
            self._container = opened.enter_context(container)
            if not container.streams.audio:
                raise AudioError(f"{self.name}: expected audio, the file has no audio stream")
            self._stream = container.streams.audio[0]
            self.sample_rate_hz: int = self._stream.rate or 0
            self.channels: int = self._stream.channels
            if self.sample_rate_hz <= 0 or self.channels <= 0:
                raise AudioError(f"{self.name}: expected audio, its rate or channel count is not known")
            duration = container.duration
            self.duration_s: float | None = duration / av.time_base if duration else None
            self._opened = opened.pop_all()

    def __iter__(self) -> Iterator[tuple[FloatArray, int]]:
        """Yield samples (frames, channels), float32 in [-1, 1], at the file's own rate, and how many frames are missing
        before them, as far as the file tells: a plain FLAC file does not, MP3 and ADTS tell of one packet.

        Raises:
            AudioError: nothing could be decoded, the file can be read no further, or its rate changes on the way.
        """
        to_float: av.AudioResampler | None = None
        made_for: tuple[str, str] | None = None
        decoded_any = False
        lost = 0
        for frame, missing in self._frames():
            lost += missing
            if frame.sample_rate != self.sample_rate_hz:
                raise AudioError(
                    f"{self.name}: the sample rate changed on the way, "
                    f"from {self.sample_rate_hz} to {frame.sample_rate} Hz"
                )
            kind = (frame.format.name, frame.layout.name)
            if to_float is None or kind != made_for:
                to_float, made_for = av.AudioResampler(format="flt"), kind
            for converted in to_float.resample(frame):
                # Packed: one row of interleaved samples.
                packed = np.asarray(converted.to_ndarray(), dtype=np.float32)
                samples = packed.reshape(-1, converted.layout.nb_channels)
                if not np.isfinite(samples.sum()):
                    # Float files can hold NaN, which no filter after this would ever get rid of.
                    lost += len(samples)
                    continue
                decoded_any = True
                yield samples, lost
                lost = 0
        if not decoded_any:
            raise AudioError(f"{self.name}: expected audio, nothing in the file could be decoded")

    def _frames(self) -> Iterator[tuple[av.AudioFrame, int]]:
        """What decodes, each with the number of samples a channel that are missing before it."""
        packets = self._container.demux(self._stream)
        least = VORBIS_WOBBLE_SAMPLES if self._stream.codec_context.name in ("vorbis", "libvorbis") else 0
        timestamps = _Timestamps(self._stream.time_base, self.sample_rate_hz, least_samples=least)
        damaged = 0
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise AudioError(f"{self.name}: cannot be read further ({_words(error)})") from error
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                # One damaged packet (a cut in the middle of a frame, a bit error) costs its own few milliseconds.
                if packet.duration and packet.time_base:
                    damaged += round(packet.duration * packet.time_base * self.sample_rate_hz)
                continue
            for frame in frames:
                yield frame, max(damaged, timestamps.jump(frame))
                damaged = 0

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._opened.close()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Timestamps:
    """Tells by the timestamps what is missing: a demuxer passes over damage without a word.

    Jumps of fewer than ``least_samples`` are none.
    """

    def __init__(self, unit_s: Fraction | None, sample_rate_hz: int, *, least_samples: int = 0) -> None:
        # Where a sample is no whole number of units (Matroska, ASF, MPEG-TS) they are rounded, and prove nothing.
        units = 0 if unit_s is None else 1 / (unit_s * sample_rate_hz)
        self._units_per_sample = int(units) if units == int(units) else 0
        self._shortest = max(SHORTEST_LOSS_S * sample_rate_hz, least_samples)
        self._longest = LONGEST_LOSS_S * sample_rate_hz
        self._expected: int | None = None

    def jump(self, frame: av.AudioFrame) -> int:
        """Samples a channel that are missing between the previous frame and this one."""
        if frame.pts is None or not self._units_per_sample:
            self._expected = None
            return 0
        jump = 0 if self._expected is None else (frame.pts - self._expected) // self._units_per_sample
        self._expected = frame.pts + frame.samples * self._units_per_sample
        return jump if self._shortest <= jump <= self._longest else 0


class Resampler:
    """Interleaved audio at one rate to mono at another, any amount at a time (soxr; mean of the channels).

    Where the rates are equal the samples pass through untouched. It is soxr's variable-rate engine, at a rate that
    does not vary: its delay is constant and short (5 ms from 44.1 to 22.05 kHz, 13 ms from 48), where the fixed-rate
    engine gives its output in bursts up to 42 ms late. It costs more, up to 1 % of a core a stream. Training uses it
    too, so that a model hears one filter.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        self._taken = self._given = 0
        self._soxr = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", vr=True)

    @property
    def delay_s(self) -> float:
        """How far what has been given lags behind what has been taken, in seconds."""
        return self._taken / self._from_hz - self._given / self._to_hz

    def feed(self, samples: FloatArray) -> FloatArray:
        """Take (frames, channels); return the mono samples (n,) that are ready."""
        mono = downmix(samples)
        resampled = mono if self._soxr is None else np.asarray(self._soxr.resample_chunk(mono))
        self._taken += len(mono)
        self._given += len(resampled)
        return resampled

    def flush(self) -> FloatArray:
        """The samples (n,) still inside the filter, at the end of the audio."""
        empty = np.empty(0, dtype=np.float32)
        return empty if self._soxr is None else np.asarray(self._soxr.resample_chunk(empty, last=True))


def downmix(samples: FloatArray) -> FloatArray:
    """Mean over the channels: (frames, channels) -> (frames,)."""
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    return np.asarray(samples.mean(axis=1, dtype=np.float32))


def load(path: Path, sample_rate_hz: int) -> FloatArray:
    """A whole file as mono samples (n,) at ``sample_rate_hz``.

    Raises:
        AudioError: as ``Decoder``.
    """
    with Decoder(path) as decoder:
        resampler = Resampler(decoder.sample_rate_hz, sample_rate_hz)
        pieces = [resampler.feed(samples) for samples, _ in decoder]
    return np.concatenate([*pieces, resampler.flush()])


def check_readable(path: Path) -> None:
    """Say in plain words what is wrong with a path, before a decoder says it in its own.

    Raises:
        AudioError: missing, a folder, a pipe or device, empty, or not allowed to be read.
    """
    try:
        # Looked at before it is opened: what is read from a pipe is gone, and opening one may wait for ever.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{path}: expected an audio file, this is a folder")
        if not stat.S_ISREG(mode):
            what = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
            raise AudioError(
                f"{path}: expected a regular file, this is {what}: use - for raw samples on standard input"
            )
        with path.open("rb") as file:
            empty = not file.read(1)
    except (FileNotFoundError, ValueError) as error:  # ValueError: there is a NUL in it
        raise AudioError(f"{path}: no such file") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from error
    if empty:
        raise AudioError(f"{path}: expected an audio file, this file is empty")


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
