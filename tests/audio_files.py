"""Audio files for tests, in any format FFmpeg encodes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

RATE_HZ = 44_100

CODECS = {
    ".wav": "pcm_s16le",
    ".flac": "flac",
    ".mp3": "libmp3lame",
    ".opus": "libopus",
    ".aac": "aac",
    ".m4a": "aac",
}


def noise(seconds: float, *, channels: int = 2, rate_hz: int = RATE_HZ, seed: int = 2) -> npt.NDArray[np.float32]:
    """Noise that never repeats, (frames, channels), on the grid of 16-bit samples."""
    integers = np.random.default_rng(seed).integers(-20_000, 20_000, (round(seconds * rate_hz), channels))
    return (integers / 32_768).astype(np.float32)


def tone(seconds: float, *, hz: float = 440.0, channels: int = 2, rate_hz: int = RATE_HZ) -> npt.NDArray[np.float32]:
    """A sine at half of full scale, (frames, channels)."""
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


def write_audio(
    path: Path, samples: npt.NDArray[np.float32], *, rate_hz: int = RATE_HZ, codec: str | None = None
) -> Path:
    """Encode samples (frames, channels); the codec is the usual one of the file's suffix, or ``codec``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=rate_hz)
        stream.layout = "mono" if samples.shape[1] == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=stream.layout)
        frame.sample_rate = rate_hz
        frame.time_base = Fraction(1, rate_hz)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
