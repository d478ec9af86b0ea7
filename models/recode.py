"""Sound through a lossy codec and back: what a broadcast or a bad copy does to it, for training and for measuring."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
import numpy.typing as npt

from models.audio import Decoder, Resampler
from models.errors import ConfigError

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Codec:
    encoder: str
    container: str
    rate_hz: int
    low_rate_hz: int
    """Below ``_LOW_KBIT_S``: MP3 has no lower bit rates at full sampling rates."""


_LOW_KBIT_S: Final = 32
_CODECS: Final = {
    "mp3": _Codec("libmp3lame", "mp3", 44_100, 22_050),
    "aac": _Codec("aac", "adts", 44_100, 44_100),
    "opus": _Codec("libopus", "ogg", 48_000, 48_000),
}
CODECS: Final = tuple(_CODECS)


@dataclass(frozen=True, slots=True)
class Recoding:
    """A codec of ``CODECS`` and its rate."""

    codec: str
    kbit_s: int


def recode(samples: FloatArray, sample_rate_hz: int, *, codec: str, kbit_s: int) -> FloatArray:
    """Mono ``samples`` (n,) encoded with so many kilobits a second and decoded again: (n,), at the same rate.

    What the codec puts in front (its delay, where the container does not tell of it) stays: up to 50 ms.

    Raises:
        ConfigError: no such codec.
    """
    if codec not in _CODECS:
        raise ConfigError(f"expected a codec among {', '.join(CODECS)}, got {codec!r}")
    if not len(samples):
        return samples
    kind = _CODECS[codec]
    rate_hz = kind.low_rate_hz if kbit_s < _LOW_KBIT_S else kind.rate_hz
    there, back = Resampler(sample_rate_hz, rate_hz), Resampler(rate_hz, sample_rate_hz)
    sent = np.concatenate([there.feed(samples[:, np.newaxis]), there.flush()])
    with Decoder(io.BytesIO(_encode(sent, rate_hz, kind, kbit_s)), name=codec) as decoder:
        pieces = [back.feed(piece) for piece, _ in decoder]
    heard = np.concatenate([*pieces, back.flush()])[: len(samples)]
    return np.pad(heard, (0, len(samples) - len(heard)))


def _encode(samples: FloatArray, rate_hz: int, kind: _Codec, kbit_s: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, mode="w", format=kind.container) as container:
        stream = container.add_stream(kind.encoder, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 1000 * kbit_s
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        # The encoder takes pieces of its own size and format.
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()
