"""Samples to feature frames, the same code for training and for live audio.

There is one implementation, incremental: feed it any amount at a time. The whole-file features are what it gives when
fed once, so the two cannot drift apart; librosa is the independent reference in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from models.spec import FeatureSpec, LogMel, Magnitude, Mfcc, Raw

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Transform = Callable[[FloatArray], Float64Array | FloatArray]
"""From the samples under each frame (frames, n_fft) to the frames (frames, bands)."""

_FRAMES_AT_ONCE = 32
"""Frames transformed together at most: a long file then needs no more memory than a short one, and what a channel keeps
stays small where there are hundreds."""


@lru_cache(maxsize=8)
def mel_filterbank(spec: LogMel | Mfcc) -> Float64Array:
    """Slaney-normalised mel weights from power spectrum to bands, shape (n_fft // 2 + 1, n_mels)."""
    import librosa  # slow to import: only a process that computes features pays for it

    weights: Float64Array = librosa.filters.mel(
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        dtype=np.float64,
    )
    return np.ascontiguousarray(weights.T)


@lru_cache(maxsize=8)
def band_centres_hz(spec: LogMel) -> tuple[float, ...]:
    """Centre frequency of each mel band, in Hz: for the axis of a spectrogram."""
    import librosa

    edges = librosa.mel_frequencies(n_mels=spec.n_mels + 2, fmin=spec.fmin_hz, fmax=spec.fmax_hz)
    return tuple(float(hz) for hz in edges[1:-1])


def hann(length: int) -> Float64Array:
    """The periodic Hann window, as librosa's and scipy.signal's fftbins=True, (length,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def cepstral_cosines(spec: Mfcc) -> Float64Array:
    """The cosine transform from log10 mel bands to coefficients of decibels, shape (n_mels, n_mfcc)."""
    cosines: Float64Array = scipy.fft.dct(np.eye(spec.n_mels), type=2, norm="ortho", axis=1)
    return 10.0 * cosines[:, : spec.n_mfcc]


class FrontEnd:
    """Feature frames from a stream of mono samples: frame by frame those of ``FeatureSpec``.

    Computed in double precision: next to loud bands, single precision leaves quiet ones with an error that depends on
    how the samples were cut.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._transform = _transform(spec)
        self._buffer = np.zeros(spec.n_fft + _FRAMES_AT_ONCE * spec.hop_samples, dtype=np.float32)
        self._no_frames = np.empty((0, spec.bands), dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the samples that do not yet make a frame: what comes next does not follow on."""
        self._filled = self.spec.lead_samples
        self._buffer[: self._filled] = 0.0

    def feed(self, samples: npt.NDArray[np.floating]) -> FloatArray:
        """Take mono samples (n,), any number; return the frames they complete, shape (frames, bands)."""
        room = len(self._buffer) - self._filled
        if len(samples) <= room:
            return self._take(samples)
        frames = [self._take(samples[:room])]
        step = _FRAMES_AT_ONCE * self.spec.hop_samples
        frames += [self._take(samples[first : first + step]) for first in range(room, len(samples), step)]
        return np.concatenate(frames)

    def finish(self) -> FloatArray:
        """End the stream; return the last frames, which zeros complete if frames are centred, (frames, bands)."""
        frames = self.feed(np.zeros(self.spec.lead_samples, dtype=np.float32))
        self.reset()
        return frames

    def _take(self, samples: npt.NDArray[np.floating]) -> FloatArray:
        spec, buffer = self.spec, self._buffer
        filled = self._filled + len(samples)
        buffer[self._filled : filled] = samples
        count = max(0, (filled - spec.n_fft) // spec.hop_samples + 1)
        if not count:
            self._filled = filled
            return self._no_frames
        # A strided view made by hand: sliding_window_view costs more than the transform of one frame.
        overlapping: FloatArray = np.ndarray((count, spec.n_fft), np.float32, buffer, strides=(4 * spec.hop_samples, 4))
        frames = np.array(self._transform(overlapping), dtype=np.float32)
        used = count * spec.hop_samples
        self._filled = filled - used
        buffer[: self._filled] = buffer[used:filled].copy()
        return frames


def _transform(spec: FeatureSpec) -> Transform:
    if isinstance(spec, Raw):
        return lambda samples: samples
    taper = hann(spec.n_fft)

    def power(samples: FloatArray) -> Float64Array:
        spectrum = scipy.fft.rfft(samples * taper, axis=1)
        return np.asarray(np.square(spectrum.real) + np.square(spectrum.imag))

    if isinstance(spec, Magnitude):
        return lambda samples: np.sqrt(power(samples))
    if not isinstance(spec, LogMel | Mfcc):
        raise TypeError(f"expected one of the kinds of features in models.spec, got {type(spec).__name__}")
    mel, floor = mel_filterbank(spec), spec.floor

    def log_mel(samples: FloatArray) -> Float64Array:
        return np.asarray(np.log10(np.maximum(power(samples) @ mel, floor)))

    if isinstance(spec, LogMel):
        return log_mel if spec.unit == "log10" else lambda samples: 10.0 * log_mel(samples)
    cosines = cepstral_cosines(spec)
    return lambda samples: log_mel(samples) @ cosines


def features(samples: npt.NDArray[np.floating], spec: FeatureSpec) -> FloatArray:
    """Frames of a whole mono recording (n,), shape (frames, bands)."""
    front_end = FrontEnd(spec)
    return np.concatenate([front_end.feed(samples), front_end.finish()])
