import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import SPEC

from models.frontend import FrontEnd, band_centres_hz, features
from models.spec import FeatureSpec

PAPER = FeatureSpec(sample_rate_hz=44_100, n_fft=3072, hop_samples=1536, n_mels=40, fmax_hz=22_050)
HALF = FeatureSpec(sample_rate_hz=22_050, n_fft=1536, hop_samples=768, n_mels=40, fmax_hz=11_025)
UNEVEN = FeatureSpec(sample_rate_hz=16_000, n_fft=400, hop_samples=160, n_mels=23, fmin_hz=60, fmax_hz=7_600)


def hard_signal(samples: int) -> np.ndarray:
    """Loud tones, silence and faint noise: what makes errors of rounding show in quiet bands."""
    rng = np.random.default_rng(7)
    at = np.arange(samples)
    signal = 0.9 * np.sin(0.05 * at) + 1e-4 * rng.standard_normal(samples)
    signal[samples // 3 : samples // 2] = 0.0
    return signal.astype(np.float32)


@pytest.mark.parametrize("spec", [PAPER, HALF, UNEVEN, SPEC], ids=["44k", "22k", "16k", "toy"])
def test_whole_file_equals_librosa(spec: FeatureSpec):
    signal = hard_signal(spec.samples_for(100) + 17)
    power = librosa.feature.melspectrogram(
        y=signal.astype(np.float64),
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        hop_length=spec.hop_samples,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        center=False,
    )
    reference = np.log10(np.maximum(power, spec.floor)).T
    np.testing.assert_allclose(features(signal, spec), reference, rtol=1e-4, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=40), st.sampled_from([SPEC, UNEVEN, HALF]))
def test_any_chunking_gives_the_whole_files_frames(sizes: list[int], spec: FeatureSpec):
    signal = hard_signal(sum(sizes))
    front_end = FrontEnd(spec)
    pieces = np.split(signal, np.cumsum(sizes)[:-1])
    streamed = np.concatenate([front_end.feed(piece) for piece in pieces])
    whole = features(signal, spec)
    assert streamed.shape == whole.shape == (spec.frames_in(len(signal)), spec.n_mels)
    np.testing.assert_allclose(streamed, whole, atol=1e-4, rtol=0)


def test_frames_already_given_do_not_change():
    # The frames of a hop must not be views of a buffer that the next feed overwrites.
    front_end = FrontEnd(SPEC)
    first = front_end.feed(hard_signal(3_000))
    kept = first.copy()
    front_end.feed(hard_signal(3_000)[::-1].copy())
    np.testing.assert_array_equal(first, kept)


def test_reset_forgets_the_remainder():
    signal = hard_signal(4_000)
    front_end = FrontEnd(SPEC)
    front_end.feed(signal[:777])
    front_end.reset()
    np.testing.assert_array_equal(front_end.feed(signal), features(signal, SPEC))


def test_silence_is_the_floor():
    assert np.all(features(np.zeros(2_000, np.float32), SPEC) == np.float32(np.log10(SPEC.floor)))


def test_a_tone_peaks_in_its_own_band():
    hz = band_centres_hz(HALF)[20]
    tone = np.sin(2 * np.pi * hz * np.arange(20_000) / HALF.sample_rate_hz).astype(np.float32)
    assert set(features(tone, HALF).argmax(axis=1)) == {20}
