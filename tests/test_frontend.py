import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import SPEC

from models.frontend import FrontEnd, band_centres_hz, features
from models.spec import FeatureSpec, LogMel, Magnitude, Mfcc, Raw

PAPER = LogMel(sample_rate_hz=44_100, n_fft=3072, hop_samples=1536, n_mels=40, fmax_hz=22_050)
HALF = LogMel(sample_rate_hz=22_050, n_fft=1536, hop_samples=768, n_mels=40, fmax_hz=11_025)
UNEVEN = LogMel(sample_rate_hz=16_000, n_fft=400, hop_samples=160, n_mels=23, fmin_hz=60, fmax_hz=7_600)


def hard_signal(samples: int) -> np.ndarray:
    """Loud tones, silence and faint noise: what makes errors of rounding show in quiet bands."""
    rng = np.random.default_rng(7)
    at = np.arange(samples)
    signal = 0.9 * np.sin(0.05 * at) + 1e-4 * rng.standard_normal(samples)
    signal[samples // 3 : samples // 2] = 0.0
    return signal.astype(np.float32)


CENTRED_DB = LogMel(
    sample_rate_hz=22_050, n_fft=2048, hop_samples=512, n_mels=128, fmax_hz=11_025, unit="dB", centred=True
)
MFCC = Mfcc(sample_rate_hz=44_100, n_fft=2048, hop_samples=1024, n_mels=128, fmax_hz=22_050, n_mfcc=13, centred=True)
STFT = Magnitude(sample_rate_hz=44_100, n_fft=2048, hop_samples=1024, centred=True)
RAW = Raw(sample_rate_hz=44_100, n_fft=1024, hop_samples=1024)
SPECS = {
    "44k": PAPER,
    "22k": HALF,
    "16k": UNEVEN,
    "toy": SPEC,
    "dB": CENTRED_DB,
    "mfcc": MFCC,
    "stft": STFT,
    "raw": RAW,
}


def by_librosa(signal: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Frames (frames, bands) by librosa's own functions, in double precision."""
    signal = signal.astype(np.float64)
    if isinstance(spec, Raw):
        return librosa.util.frame(signal, frame_length=spec.hop_samples, hop_length=spec.hop_samples).T
    stft = librosa.stft(signal, n_fft=spec.n_fft, hop_length=spec.hop_samples, center=spec.centred)
    if isinstance(spec, Magnitude):
        return np.abs(stft).T
    mel = librosa.feature.melspectrogram(
        S=np.abs(stft) ** 2, sr=spec.sample_rate_hz, n_mels=spec.n_mels, fmin=spec.fmin_hz, fmax=spec.fmax_hz
    )
    decibels = librosa.power_to_db(mel, amin=spec.floor, top_db=None)
    if isinstance(spec, Mfcc):
        return librosa.feature.mfcc(S=decibels, n_mfcc=spec.n_mfcc).T
    return decibels.T if spec.unit == "dB" else decibels.T / 10


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_whole_file_equals_librosa(spec: FeatureSpec):
    signal = hard_signal(spec.samples_for(100) + 17)
    ours = features(signal, spec)
    assert ours.shape[1] == spec.bands
    np.testing.assert_allclose(ours, by_librosa(signal, spec), rtol=1e-4, atol=1e-5)


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=40), st.sampled_from(list(SPECS.values())))
def test_any_chunking_gives_the_whole_files_frames(sizes: list[int], spec: FeatureSpec):
    signal = hard_signal(sum(sizes))
    front_end = FrontEnd(spec)
    pieces = np.split(signal, np.cumsum(sizes)[:-1])
    streamed = np.concatenate([front_end.feed(piece) for piece in pieces])
    assert len(streamed) == spec.frames_in(len(signal))
    whole = features(signal, spec)
    # 1e-4 in log10 units; decibels are ten times as many, and a cepstral coefficient sums up to 128 of them.
    scale = {"dB": 10.0, "mfcc": 10.0 * np.sqrt(128)}.get(getattr(spec, "unit", spec.kind), 1.0)
    np.testing.assert_allclose(np.concatenate([streamed, front_end.finish()]), whole, atol=1e-4 * scale, rtol=0)


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
