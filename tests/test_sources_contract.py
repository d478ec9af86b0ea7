"""What every source must keep, whatever it is made of."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise, tone, write_audio
from station_server import StationServer, stream

from models.errors import SourceAddressError, SourceError
from stream import microphone
from stream.capture import Captured, Opened
from stream.demo import Demo
from stream.file import AudioFile
from stream.microphone import Microphone
from stream.pace import MAX_SPEED
from stream.radio import Radio
from stream.source import Chunk, EndOfAudio, Source
from stream.standard_input import Pipe, StandardInput
from stream.threaded_source import Run, ThreadedSource

Make = Callable[[], Source]


class _NoDevice:
    """Stands for the capture process: the microphone itself is heard in the system tests."""

    def __init__(self, *_: object) -> None:
        self._killed = threading.Event()
        self._opened = False

    def receive(self, name: str, timeout_s: float) -> object:
        if not self._opened:
            self._opened = True
            return Opened("Test input", 44_100, 2)
        if self._killed.wait(0.01):
            raise SourceError(f"{name}: killed")
        return Captured(noise(0.01), time.monotonic(), 0)

    def kill(self) -> None:
        self._killed.set()

    close = kill


def _pipe(stack: ExitStack) -> int:
    """The reading end of a pipe into which somebody writes stereo samples at their pace, until the test ends."""
    reading, writing = os.pipe()
    ended = threading.Event()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            while not ended.wait(0.02):
                pipe.write(bytes(2 * 2 * 882))

    writer = threading.Thread(target=write)
    writer.start()
    stack.callback(os.close, reading)
    stack.callback(writer.join)
    stack.callback(ended.set)
    return reading


@pytest.fixture(
    params=["microphone", "file", "file at most speed", "radio", "standard input", "demo", "demo at most speed"]
)
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes sources of one kind, with at least a second to hear."""
    with ExitStack() as stack:
        path = tmp_path / "tone.mp3"
        if request.param == "microphone":
            monkeypatch.setattr(microphone, "_CaptureProcess", _NoDevice)
            yield Microphone
        elif request.param == "radio":
            station = stack.enter_context(StationServer().serving())
            station.replies["/live"] = stream(write_audio(path, tone(2.0)).read_bytes(), "audio/mpeg")
            yield lambda: Radio(station.url("/live"))
        elif request.param == "standard input":
            pipe = Pipe(_pipe(stack))
            yield lambda: StandardInput(sample_rate_hz=44_100, channels=2, pipe=pipe)
        else:
            speed = MAX_SPEED if "most" in request.param else 1.0
            write_audio(path, tone(3.0))
            yield lambda: Demo(speed=speed) if "demo" in request.param else AudioFile(path, speed=speed)


@pytest.fixture
def source(make: Make) -> Iterator[Source]:
    one = make()
    yield one
    one.close()


def test_it_is_a_source_and_says_what_it_is(source: Source) -> None:
    assert isinstance(source, Source)
    assert source.address
    assert source.name
    source.open()
    assert 8_000 <= source.sample_rate_hz <= 192_000
    assert source.synthetic == isinstance(source, Demo)
    assert source.title is None or source.title.startswith("synthetic: ")


def test_audio_comes_as_chunks_of_float32(source: Source) -> None:
    before = time.monotonic()
    source.open()
    last = before
    for _ in range(10):
        chunk = source.read(10.0)
        assert chunk is not None
        assert chunk.samples.dtype == np.float32
        assert chunk.samples.ndim == 2
        assert 1 <= chunk.samples.shape[0] <= source.sample_rate_hz
        assert 1 <= chunk.samples.shape[1] <= 2
        assert np.abs(chunk.samples).max() <= 1.0
        assert chunk.lost == 0
        assert last <= chunk.captured_at <= time.monotonic()
        last = chunk.captured_at


def test_it_opens_again_after_closing(source: Source) -> None:
    for _ in range(3):
        source.open()
        assert source.read(10.0) is not None
        source.close()


