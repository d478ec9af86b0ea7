import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.audio import Resampler

PAIRS = [(44_100, 22_050), (48_000, 22_050), (48_000, 44_100), (8_000, 22_050), (96_000, 44_100)]


def sine(hz: float, rate_hz: int, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    wave = np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz).astype(np.float32)
    return np.repeat(wave[:, np.newaxis], channels, axis=1)


def whole(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    resampler = Resampler(from_hz, to_hz)
    return np.concatenate([resampler.feed(samples), resampler.flush()])


@settings(max_examples=30)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=20), st.sampled_from(PAIRS))
def test_any_chunking_gives_the_same_samples(sizes, pair):
    signal = np.random.default_rng(0).standard_normal((sum(sizes), 2)).astype(np.float32)
    resampler = Resampler(*pair)
    pieces = [resampler.feed(piece) for piece in np.split(signal, np.cumsum(sizes)[:-1])]
    np.testing.assert_allclose(np.concatenate([*pieces, resampler.flush()]), whole(signal, *pair), atol=1e-6)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_tone_keeps_its_pitch_level_and_time(from_hz, to_hz):
    got = whole(sine(1_000, from_hz, channels=2), from_hz, to_hz)
    assert abs(len(got) - to_hz) <= 2
    middle = slice(to_hz // 4, 3 * to_hz // 4)
    at = np.arange(len(got))[middle] / to_hz
    tone = 2 * np.mean(got[middle] * np.exp(-2j * np.pi * 1_000 * at))
    assert np.abs(tone) == pytest.approx(1.0, abs=1e-3)
    # A quarter of a millisecond: a hundredth of a frame.
    assert abs(np.angle(tone * 1j)) / (2 * np.pi * 1_000) < 0.25e-3


@pytest.mark.parametrize("hz", [12_000, 15_000, 20_000])
def test_what_the_lower_rate_cannot_hold_is_removed(hz):
    got = whole(sine(hz, 48_000), 48_000, 22_050)
    assert np.abs(got[5_000:-5_000]).max() < 1e-4


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_the_delay_is_short_and_known(from_hz, to_hz):
    resampler = Resampler(from_hz, to_hz)
    signal = sine(440, from_hz)
    delays = []
    for first in range(0, len(signal), from_hz // 100):
        resampler.feed(signal[first : first + from_hz // 100])
        delays.append(resampler.delay_s)
    assert max(delays) < (0.02 if from_hz >= 44_100 else 0.04)
    assert np.ptp(delays[10:]) < 1e-3


def test_equal_rates_pass_through_untouched():
    signal = np.random.default_rng(1).standard_normal((1_000, 1)).astype(np.float32)
    resampler = Resampler(44_100, 44_100)
    np.testing.assert_array_equal(resampler.feed(signal), signal[:, 0])
    assert len(resampler.flush()) == 0
