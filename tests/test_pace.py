"""Audio by the clock."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from stream.pace import MAX_SPEED, NEAR_REAL_TIME, Pace, block_frames, blocks_of, parse_speed


class Clock:
    """Stands for ``time.monotonic``."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_audio_is_due_when_it_has_sounded(clock: Clock) -> None:
    pace = Pace(1_000, speed=2.0)
    assert [pace.due(100) for _ in range(3)] == pytest.approx([100.05, 100.10, 100.15])


def test_who_is_late_catches_up_and_no_more(clock: Clock) -> None:
    pace = Pace(1_000)
    pace.due(100)
    clock.now += 0.55
    due = [pace.due(100) for _ in range(6)]
    assert due == pytest.approx([100.2, 100.3, 100.4, 100.5, 100.6, 100.7])


def test_who_is_very_late_goes_on_from_now(clock: Clock) -> None:
    pace = Pace(1_000, max_lag_s=1.0)
    pace.due(100)
    clock.now += 3_600.0
    assert pace.due(100) == clock.now
    assert pace.due(100) == pytest.approx(clock.now + 0.1)


def test_who_comes_by_the_clock_in_large_pieces_is_never_held_back(clock: Clock) -> None:
    pace = Pace(1_000, speed=NEAR_REAL_TIME, ahead_s=0.5)
    for piece in range(10_000):
        clock.now = 100.0 + 0.4 * piece + 0.1 * (piece % 2)
        assert pace.due(400) <= clock.now


def test_who_comes_faster_is_ahead_by_so_much_and_no_more(clock: Clock) -> None:
    pace = Pace(1_000, speed=NEAR_REAL_TIME, ahead_s=0.5)
    assert [pace.due(1_000) for _ in range(3)] == pytest.approx([100.5, 101.5, 102.5], abs=0.01)


def test_at_most_speed_everything_is_due_now(clock: Clock) -> None:
    pace = Pace(1_000, speed=MAX_SPEED)
    assert pace.due(10**9) == clock.now


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("0.5", 0.5), ("8", 8.0), ("max", MAX_SPEED)])
def test_a_speed_is_a_factor_or_max(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", ""])
def test_other_speeds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="speed: expected 'max' or a number above 0"):
        parse_speed(text)


@pytest.mark.parametrize(("speed", "frames"), [(1.0, 441), (0.5, 220), (4.0, 1_764), (MAX_SPEED, 11_025), (1e-9, 1)])
def test_blocks_are_10_ms_of_clock_and_250_ms_of_audio_at_most(speed: float, frames: int) -> None:
    assert block_frames(44_100, speed) == frames


@given(
    lengths=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1).map(lambda flag: 7 * flag)), max_size=20),
    frames=st.integers(1, 30),
)
def test_any_pieces_make_the_same_audio_in_blocks(lengths: list[tuple[int, int]], frames: int) -> None:
    total = sum(length for length, _ in lengths)
    audio = np.arange(total, dtype=np.float32)[:, None]
    ends = np.cumsum([length for length, _ in lengths], dtype=int)
    pieces = [(audio[end - length : end], lost) for end, (length, lost) in zip(ends, lengths, strict=True)]
    blocks = list(blocks_of(pieces, frames))
    assert np.array_equal(np.concatenate([audio[:0], *(block for block, _ in blocks)]), audio)
    assert all(1 <= len(block) <= frames for block, _ in blocks)
    # What was lost is told before the sample that follows it, wherever a later one exists.
    told = {int(block[0, 0]): lost for block, lost in blocks if lost}
    expected: dict[int, int] = {}
    for end, (length, lost) in zip(ends, lengths, strict=True):
        if lost and end - length < total:
            expected[int(end - length)] = expected.get(int(end - length), 0) + lost
    assert told == expected
