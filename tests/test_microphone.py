"""The microphone without one: names, the capture ring, and a capture process that fails."""

from __future__ import annotations

import builtins
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SourceAddressError, SourceError
from stream import devices, microphone
from stream.capture import Captured, CaptureRing, Opened
from stream.devices import InputDevice, find_input
from stream.microphone import Microphone


def device(name: str, host_api: str = "ALSA", *, is_default: bool = False, index: int = 0) -> InputDevice:
    return InputDevice(name, host_api, channels=2, sample_rate_hz=48_000, is_default=is_default, index=index)


DEVICES = (
    device("USB Audio: - (hw:1,0)"),
    device("USB Audio: - (hw:2,0)"),
    device("Built-in Mic"),
    device("default", is_default=True),
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, "default"),
        ("Built-in Mic", "Built-in Mic"),
        ("built-in", "Built-in Mic"),
        ("hw:2", "USB Audio: - (hw:2,0)"),
    ],
)
def test_a_device_is_found_by_name(name: str | None, found: str) -> None:
    assert find_input(DEVICES, name).name == found


def test_an_exact_name_wins_over_longer_ones() -> None:
    both = (device("Mic"), device("Mic 2"))
    assert find_input(both, "Mic") is both[0]


def test_the_default_inputs_host_api_wins() -> None:
    windows = (device("Mic", "MME", is_default=True), device("Mic", "Windows WASAPI"))
    assert find_input(windows, "mic") is windows[0]
    assert find_input(windows, "Mic, Windows WASAPI") is windows[1]


@pytest.mark.parametrize(
    ("among", "name", "words"),
    [
        (
            DEVICES,
            "tuba",
            r"no input is called 'tuba' \(there are: 'USB Audio: - \(hw:1,0\), ALSA'; .*'default, ALSA'\)",
        ),
        (DEVICES, "usb", r"'usb' names several inputs, .*hw:1,0.*hw:2,0"),
        (DEVICES[:3], None, r"no default input; name one with mic:NAME \(there are: 'USB"),
        ((), None, "expected an audio input, this machine has none"),
        ((), "tuba", "this machine has none"),
    ],
)
def test_what_is_not_found_is_a_wrong_address(among: tuple[InputDevice, ...], name: str | None, words: str) -> None:
    with pytest.raises(SourceAddressError, match=words):
        find_input(among, name)


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceError, match="sudo apt install libportaudio2"):
        devices.query_inputs()


def numbered(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.float32)[:, None]


@given(st.lists(st.one_of(st.integers(1, 40), st.just(None)), max_size=60))
def test_the_ring_gives_what_was_written_or_counts_it(steps: list[int | None]) -> None:
    """None takes, a number writes so many samples; they are numbered, so that each chunk shows what precedes it.

    The clock shows the number of the next sample.
    """
    ring = CaptureRing(64, 1, 1_000)
    written = heard = 0

    def take_all() -> None:
        nonlocal heard
        while (captured := ring.take()) is not None:
            assert np.array_equal(captured.samples, numbered(heard + captured.lost, len(captured.samples)))
            heard += captured.lost + len(captured.samples)
            assert captured.at == heard

    for count in [*steps, None, 1, None]:
        if count is None:
            take_all()
        else:
            ring.write(numbered(written, count), float(written + count), overflowed=False)
            written += count
    assert heard == written


def test_the_ring_serves_two_threads() -> None:
    ring = CaptureRing(500, 1, 1_000)
    total = 100_000

    def write() -> None:
        for first in range(0, total, 10):
            ring.write(numbered(first, 10), 1.0, overflowed=False)

    writer = threading.Thread(target=write)
    writer.start()
    heard = 0
    while writer.is_alive() or ring.arrived.is_set():
        captured = ring.take()
        if captured is not None:
            assert np.array_equal(captured.samples, numbered(heard + captured.lost, len(captured.samples)))
            heard += captured.lost + len(captured.samples)
    assert 0 < heard <= total


@pytest.mark.parametrize(("at", "lost"), [(1.05, 40), (1.0001, 1)])
def test_an_overflow_is_as_long_as_the_clock_says(at: float, lost: int) -> None:
    ring = CaptureRing(64, 1, 1_000)
    ring.write(numbered(0, 10), 1.0, overflowed=False)
    ring.write(numbered(10, 10), at, overflowed=True)
    first, second = ring.take(), ring.take()
    assert first is not None
    assert second is not None
    assert (len(first.samples), first.lost, first.at) == (10, 0, 1.0)
    assert (len(second.samples), second.lost, second.at) == (10, lost, at)


def test_an_overflow_after_the_ring_was_full_is_counted_once() -> None:
    ring = CaptureRing(100, 1, 1_000)
    ring.write(numbered(0, 100), 1.0, overflowed=False)
    for block in range(1, 6):  # dropped
        ring.write(numbered(100 * block, 100), 1.0 + 0.1 * block, overflowed=False)
    first = ring.take()
    ring.write(numbered(700, 100), 1.7, overflowed=True)
    second = ring.take()
    assert first is not None
    assert second is not None
    assert (first.at, second.lost, second.at) == (1.0, 600, 1.7)


def _opens_then_dies(_: str | None, connection: Connection) -> None:
    connection.send(Opened("Test input", 44_100, 1))
    connection.send(Captured(np.zeros((10, 1), dtype=np.float32), time.monotonic(), 3))
    os._exit(1)


def _hangs(_: str | None, connection: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as a process does that hangs in the system
    connection.send(Opened("Test input", 44_100, 1))
    connection.send(Captured(np.zeros((10, 1), dtype=np.float32), time.monotonic(), 0))
    time.sleep(60)


def _fails(_: str | None, connection: Connection) -> None:
    connection.send(SourceError("microphone 'x' could not be opened: busy"))


def _crashes(_: str | None, connection: Connection) -> None:
    os._exit(1)


def test_a_capture_process_that_dies_is_an_error_after_its_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "send_audio", _opens_then_dies)
    source = Microphone("x")
    source.open()
    assert (source.name, source.sample_rate_hz) == ("microphone Test input", 44_100)
    chunk = source.read(10.0)
    assert chunk is not None
    assert (chunk.samples.shape, chunk.lost) == ((10, 1), 3)
    with pytest.raises(SourceError, match="ended unexpectedly"):
        source.read(10.0)
    source.close()


@pytest.mark.parametrize(("target", "words"), [(_fails, "could not be opened: busy"), (_crashes, "ended unexpectedly")])
def test_a_capture_process_that_cannot_open_is_an_error(
    monkeypatch: pytest.MonkeyPatch, target: Callable[..., None], words: str
) -> None:
    monkeypatch.setattr(microphone, "send_audio", target)
    with pytest.raises(SourceError, match=words):
        Microphone("x").open()


def test_a_capture_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "send_audio", _hangs)
    source = Microphone("x")
    source.open()
    assert source.read(10.0) is not None
    assert source.read(0.1) is None
    source.close()
    assert not [child for child in multiprocessing.active_children() if child.name == "capture"]


def test_a_capture_process_that_says_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "send_audio", _hangs)
    monkeypatch.setattr(microphone, "STALL_S", 0.5)
    source = Microphone("x")
    source.open()
    assert source.read(10.0) is not None
    with pytest.raises(SourceError, match=r"nothing came for 0\.5 s"):
        source.read(10.0)
    source.close()
