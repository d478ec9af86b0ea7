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

_FRAMES_AT_ONCE = 256
"""Upper bound on the frames transformed together, so that a long file costs no more memory than a short one."""


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
        self._pending: FloatArray = np.empty(0, dtype=np.float32)

    def reset(self) -> None:
        """Forget the samples that do not yet make a frame: what comes next does not follow on."""
        self._pending = self._pending[:0]

    def feed(self, samples: npt.NDArray[np.floating]) -> FloatArray:
        """Take mono samples (n,), any number; return the frames they complete, shape (frames, n_mels)."""
        spec = self.spec
        pending = np.concatenate([self._pending, samples.astype(np.float32, copy=False)])
        count = spec.frames_in(len(pending))
        frames = np.empty((count, spec.n_mels), dtype=np.float32)
        if count:
            cut = np.lib.stride_tricks.sliding_window_view(pending, spec.n_fft)[:: spec.hop_samples]
            for first in range(0, count, _FRAMES_AT_ONCE):
                last = min(first + _FRAMES_AT_ONCE, count)
                frames[first:last] = self._transform(cut[first:last])
        # A copy, so that one small remainder does not keep a whole file's samples alive.
        self._pending = pending[count * spec.hop_samples :].copy()
        return frames

    def _transform(self, cut: npt.NDArray[np.float32]) -> Float64Array:
        spectrum = scipy.fft.rfft(cut * self._taper, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        return np.asarray(np.log10(np.maximum(power @ self._mel, self.spec.floor)))


def features(samples: npt.NDArray[np.floating], spec: FeatureSpec) -> FloatArray:
    """Log-mel frames of a whole mono recording (n,), shape (frames, n_mels), in log10 units of power."""
    return FrontEnd(spec).feed(samples)
