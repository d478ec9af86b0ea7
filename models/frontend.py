"""Samples to feature frames, the same code for training and for live audio.

There is one implementation, incremental: feed it any amount at a time. The whole-file features are what it gives when
fed once, so the two cannot drift apart; librosa is the independent reference in the tests.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from models.spec import FeatureSpec

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_FRAMES_AT_ONCE = 32
"""Frames transformed together at most: a long file then needs no more memory than a short one, and what a channel keeps
stays small where there are hundreds."""


@lru_cache(maxsize=8)
def mel_filterbank(spec: FeatureSpec) -> Float64Array:
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
def band_centres_hz(spec: FeatureSpec) -> tuple[float, ...]:
    """Centre frequency of each mel band, in Hz: for the axis of a spectrogram."""
    import librosa

    edges = librosa.mel_frequencies(n_mels=spec.n_mels + 2, fmin=spec.fmin_hz, fmax=spec.fmax_hz)
    return tuple(float(hz) for hz in edges[1:-1])


class FrontEnd:
    """Log-mel frames from a stream of mono samples.

    Frame ``i`` since the last ``reset`` covers samples ``[i * hop, i * hop + n_fft)``. Computed in double precision:
    next to loud bands, single precision leaves quiet ones with an error that depends on how the samples were cut.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        # Periodic Hann, as librosa's and scipy.signal's fftbins=True.
        self._taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.n_fft) / spec.n_fft)
        self._mel = mel_filterbank(spec)
        self._buffer = np.empty(spec.n_fft + _FRAMES_AT_ONCE * spec.hop_samples, dtype=np.float32)
        self._filled = 0
        self._no_frames = np.empty((0, spec.n_mels), dtype=np.float32)

    def reset(self) -> None:
        """Forget the samples that do not yet make a frame: what comes next does not follow on."""
        self._filled = 0

    def feed(self, samples: npt.NDArray[np.floating]) -> FloatArray:
        """Take mono samples (n,), any number; return the frames they complete, shape (frames, n_mels)."""
        room = len(self._buffer) - self._filled
        if len(samples) <= room:
            return self._take(samples)
        frames = [self._take(samples[:room])]
        step = _FRAMES_AT_ONCE * self.spec.hop_samples
        frames += [self._take(samples[first : first + step]) for first in range(room, len(samples), step)]
        return np.concatenate(frames)

    def _take(self, samples: npt.NDArray[np.floating]) -> FloatArray:
        spec, buffer = self.spec, self._buffer
        filled = self._filled + len(samples)
        buffer[self._filled : filled] = samples
        count = spec.frames_in(filled)
        if not count:
            self._filled = filled
            return self._no_frames
        # A strided view made by hand: sliding_window_view costs more than the transform of one frame.
        overlapping: FloatArray = np.ndarray((count, spec.n_fft), np.float32, buffer, strides=(4 * spec.hop_samples, 4))
        frames = self._transform(overlapping)
        used = count * spec.hop_samples
        self._filled = filled - used
        buffer[: self._filled] = buffer[used:filled].copy()
        return frames

    def _transform(self, overlapping: FloatArray) -> FloatArray:
        spectrum = scipy.fft.rfft(overlapping * self._taper, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        return np.asarray(np.log10(np.maximum(power @ self._mel, self.spec.floor)), dtype=np.float32)


def features(samples: npt.NDArray[np.floating], spec: FeatureSpec) -> FloatArray:
    """Log-mel frames of a whole mono recording (n,), shape (frames, n_mels), in log10 units of power."""
    return FrontEnd(spec).feed(samples)