def test_opening_it_when_open_starts_afresh(source: Source) -> None:
    source.open()
    source.open()
    assert source.read(10.0) is not None


def test_closing_twice_or_unopened_is_fine(source: Source) -> None:
    source.close()
    source.open()
    source.close()
    source.close()


def test_reading_it_closed_is_an_error(source: Source) -> None:
    with pytest.raises(SourceError, match="before it was opened"):
        source.read(0.0)


def test_its_threads_end_with_it(make: Make) -> None:
    source = make()
    source.open()
    assert source.read(10.0) is not None
    assert any(thread.name.startswith("source ") for thread in threading.enumerate())
    source.close()
    assert not any(thread.name.startswith("source ") for thread in threading.enumerate())


def test_closing_from_another_thread_ends_a_read(source: Source) -> None:
    source.open()
    closer = threading.Timer(0.2, source.close)
    closer.start()

    def read_for_ever() -> None:
        while True:
            source.read(30.0)

    with pytest.raises((SourceError, EndOfAudio)):
        read_for_ever()
    closer.join()


class _Scripted(ThreadedSource):
    """Gives the chunks it was told to, then waits, ends or fails."""

    def __init__(self, chunks: int, end: Exception | None = None, *, waits: bool = False) -> None:
        super().__init__("scripted", name="scripted", finite=True)
        self.sample_rate_hz = 1_000
        self.produced = 0
        self._chunks, self._end, self._waits = chunks, end, waits

    def _produce(self, run: Run) -> Generator[Chunk]:
        for _ in range(self._chunks):
            self.produced += 1
            yield Chunk(np.zeros((100, 1), dtype=np.float32), captured_at=time.monotonic())
        if self._waits:
            blocked = threading.Event()
            run.on_stop(blocked.set)
            blocked.wait()
        if self._end is not None:
            raise self._end


def test_an_interruption_ends_a_waiting_read_and_only_one() -> None:
    source = _Scripted(2, waits=True)
    source.open()
    source.interrupt()
    assert source.read(60.0) is None
    assert source.read(60.0) is not None
    assert source.read(60.0) is not None
    threading.Timer(0.1, source.interrupt).start()
    assert source.read(60.0) is None
    source.close()


def test_an_interruption_ends_a_waiting_open() -> None:
    source = _Scripted(0, waits=True)
    threading.Timer(0.1, source.interrupt).start()
    with pytest.raises(SourceError, match="closed while it was being opened"):
        source.open()


def test_without_audio_read_gives_none_after_the_time() -> None:
    source = _Scripted(1, waits=True)
    source.open()
    assert source.read(1.0) is not None
    assert source.read(0.05) is None
    source.close()


def test_the_end_comes_after_the_last_audio_and_stays() -> None:
    source = _Scripted(3)
    source.open()
    assert [source.read(5.0) is not None for _ in range(3)] == [True] * 3
    for _ in range(2):
        with pytest.raises(EndOfAudio):
            source.read(5.0)


@pytest.mark.parametrize("error", [SourceError("cut"), ValueError("a fault of ours")])
def test_what_goes_wrong_in_the_thread_is_raised_to_the_reader(error: Exception) -> None:
    source = _Scripted(1, error)
    source.open()
    assert source.read(5.0) is not None
    with pytest.raises(type(error), match=str(error)):
        source.read(5.0)


def test_a_wrong_address_is_forgiven_once_it_has_worked() -> None:
    source = _Scripted(0, SourceAddressError("no such thing"))
    with pytest.raises(SourceAddressError):
        source.open()
    source._chunks = 1
    source.open()
    source._chunks = 0
    with pytest.raises(SourceError) as caught:
        source.open()
    assert type(caught.value) is SourceError


def test_what_nobody_reads_is_held_up_to_a_limit() -> None:
    source = _Scripted(1_000)
    source.open()
    deadline = time.monotonic() + 10.0
    while source.produced < 11 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert source.produced <= 12  # a second of audio, and the chunk in the thread's hand
    source.close()
