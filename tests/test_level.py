import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.level import CLOSE_DBFS, HOLD_S, OPEN_DBFS, LevelMeter

HOP, HOP_S = 100, 0.1


def meter() -> LevelMeter:
    return LevelMeter(HOP, HOP_S)


def noise(hops: int, dbfs: float) -> np.ndarray:
    """White noise of exactly this RMS in every hop."""
    values = np.random.default_rng(1).standard_normal((hops, HOP))
    values *= 10 ** (dbfs / 20) / np.sqrt(np.square(values).mean(axis=1, keepdims=True))
    return values.astype(np.float32).ravel()


@given(st.lists(st.integers(0, 333), max_size=12))
def test_any_chunking_gives_the_same_gate(sizes):
    signal = np.concatenate([noise(10, -30), noise(10, -57), noise(10, -70), noise(10, -57)])[: sum(sizes)]
    one = meter()
    pieces = [one.feed(piece) for piece in np.split(signal, np.cumsum(sizes)[:-1])] if sizes else []
    assert np.concatenate([*pieces, []]).astype(bool).tolist() == meter().feed(signal).tolist()


def test_the_gate_has_hysteresis():
    between = (OPEN_DBFS + CLOSE_DBFS) / 2
    closing = [CLOSE_DBFS - 1] * (round(HOLD_S / HOP_S) + 1)
    levels = [between, OPEN_DBFS + 1, between, *closing, between]
    gate = meter().feed(np.concatenate([noise(1, level) for level in levels]))
    assert gate.tolist() == [False, True, True, *[True] * (len(closing) - 1), False, False]


def test_between_the_beats_of_a_dry_drum_is_no_silence():
    beat = np.concatenate([noise(1, -15.0), np.zeros(4 * HOP, np.float32)])
    assert meter().feed(np.tile(beat, 20)).all()
    # Now and then a click is no music.
    click = np.concatenate([noise(1, -15.0), np.zeros(14 * HOP, np.float32)])
    assert meter().feed(np.tile(click, 20)).mean() < 0.5


def test_level_is_rms_in_dbfs():
    one = meter()
    one.feed(noise(40, -23.0))
    assert one.level_dbfs == pytest.approx(-23.0, abs=0.01)
    assert meter().level_dbfs is None


@pytest.mark.parametrize(
    ("signal", "warning"),
    [
        (np.full(4_000, 0.25, np.float32), "flat"),
        (np.zeros(4_000, np.float32), "flat"),
        (np.clip(noise(40, 6.0), -1, 1), "clipped"),
        (noise(40, -20.0), None),
    ],
)
def test_a_useless_signal_is_named(signal, warning):
    one = meter()
    one.feed(signal)
    assert [text.split(":")[0] for text in one.warnings] == ([warning] if warning else [])


def test_one_loud_peak_is_not_clipping():
    signal = noise(40, -20.0)
    signal[1_000] = 1.0
    one = meter()
    one.feed(signal)
    assert one.warnings == ()
