from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from stream.ring import Block, Ring

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 40)),
        st.tuples(st.just("skip"), st.integers(0, 9)),
        st.tuples(st.just("read"), st.just(0)),
    ),
    max_size=60,
)


def as_pairs(blocks: list[Block]) -> list[tuple[int, float]]:
    """(absolute index, value) of every sample."""
    return [(block.start + at, float(value)) for block in blocks for at, value in enumerate(block.samples)]


@given(st.integers(1, 30), OPERATIONS)
def test_ring_behaves_like_a_bounded_deque_of_indexed_samples(capacity: int, operations: list[tuple[str, int]]):
    ring = Ring(capacity)
    model: deque[tuple[int, float]] = deque(maxlen=capacity)
    index = written = lost = 0
    for operation, amount in operations:
        if operation == "write":
            values = np.arange(written, written + amount, dtype=np.float32)
            lost += max(0, len(model) + amount - capacity)
            model.extend((index + at, float(value)) for at, value in enumerate(values))
            ring.write(values)
            index += amount
            written += amount
        elif operation == "skip":
            ring.skip(amount, "lost")
            index += max(1, amount)
        else:
            blocks = ring.read()
            assert as_pairs(blocks) == list(model)
            # Blocks are maximal: two of them never follow on from one another.
            assert all(a.end < b.start for a, b in pairwise(blocks))
            model.clear()
        assert ring.held == len(model)
        assert ring.written == index
        assert ring.lost == lost


def test_a_gap_keeps_its_reason_even_when_read_before_audio_resumes():
    ring = Ring(100)
    ring.write(np.ones(10, np.float32))
    ring.skip(5, "cable")
    assert [block.reason for block in ring.read()] == [""]
    ring.write(np.ones(3, np.float32))
    (block,) = ring.read()
    assert (block.start, block.reason) == (15, "cable")


def test_an_overrun_says_so():
    ring = Ring(10)
    ring.write(np.zeros(8, np.float32))
    ring.write(np.zeros(8, np.float32))
    (block,) = ring.read()
    assert (block.start, block.end, block.reason, ring.lost) == (6, 16, "overrun", 6)


def test_what_was_read_is_not_overwritten():
    ring = Ring(4)
    ring.write(np.array([1, 2, 3], np.float32))
    (block,) = ring.read()
    ring.write(np.array([7, 8, 9, 10], np.float32))
    assert block.samples.tolist() == [1, 2, 3]


def test_a_writer_can_wait_for_room():
    ring = Ring(4)
    ring.write(np.zeros(3, np.float32))
    assert not ring.wait_for_room(2, timeout_s=0.01)
    ring.read()
    assert ring.wait_for_room(400, timeout_s=0.01)


def test_a_ring_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one sample"):
        Ring(0)
