"""Raw PCM: whole frames whatever the writes, and plain words where it is something else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import ConfigError, SourceAddressError, SourceError
from stream.pace import NEAR_REAL_TIME
from stream.source import Chunk, EndOfAudio
from stream.standard_input import AHEAD_S, Pipe, StandardInput
from stream.threaded_source import Run

Opened = Callable[..., StandardInput]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens a source on a pipe into which the given writes are written, and which is then closed."""
    started: list[tuple[StandardInput, threading.Thread, int]] = []

    def make(*writes: bytes, **options: object) -> StandardInput:
        reading, writing = os.pipe()

        def write() -> None:
            with os.fdopen(writing, "wb", buffering=0) as pipe:
                for data in writes:
                    pipe.write(data)

        thread = threading.Thread(target=write)
        source = StandardInput(**{"sample_rate_hz": 8_000, "channels": 1, **options}, pipe=Pipe(reading))  # type: ignore[arg-type]
        started.append((source, thread, reading))
        thread.start()
        source.open()
        return source

    yield make
    for source, thread, reading in started:
        source.close()
        thread.join(10)
        os.close(reading)


def read_chunks(source: StandardInput) -> list[Chunk]:
    chunks: list[Chunk] = []
    while True:
        try:
            chunk = source.read(10.0)
        except EndOfAudio:
            return chunks
        assert chunk is not None
        chunks.append(chunk)


def read_all(source: StandardInput) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in read_chunks(source)])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), frames=st.integers(4, 400), channels=st.integers(1, 8), wide=st.booleans())
def test_any_division_into_writes_gives_the_same_samples(
    opened: Opened, data: st.DataObject, frames: int, channels: int, wide: bool
) -> None:
    random = np.random.default_rng(frames)
    if wide:
        samples = random.uniform(-1, 1, (frames, channels)).astype("<f4")
        content, expected = samples.tobytes(), samples
    else:
        integers = random.integers(-32_768, 32_768, (frames, channels)).astype("<i2")
        content, expected = integers.tobytes(), integers.astype(np.float32) / 32_768
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    writes = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    source = opened(*writes, channels=channels, sample_format="f32le" if wide else "s16le")
    heard = read_all(source)
    assert heard.dtype == np.float32
    assert np.array_equal(heard, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate_hz": 7_999},
        {"sample_rate_hz": 192_001},
        {"channels": 0},
        {"channels": 9},
        {"sample_format": "s24le"},
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="standard input: expected"):
        StandardInput(**{"sample_rate_hz": 44_100, "channels": 2, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "kind"), [(b"RIFF", "WAV"), (b"RF64", "WAV"), (b"fLaC", "FLAC"), (b"OggS", "Ogg"), (b"ID3\x04", "MP3")]
)
def test_a_file_on_standard_input_is_refused_by_name(opened: Opened, head: bytes, kind: str) -> None:
    with pytest.raises(SourceAddressError, match=f"carries an? {kind} file, expected raw PCM"):
        opened(head[:2], head[2:] + bytes(1_000))


def test_a_refused_file_stays_refused() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"RIFF" + bytes(1_000))
    source = StandardInput(sample_rate_hz=8_000, channels=1, pipe=Pipe(reading))
    for _ in range(2):
        with pytest.raises(SourceAddressError, match="carries a WAV file"):
            source.open()
    os.close(writing)
    os.close(reading)


@pytest.mark.parametrize("another", [False, True])
def test_closing_in_the_middle_of_a_frame_cuts_none(another: bool) -> None:
    """Nor does it for another source on the same pipe: the page makes one whenever it switches."""
    reading, writing = os.pipe()
    pipe = Pipe(reading)
    source = StandardInput(sample_rate_hz=8_000, channels=2, pipe=pipe)
    source.open()
    os.write(writing, bytes(4) + b"\x01\0\x02")
    assert source.read(5.0) is not None
    source.close()
    if another:
        source = StandardInput(sample_rate_hz=8_000, channels=2, pipe=pipe)
    os.write(writing, b"\0")
    source.open()
    chunk = source.read(5.0)
    assert chunk is not None
    assert (chunk.samples * 32_768).tolist() == [[1.0, 2.0]]
    source.close()
    os.close(writing)
    os.close(reading)


def test_a_half_frame_at_the_end_is_an_error_after_the_whole_ones(opened: Opened) -> None:
    source = opened(bytes(4 * 80 + 3), channels=2)
    chunk = source.read(5.0)
    assert chunk is not None
    assert len(chunk.samples) == 80
    with pytest.raises(SourceError, match="inside a frame"):
        source.read(5.0)
    # Opened again it is at its end: a pipe does not come back.
    source.open()
    with pytest.raises(EndOfAudio):
        source.read(5.0)


def test_nothing_at_all_is_an_error(opened: Opened) -> None:
    with pytest.raises(SourceAddressError, match="it was empty"):
        opened()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_numbers_that_are_no_float_samples_are_a_wrong_address(opened: Opened, value: float) -> None:
    with pytest.raises(SourceAddressError, match="in another format"):
        opened(np.array([0.0, value], dtype="<f4").tobytes(), sample_format="f32le")


def test_numbers_that_are_no_float_samples_end_what_was_heard(opened: Opened) -> None:
    source = opened(np.array([0.0] * 1_000 + [np.nan] * 1_000, dtype="<f4").tobytes(), sample_format="f32le")
    with pytest.raises(SourceError, match="in another format") as caught:
        read_chunks(source)
    assert type(caught.value) is SourceError


def test_a_pipe_that_is_silent_yet_opens_and_closes() -> None:
    reading, writing = os.pipe()
    source = StandardInput(sample_rate_hz=44_100, channels=2, pipe=Pipe(reading))
    source.open()
    assert source.read(0.05) is None
    os.write(writing, bytes(400))
    chunk = source.read(5.0)
    assert chunk is not None
    assert chunk.samples.shape == (100, 2)
    source.close()
    os.close(writing)
    os.close(reading)


def test_what_is_written_faster_than_it_sounds_is_heard_by_the_clock_and_all_of_it(opened: Opened) -> None:
    samples = np.arange(2 * 8_000, dtype="<i2")
    source = opened(samples.tobytes())
    chunks = read_chunks(source)
    assert np.array_equal(np.concatenate([chunk.samples for chunk in chunks])[:, 0] * 32_768, samples)
    assert max(len(chunk.samples) for chunk in chunks) == 80  # 10 ms
    times = [chunk.captured_at for chunk in chunks]
    assert times == sorted(times)
    assert times[-1] - times[0] >= (2.0 - AHEAD_S - 0.02) / NEAR_REAL_TIME


def test_what_is_not_live_is_not_held_back(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "sleep_until", lambda _, due: due <= time.monotonic() or pytest.fail("held back"))
    assert len(read_all(opened(bytes(2 * 8_000 * 60), live=False))) == 8_000 * 60


def test_a_descriptor_that_cannot_be_read_is_an_error(tmp_path: object) -> None:
    descriptor = os.open(str(tmp_path), os.O_RDONLY)  # a folder
    try:
        with pytest.raises(SourceError, match="cannot be read"):
            StandardInput(sample_rate_hz=44_100, channels=2, pipe=Pipe(descriptor)).open()
    finally:
        os.close(descriptor)
