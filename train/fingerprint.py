"""What a recording sounds like in 24 bits a frame, the same after another codec, at another level, cut elsewhere.

After Haitsma & Kalker (2002): a bit says whether the difference of two neighbouring bands has grown or shrunk. Theirs
compares frames 12 ms apart; ours compares stretches of a quarter of a second, so that a cut between two frames changes
little, 21 frames a second are enough, and a bit that codecs turn over is rare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.fft

from models import audio
from train import features_cache
from train.features_cache import mono_pieces

Words = npt.NDArray[np.uint32]
"""One word a frame: ``BITS`` bits, or ``UNKNOWN``."""

RATE_HZ = 11_025
N_FFT = 2048
HOP = 512
BITS = 24
UNKNOWN = np.uint32(1 << BITS)
"""A frame in which nothing happens (silence, a steady tone): it would look like any other such."""

_LOWEST_HZ, _HIGHEST_HZ = 150.0, 4_200.0
_SPAN = 6
"""Frames of a stretch: 0.28 s."""
_FLOOR = 1e-4
"""Of the piece's mean power in all bands: what lies further below is the codec's, not the music's."""
_LEAST_CHANGE = 0.05
"""Mean change of a frame's bands (natural logarithm) from which on its bits mean something."""
_SAMPLES_AT_ONCE = RATE_HZ * 600


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Makes the fingerprint of a file, as ``train.array_cache.Maker``."""

    @property
    def identity(self) -> str:
        """Our code."""
        return f"fingerprint\n{_code_version()}"

    @property
    def columns(self) -> int:
        """One word a frame."""
        return 1

    @property
    def dtype(self) -> npt.DTypeLike:
        """Words."""
        return np.uint32

    def pieces(self, path: Path) -> Iterator[Words]:
        """Words (n, 1), ten minutes at a time; frames across two pieces are left out.

        Raises:
            AudioError: the file does not decode.
        """
        for samples in mono_pieces(path, RATE_HZ, at_least=_SAMPLES_AT_ONCE):
            yield words_of(samples)[:, None]


def words_of(samples: npt.NDArray[np.float32]) -> Words:
    """Fingerprint (frames,) of mono samples (n,) at ``RATE_HZ``."""
    powers = _band_powers(samples)
    if len(powers) < 2 * _SPAN:
        return np.empty(0, dtype=np.uint32)
    logs = np.log(powers + _FLOOR * powers.sum(axis=1).mean() + 1e-20)
    sums = np.cumsum(np.vstack([np.zeros(BITS + 1), logs]), axis=0)
    stretches = (sums[_SPAN:] - sums[:-_SPAN]) / _SPAN
    changes = np.diff(stretches[_SPAN:] - stretches[:-_SPAN], axis=1)
    words = (changes > 0) @ (1 << np.arange(BITS))
    words[np.abs(changes).mean(axis=1) < _LEAST_CHANGE] = UNKNOWN
    return np.asarray(words, dtype=np.uint32)


def _band_powers(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    count = (len(samples) - N_FFT) // HOP + 1
    if count < 1:
        return np.empty((0, BITS + 1))
    frames = np.lib.stride_tricks.sliding_window_view(samples, N_FFT)[::HOP]
    edges = _band_edges()
    powers = np.empty((count, BITS + 1))
    for first in range(0, count, 256):
        spectrum = scipy.fft.rfft(frames[first : first + 256] * np.hanning(N_FFT).astype(np.float32), axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        powers[first : first + 256] = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    return powers


@lru_cache(maxsize=1)
def _band_edges() -> npt.NDArray[np.intp]:
    """First FFT bin of each band, and the end of the last: ``BITS + 2`` edges, evenly on the mel scale."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (_LOWEST_HZ, _HIGHEST_HZ))
    hz = 700 * (10 ** (np.linspace(low, high, BITS + 2) / 2595) - 1)
    return np.round(hz * N_FFT / RATE_HZ).astype(np.intp)


@cache
def _code_version() -> str:
    sources = (Path(str(file)).read_bytes() for file in (__file__, audio.__file__, features_cache.__file__))
    return hashlib.sha256(b"".join(sources)).hexdigest()
